"""Alarms to JSON text and back, exactly: what is stored is what is restored."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_agent.messages import Alarm, AlarmState, Contributor, Detail, ModelInfo, Ne107, WindowInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

log = logging.getLogger("edge_agent.store")


def alarm_to_dict(alarm: Alarm) -> dict[str, Any]:
    """Return the alarm as plain dicts, lists, strings and numbers; None where there is nothing."""
    return asdict(alarm)


def alarm_from_dict(data: Mapping[str, Any]) -> Alarm:
    """Invert `alarm_to_dict`; KeyError, TypeError or ValueError where it is none."""
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
    """Invert `alarm_to_json`; exact as long as `message_args` holds JSON types only."""
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
    window, model = data["window"], data["model"]
    return Detail(
        **{
            **data,
            "contributors": tuple(Contributor(**one) for one in data["contributors"]),
            "window": None if window is None else WindowInfo(**window),
            "model": None if model is None else ModelInfo(**model),
        }
    )


def _plain(value: object) -> object:
    """Turn numpy scalars into numbers, all else into text: no alarm is lost over it."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
