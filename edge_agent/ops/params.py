"""What a request may say: each function takes one thing from it or answers 400, 408, 415."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from edge_agent.messages import AlarmState
from edge_agent.ops.guard import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_TIMEOUT_S: Final = 5.0
MAX_TEXT: Final = 256
MAX_ACTOR: Final = 64
_STATES: Final = frozenset({"all", *AlarmState})
MAX_COMMENT: Final = 500
_KEYS: Final = frozenset({"by", "duration_s", "comment"})
_SELECTION: Final[tuple[str, ...]] = ("pattern", "asset", "state", "ids", "all")
_MAX_IDS: Final = 10_000
_LIFE_ENDS: Final = frozenset({"failed", "overhauled"})
_ASSET_KEYS: Final = frozenset({"by", "at_ms"})
_LAST_MS: Final = 253_402_300_799_000  # the year 9999


def only(request: web.Request, *names: str) -> None:
    """Refuse a misspelt parameter, which would otherwise be left out in silence."""
    for name in request.query:
        if name not in names or len(request.query.getall(name)) > 1:
            raise Refusal(
                400, f"no parameter {name[:MAX_TEXT]!r}", f"once each: {', '.join(names)}"
            )


def text(request: web.Request, name: str) -> str | None:
    """Take a short text."""
    value = request.query.get(name)
    if value is not None and len(value) > MAX_TEXT:
        raise Refusal(400, f"{name} is longer than {MAX_TEXT} characters")
    return value


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """Take a whole number 0..most."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(most))):
        raise Refusal(400, f"{name} is no whole number from 0 to {most}")
    return min(int(value), most)


def alarm_state(request: web.Request) -> str | None:
    """Take a state of ISA-18.2, or `all`."""
    value = request.query.get("state")
    if value is not None and value not in _STATES:
        raise Refusal(400, "no such alarm state", f"one of: {', '.join(sorted(_STATES))}")
    return value


async def command(request: web.Request, kind: str) -> tuple[str, float | None, str]:
    """Take who commands, of `shelve` alone for how many seconds, and the comment."""
    body = await _object(request)
    _only_keys(body, _KEYS)
    return _actor(body), _duration(body, needed=kind == "shelve"), _comment(body)


async def commands(
    request: web.Request, kind: str
) -> tuple[dict[str, Any], str, float | None, str]:
    """Take which alarms a command is about, and the same as of `command`.

    At least one of pattern, asset, state, ids; `all: true` where it is about every alarm.
    """
    body = await _object(request)
    _only_keys(body, _KEYS | set(_SELECTION))
    wanted = {key: body[key] for key in _SELECTION if key in body}
    if not wanted or wanted == {"all": False}:
        hint = '{"by": "name", "pattern": "P-*"}, or asset, state, ids, or "all": true'
        raise Refusal(400, "which alarms?", hint)
    for key in ("pattern", "asset", "state"):
        if key in wanted and not _is_text(wanted[key]):
            raise Refusal(400, f"{key}: a text of 1 to {MAX_TEXT} characters")
    if wanted.get("state", "all") not in _STATES:
        raise Refusal(400, "no such alarm state", f"one of: {', '.join(sorted(_STATES))}")
    ids = wanted.get("ids", [])
    if not isinstance(ids, list) or len(ids) > _MAX_IDS or not all(map(_is_text, ids)):
        raise Refusal(400, f"ids: a list of at most {_MAX_IDS} alarm ids")
    if not isinstance(wanted.pop("all", True), bool):
        raise Refusal(400, "all: true or false")
    return wanted, _actor(body), _duration(body, needed=kind == "shelve"), _comment(body)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _comment(body: Mapping[str, Any]) -> str:
    value = body.get("comment", "")
    if not isinstance(value, str) or len(value) > MAX_COMMENT:
        raise Refusal(400, f"comment: a text of at most {MAX_COMMENT} characters")
    return value.strip()


async def asset_command(request: web.Request, kind: str) -> tuple[str, float | None]:
    """Take who commands and, where it ends a life, when that was (ms)."""
    body = await _object(request)
    _only_keys(body, _ASSET_KEYS if kind in _LIFE_ENDS else _ASSET_KEYS - {"at_ms"})
    at_ms = body.get("at_ms")
    if at_ms is None:
        return _actor(body), None
    if isinstance(at_ms, bool) or not isinstance(at_ms, int | float) or not 0 < at_ms < _LAST_MS:
        raise Refusal(400, "at_ms: milliseconds since the epoch", '{"by": "name", "at_ms": 1e12}')
    return _actor(body), float(at_ms)


def _only_keys(body: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(body) - known)
    if unknown:
        hint = f"known: {', '.join(sorted(known))}"
        raise Refusal(400, f"no key {unknown[0][:MAX_TEXT]!r}", hint)


async def _object(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Refusal(415, "the body is not JSON", "Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = orjson.loads(await request.read())
    except TimeoutError:
        raise Refusal(408, f"no whole body within {BODY_TIMEOUT_S:g} s") from None
    except web.RequestPayloadError:
        raise Refusal(400, "the body is cut or malformed") from None
    except orjson.JSONDecodeError as problem:
        raise Refusal(400, f"the body is not JSON: {problem}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no JSON object", '{"by": "name"}')
    return body


def _actor(body: Mapping[str, Any]) -> str:
    actor = body.get("by")
    if not isinstance(actor, str) or not actor.strip() or not actor.isprintable():
        raise Refusal(400, "by: who gives the command", '{"by": "name"}')
    if len(actor) > MAX_ACTOR:
        raise Refusal(400, f"by is longer than {MAX_ACTOR} characters")
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
