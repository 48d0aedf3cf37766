"""What the body of a command may say; each function refuses what does not fit with 400."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.alarms import MAX_PART, VERDICTS, Judgement, clean_part
from edge_agent.messages import KEY_MARK, AlarmState
from edge_agent.ops.routes import MAX_TEXT, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ACTOR: Final = 64
MAX_COMMENT: Final = 500
STATES: Final = frozenset({"all", *AlarmState})
_KEYS: Final = frozenset({"by", "duration_s", "comment"})
_SELECTION: Final[tuple[str, ...]] = ("pattern", "asset", "state", "ids", "all")
_MAX_IDS: Final = 10_000
_LIFE_ENDS: Final = frozenset({"failed", "overhauled"})
_ASSET_KEYS: Final = frozenset({"by", "comment", "at_ms"})
_MODEL_KEYS: Final = frozenset({"by", "comment", "version"})
_WITH_VERSION: Final = frozenset({"activate", "shadow"})
_LAST_MS: Final = 253_402_300_799_000  # the year 9999


def parse_command(body: object, kind: str) -> tuple[str, float | None, str]:
    """Return who commands, of `shelve` alone for how many seconds, and the comment."""
    fields = _object(body, _KEYS)
    return _actor(fields), _duration(fields, needed=kind == "shelve"), _comment(fields)


def parse_feedback(body: object, _kind: str = "feedback") -> tuple[Judgement, str]:
    """Return what an alarm was, of which part, with the comment; and who says so."""
    fields = _object(body, frozenset({"by", "verdict", "part", "comment"}))
    if fields.get("verdict") not in VERDICTS:
        named = " or ".join(f'"{one}"' for one in VERDICTS)
        raise Refusal(400, f"verdict: {named}", '{"by": "name", "verdict": "false"}')
    part = fields.get("part", "")
    if not isinstance(part, str) or len(part) > MAX_PART:
        raise Refusal(400, f"part: a text of at most {MAX_PART} characters")
    return Judgement(fields["verdict"], clean_part(part), _comment(fields)), _actor(fields)


def parse_selection(body: object, kind: str) -> tuple[dict[str, Any], str, float | None, str]:
    """Return which alarms a command is about, and the same as `parse_command`.

    At least one of pattern, asset, state, ids; `all: true` where it is about every alarm.
    """
    fields = _object(body, _KEYS | set(_SELECTION))
    wanted = {key: fields[key] for key in _SELECTION if key in fields}
    if not wanted or wanted == {"all": False}:
        hint = '{"by": "name", "pattern": "P-*"}, or asset, state, ids, or "all": true'
        raise Refusal(400, "which alarms?", hint)
    for key in ("pattern", "asset", "state"):
        if key in wanted and not _is_text(wanted[key]):
            raise Refusal(400, f"{key}: a text of 1 to {MAX_TEXT} characters")
    if wanted.get("state", "all") not in STATES:
        raise Refusal(400, "no such alarm state", f"one of: {', '.join(sorted(STATES))}")
    ids = wanted.get("ids", [])
    if not isinstance(ids, list) or len(ids) > _MAX_IDS or not all(map(_is_text, ids)):
        raise Refusal(400, f"ids: a list of at most {_MAX_IDS} alarm ids")
    if not isinstance(wanted.pop("all", True), bool):
        raise Refusal(400, "all: true or false")
    duration_s = _duration(fields, needed=kind == "shelve")
    return wanted, _actor(fields), duration_s, _comment(fields)


def parse_asset_command(body: object, kind: str) -> tuple[str, float | None, str]:
    """Return who commands, if it ends a life when that was (ms), and the comment."""
    fields = _object(body, _ASSET_KEYS if kind in _LIFE_ENDS else _ASSET_KEYS - {"at_ms"})
    at_ms = fields.get("at_ms")
    if at_ms is None:
        return _actor(fields), None, _comment(fields)
    if isinstance(at_ms, bool) or not isinstance(at_ms, int | float) or not 0 < at_ms < _LAST_MS:
        raise Refusal(400, "at_ms: milliseconds since the epoch", '{"by": "name", "at_ms": 1e12}')
    return _actor(fields), float(at_ms), _comment(fields)


class ModelCommand(NamedTuple):
    """Who chooses a version of a model, which one (empty: the one installed last), and why."""

    by: str
    version: str
    comment: str


def parse_model_command(body: object, kind: str) -> ModelCommand:
    """The body of a command on a model; only `activate` and `shadow` take a version."""
    fields = _object(body, _MODEL_KEYS if kind in _WITH_VERSION else _MODEL_KEYS - {"version"})
    version = fields.get("version", "")
    if not isinstance(version, str) or len(version) > MAX_TEXT:
        raise Refusal(400, "version: a text", '{"by": "name", "version": "1.2.0"}')
    return ModelCommand(_actor(fields), version, _comment(fields))


def parse_tags(body: object) -> tuple[str, str]:
    """Who browses, and the pattern: of paths and addresses, or a topic filter; empty for all."""
    fields = _object(body, frozenset({"by", "pattern"}))
    pattern = fields.get("pattern", "")
    if not isinstance(pattern, str) or len(pattern) > MAX_TEXT or not pattern.isprintable():
        raise Refusal(400, f"pattern: a printable text of at most {MAX_TEXT} characters")
    return _actor(fields), pattern.strip()


def parse_doctor(body: object) -> str:
    """Who asks for an examination."""
    return _actor(_object(body, frozenset({"by"})))


def _object(body: object, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no JSON object", '{"by": "name"}')
    unknown = sorted(set(body) - known)
    if unknown:
        hint = f"known: {', '.join(sorted(known))}"
        raise Refusal(400, f"no key {unknown[0][:MAX_TEXT]!r}", hint)
    return body


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _comment(body: Mapping[str, Any]) -> str:
    value = body.get("comment", "")
    if not isinstance(value, str) or len(value) > MAX_COMMENT:
        raise Refusal(400, f"comment: a text of at most {MAX_COMMENT} characters")
    return value.strip()


def _actor(body: Mapping[str, Any]) -> str:
    actor = body.get("by")
    if not isinstance(actor, str) or not actor.strip() or not actor.isprintable():
        raise Refusal(400, "by: who gives the command", '{"by": "name"}')
    if len(actor) > MAX_ACTOR:
        raise Refusal(400, f"by is longer than {MAX_ACTOR} characters")
    if KEY_MARK in f" {actor}":
        raise Refusal(400, f"by may not contain{KEY_MARK}", "the audit adds the key by itself")
    return actor.strip()


def _duration(body: Mapping[str, Any], *, needed: bool) -> float | None:
    value = body.get("duration_s")
    if value is None and not needed:
        return None
    if not needed:
        raise Refusal(400, "duration_s belongs to shelve only")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(400, "duration_s: for how many seconds", '{"by": "name", "duration_s": 3600}')
    if not math.isfinite(value) or value <= 0:
        raise Refusal(400, "duration_s is not above 0")
    return float(value)
