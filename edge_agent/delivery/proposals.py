"""Lines of a maintenance plan as messages to people and to maintenance systems: proposals only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import load_texts
from edge_agent.delivery import notices
from edge_agent.delivery.quiet import zone_of
from edge_agent.messages import Message
from edge_agent.sinks import EVENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.config.schema import Config

_ROOMS: Final = ("edge_agent.alarms", "edge_agent.insight.maintenance")
_KEY: Final = "maintenance"
_MS: Final = 1000
_PRIORITY: Final = {"planned": "medium", "late": "high", "impossible": "critical"}
Row = dict[str, Any]


def messages_of(config: Config, plan: Row, lines: Iterable[Row], now_us: int) -> list[Message]:
    """A message to the sink of proposals for each line."""
    assert config.maintenance is not None  # noqa: S101 (there is a plan)
    sink, zone = config.maintenance.sink, config.maintenance.timezone or config.notify.timezone
    language = config.maintenance.language or config.alarms.languages[0]
    texts = load_texts(config.alarms, _ROOMS, every=True)
    speaker = notices.Speaker(texts, language, zone_of(zone), config.notify.url)
    found = []
    for line in lines:
        values = values_of(plan, line, speaker)
        body = notices.body_of(_KEY, values, None)
        key = f"{_KEY}.{line['job']}"
        found.append(Message(0, sink, EVENT, key, plan["at_ms"], _KEY, body, now_us))
    return found


def values_of(plan: Row, line: Row, speaker: notices.Speaker) -> dict[str, str]:
    """The values of the templates for one line; docs/notifications.md lists them."""
    what, why = speaker.of(line["what"]), speaker.of(line["why"])
    start = "" if line["start_ms"] is None else speaker.when_us(line["start_ms"] * _MS)
    title = speaker.say("plan_title", what=what, asset=line["asset"], start=start)
    priority = _PRIORITY[line["status"]]
    alarms = [one["alarm_id"] for one in line["alarms"]]
    values: Mapping[str, str] = {
        "kind": "proposal",
        "title": title,
        "message": title,
        "details": why,
        "advice": why,
        "asset": line["asset"],
        "alarm_id": alarms[0] if alarms else "",
        "place": line["asset"],
        "priority": speaker.say(f"notify_{priority}"),
        "severity": "",
        "state": line["status"],
        "time": speaker.when_us(plan["at_ms"] * _MS),
        "since": start,
        "failure_mode": what,
        "event_id": f"{_KEY}.{line['job']}:{plan['at_ms']}",
        "service": _KEY,
        **notices.signs(priority),
    }
    return notices.with_text(dict(values), speaker)
