"""Alarms as JSON, and the tables of states, history and audit, which are pruned."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.messages import (
    KEY_MARK,
    Alarm,
    AlarmState,
    Box,
    Contributor,
    Detail,
    ModelInfo,
    Ne107,
    PictureInfo,
    Transition,
    TransitionKind,
    WindowInfo,
    plain_alarm,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

log = logging.getLogger("edge_agent.store")

MAX_COMMANDS: Final = 10_000  # ids of commands that have not expired
NO_LIMIT: Final = 1 << 62
HISTORY_LIMIT: Final = 10_000  # rows one query may return
AUDIT_DETAIL_CHARS: Final = 1000
ROW_OVERHEAD_BYTES: Final = 128

_UPSERT_ALARM: Final = (
    "INSERT INTO alarms (alarm_id, body) VALUES (?, ?)"
    " ON CONFLICT (alarm_id) DO UPDATE SET body = excluded.body"
)
_COLUMNS: Final = "stored_us, at_us, asset, alarm_id, kind, actor, body, seq, stored"
_INSERT: Final = f"INSERT INTO history ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
# Only the conditions that are asked for: with `:asset IS NULL OR` SQLite would use no index.
_SELECT: Final = (
    "SELECT row, at_us, alarm_id, asset, kind AS transition, actor, body AS alarm FROM history"
    " WHERE {} ORDER BY row DESC LIMIT :limit"
)
_CONDITIONS: Final = {
    "asset": "asset = :asset",
    "alarm_id": "alarm_id = :alarm_id",
    "before": "row < :before",
}
_TRANSITIONS: Final = "SELECT stored_us, kind, at_us, actor, stored, alarm_id, body FROM history"
# A state whose transition is no longer in the history is an update.
_LATEST: Final = (
    "SELECT COALESCE(h.stored_us, 0), COALESCE(h.kind, 'update'), h.at_us, COALESCE(h.actor, ''),"
    " COALESCE(h.stored, 1), a.alarm_id, a.body FROM alarms AS a LEFT JOIN history AS h ON h.row ="
    " (SELECT MAX(row) FROM history WHERE alarm_id = a.alarm_id)"
)
_BYTES: Final = "SELECT COALESCE(SUM(LENGTH(body) + 128), 0) FROM history"
_KEEP_NEWEST: Final = (
    "DELETE FROM history WHERE row <= (SELECT row FROM"
    " (SELECT row, SUM(LENGTH(body) + 128) OVER (ORDER BY row DESC) AS bytes FROM history)"
    " WHERE bytes > ? ORDER BY row DESC LIMIT 1)"
)
_INSERT_AUDIT: Final = (
    "INSERT INTO audit (at_us, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)"
)
# An asset's entries are its own and those of its alarms, whose ids begin with its id.
_SELECT_AUDIT: Final = (
    "SELECT row, at_us, actor, action, subject, detail FROM audit"
    " WHERE (:before IS NULL OR row < :before) AND (:since_us IS NULL OR at_us >= :since_us)"
    " AND (:actor IS NULL OR actor = :actor OR actor GLOB :said OR actor GLOB :key)"
    " AND (:alarm IS NULL OR subject GLOB :alarm)"
    " AND (:asset IS NULL OR subject GLOB :asset OR subject GLOB :asset || '.*')"
    " ORDER BY row DESC LIMIT :limit"
)


_SAID: Final = 20  # entries about an alarm or its asset that are looked through
_SAID_OF: Final = (
    "SELECT row, at_us, actor, action, subject, detail FROM audit INDEXED BY audit_subject"
    " WHERE subject IN ({}) ORDER BY row DESC LIMIT ?"
)


class HistoryFilter(NamedTuple):
    """The filter of transitions; None: all. before: a row."""

    asset: str | None = None
    alarm_id: str | None = None
    before: int | None = None


class AuditFilter(NamedTuple):
    """The filter of audit entries; None: all. asset, alarm_id: with `*` for any text.

    actor: a user's name, also before that of a key, or the name of a key.
    """

    asset: str | None = None
    alarm_id: str | None = None
    actor: str | None = None
    since_us: int | None = None
    before: int | None = None  # a row


class StoredTransition(NamedTuple):
    """A transition from the history; stored_us: gateway time at which it was committed."""

    stored_us: int
    transition: Transition


def insert(db: sqlite3.Connection, transitions: Sequence[Transition], now_us: int) -> int:
    """Keep the states after `transitions`, and append these; returns their `history_bytes`."""
    states, rows, weight = [], [], 0
    for one in transitions:
        asset, alarm_id = one.alarm.asset, one.alarm.alarm_id
        body = alarm_to_json(one.alarm)
        states.append((alarm_id, body))
        head = (now_us, one.at_us, asset, alarm_id, one.kind, one.actor, body)
        rows.append((*head, one.alarm.seq, one.stored))
        weight += len(body) + ROW_OVERHEAD_BYTES
    db.executemany(_UPSERT_ALARM, states)
    db.executemany(_INSERT, rows)
    return weight


def select_history(
    db: sqlite3.Connection, wanted: HistoryFilter, limit: int, max_bytes: int = NO_LIMIT
) -> list[dict[str, Any]]:
    """Return the newest first, `alarm` as a dict; no further row after `max_bytes` of bodies."""
    values = {"limit": min(limit, HISTORY_LIMIT), **wanted._asdict()}
    asked = [text for name, text in _CONDITIONS.items() if values[name] is not None]
    cursor = db.execute(_SELECT.format(" AND ".join(asked) or "TRUE"), values)
    names = [column[0] for column in cursor.description]
    found, size = [], 0
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        size += len(row["alarm"])
        found.append({**row, "alarm": json.loads(row["alarm"])})
        if size >= max_bytes:
            break
    return found


def select_newest(db: sqlite3.Connection, limit: int) -> list[StoredTransition]:
    """Return the newest first."""
    return list(
        _stored_transitions(db.execute(f"{_TRANSITIONS} ORDER BY row DESC LIMIT ?", (limit,)))
    )


def newest_row(db: sqlite3.Connection) -> int:
    """Return the row of the newest transition; 0 if the history is empty."""
    return int(db.execute("SELECT COALESCE(MAX(row), 0) FROM history").fetchone()[0])


def select_since(db: sqlite3.Connection, row: int, limit: int) -> list[StoredTransition]:
    """Return the newest transitions after a row, the newest first."""
    query = f"{_TRANSITIONS} WHERE row > ? ORDER BY row DESC LIMIT ?"
    return list(_stored_transitions(db.execute(query, (row, limit))))


def select_after(db: sqlite3.Connection, row: int, limit: int) -> list[tuple[int, Transition]]:
    """Return the oldest transitions after a row, the oldest first, each with its row."""
    query = _TRANSITIONS.replace("SELECT", "SELECT row,", 1)
    rows = db.execute(f"{query} WHERE row > ? ORDER BY row LIMIT ?", (row, limit))
    return [
        (number, stored.transition)
        for number, *columns in rows
        for stored in _stored_transitions([tuple(columns)])
    ]


def select_one(db: sqlite3.Connection, alarm_id: str, seq: int) -> list[StoredTransition]:
    """Return one transition, if it is still in the history."""
    query = f"{_TRANSITIONS} WHERE alarm_id = ? AND seq = ?"
    return list(_stored_transitions(db.execute(query, (alarm_id, seq))))


def select_all(db: sqlite3.Connection) -> list[StoredTransition]:
    """Return all transitions, the oldest first."""
    return list(_stored_transitions(db.execute(f"{_TRANSITIONS} ORDER BY row")))


def select_latest(db: sqlite3.Connection) -> list[StoredTransition]:
    """Return the newest transition of every alarm."""
    return list(_stored_transitions(db.execute(_LATEST)))


def _stored_transitions(rows: Iterable[tuple[Any, ...]]) -> Iterator[StoredTransition]:
    for stored_us, kind, at_us, actor, stored, *state in rows:
        for alarm in alarms_from_rows([(state[0], state[1])]):
            time_us = alarm.changed_us if at_us is None else at_us
            transition = Transition(TransitionKind(kind), time_us, alarm, actor, bool(stored))
            yield StoredTransition(stored_us, transition)


def history_bytes(db: sqlite3.Connection) -> int:
    """Return the size of the history in bytes."""
    return int(db.execute(_BYTES).fetchone()[0])


def shrink_history(db: sqlite3.Connection, budget: int) -> None:
    """Delete the oldest rows until the rest fits `budget` bytes."""
    db.execute(_KEEP_NEWEST, (budget,))


def forget_history(db: sqlite3.Connection, before_us: int) -> None:
    """Delete rows stored before that time.

    By the gateway's time, not the event's: a replayed recording may be years old.
    """
    db.execute("DELETE FROM history WHERE stored_us < ?", (before_us,))


def insert_audit(db: sqlite3.Connection, entry: tuple[int, str, str, str, str], keep: int) -> None:
    """Append an entry and keep only the newest `keep`."""
    *head, detail = entry
    row = db.execute(_INSERT_AUDIT, (*head, detail[:AUDIT_DETAIL_CHARS])).lastrowid or 0
    db.execute("DELETE FROM audit WHERE row <= ?", (row - keep,))


def select_audit(db: sqlite3.Connection, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
    """Return the newest entries first."""
    name = re.sub(r"([\[?*])", r"[\1]", wanted.actor or "")
    patterns = {"asset": _glob(wanted.asset), "alarm": _glob(wanted.alarm_id)}
    patterns |= {"said": f"{name}{KEY_MARK}*", "key": f"*{KEY_MARK}{name})"}
    values = {"limit": limit, **wanted._asdict(), **patterns}
    return _dicts(db.execute(_SELECT_AUDIT, values))


def select_said_of(db: sqlite3.Connection, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return the newest entries about any of some subjects, the newest first."""
    query = _SAID_OF.format(", ".join("?" * len(subjects)))
    return _dicts(db.execute(query, (*subjects, _SAID)))


def _glob(pattern: str | None) -> str | None:
    """In our patterns only `*` has a meaning."""
    return None if pattern is None else re.sub(r"([\[?])", r"[\1]", pattern)


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def claim_command(db: sqlite3.Connection, command_id: str, expires_us: int, now_us: int) -> bool:
    """Remember the id of a command; False if it is known, or no more fit."""
    db.execute("DELETE FROM commands WHERE expires_us <= ?", (now_us,))
    known = int(db.execute("SELECT COUNT(*) FROM commands").fetchone()[0])
    if known >= MAX_COMMANDS:
        return False
    row = (command_id, expires_us)
    return db.execute("INSERT OR IGNORE INTO commands VALUES (?, ?)", row).rowcount > 0


def alarm_to_dict(alarm: Alarm) -> dict[str, Any]:
    """Return the alarm as plain dicts, lists, strings and numbers; None if there is nothing."""
    return plain_alarm(alarm)


def alarm_from_dict(data: Mapping[str, Any]) -> Alarm:
    """Invert `alarm_to_dict`; KeyError, TypeError or ValueError if it is invalid."""
    detail = data["detail"]
    return Alarm(
        **{
            **data,
            "state": AlarmState(data["state"]),
            "ne107": Ne107(data["ne107"]),
            "detail": None if detail is None else _detail(detail),
        }
    )


def alarm_to_json(alarm: Alarm) -> str:
    """Return one line of ASCII.

    Not orjson: it writes NaN as null, and the value of a contributor whose sensor is lost is NaN.
    """
    return json.dumps(alarm_to_dict(alarm), separators=(",", ":"), default=_plain)


def alarm_from_json(text: str) -> Alarm:
    """Invert `alarm_to_json`; exact as long as `message_args` contains only JSON types."""
    return alarm_from_dict(json.loads(text))


def alarms_from_rows(rows: Iterable[tuple[str, str]]) -> list[Alarm]:
    """Decode (alarm_id, JSON) rows; one that cannot be read is logged and left out."""
    return [alarm for row in rows for alarm in _restored(*row)]


def _restored(alarm_id: str, text: str) -> Iterator[Alarm]:
    try:
        yield alarm_from_json(text)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("alarm unreadable", extra={"alarm_id": alarm_id, "reason": str(error)})


def _detail(data: Mapping[str, Any]) -> Detail:
    window, model, picture = data["window"], data["model"], data.get("picture")
    return Detail(
        **{
            **data,
            "contributors": tuple(Contributor(**one) for one in data["contributors"]),
            "window": None if window is None else WindowInfo(**window),
            "model": None if model is None else ModelInfo(**model),
            "picture": None if picture is None else _picture(picture),
        }
    )


def _picture(data: Mapping[str, Any]) -> PictureInfo:
    return PictureInfo(**{**data, "boxes": tuple(Box(**one) for one in data["boxes"])})


def _plain(value: object) -> object:
    """Turn numpy scalars into numbers, everything else into text, so that no alarm is lost."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
