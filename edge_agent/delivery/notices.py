"""What a message to people says: the values of templates, from the event of an alarm."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import shown
from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from edge_agent.alarms import Texts

MAX_LISTED: Final = 20  # alarms in a summary
_LONGEST_TITLE: Final = 140
_COLORS: Final = {"critical": "attention", "high": "attention", "medium": "warning"}
_NTFY: Final = {"critical": "5", "high": "4", "medium": "3", "low": "2"}
_ORDER: Final = {"critical": "1", "high": "2", "medium": "3", "low": "4"}
_TAGS: Final = {"critical": "rotating_light", "high": "warning", "medium": "wrench"}
_PARTS: Final = ("cause", "check", "mend")


class Speaker:
    """Says things in the language of a route; zone: of times, None for that of this machine."""

    def __init__(self, texts: Texts, language: str, zone: tzinfo | None, url: str) -> None:
        self._texts, self._language, self._zone = texts, language, zone
        self.url = url

    def say(self, key: str, **named: object) -> str:
        """A text of the package; in English if the language lacks it."""
        return self._texts.say(key, self._language, named)

    def of(self, by_language: Mapping[str, str] | None) -> str:
        """A text of an alarm, in the route's language or the first that it has."""
        texts = by_language or {}
        return texts.get(self._language) or texts.get("en") or next(iter(texts.values()), "")

    def when(self, time: str | None) -> str:
        """An RFC 3339 time by the plant's clock."""
        return "" if not time else self._local(datetime.fromisoformat(time))

    def when_us(self, time_us: int) -> str:
        """A time in microseconds since the epoch by the plant's clock."""
        return self._local(datetime.fromtimestamp(time_us / US_PER_S, self._zone))

    def _local(self, moment: datetime) -> str:
        return f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M %Z}"


def alarm_values(event: Mapping[str, Any], speaker: Speaker) -> dict[str, str]:
    """The values of one alarm's event."""
    data = event["data"]
    priority, guidance = data["priority"], data.get("guidance") or {}
    message, advice = speaker.of(data["message"]), speaker.of(data["advice"])
    steps = {part: "\n".join(_steps(guidance.get(part, ()), speaker)) for part in _PARTS}
    inputs = "\n".join(_input(each, speaker) for each in data["contributors"])
    last = _last_time(data.get("last_time"), speaker)
    sections = {"inputs": inputs, **steps, "last_time": last}
    listed = [f"{speaker.say(f'notify_{key}')}\n{text}" for key, text in sections.items() if text]
    details = "\n\n".join(listed or [advice])
    word = speaker.say(f"notify_{priority}")
    values = {
        "kind": "alarm",
        "title": _cut(f"[{word}] {message}"),
        "message": message,
        "advice": advice,
        "details": details,
        "inputs": inputs,
        "causes": steps["cause"],
        "checks": steps["check"],
        "mends": steps["mend"],
        "last_time": last,
        "asset": data["asset"],
        "alarm_id": data["alarm_id"],
        "place": event["subject"],
        "priority": word,
        "severity": str(data["severity"]),
        "state": data["state"],
        "time": speaker.when(event["time"]),
        "since": speaker.when(data["first_seen"]),
        "failure_mode": speaker.of(guidance.get("name")) or data["failure_mode"],
        "event_id": event["id"],
        "service": event["source"],
        **signs(priority),
    }
    return with_text(values, speaker)


def with_text(values: dict[str, str], speaker: Speaker) -> dict[str, str]:
    """The values with `text`, the whole message as plain text, and the link to the page."""
    place = " ".join(filter(None, (values.get("place"), values.get("time"))))
    parts = (values["message"], values["details"], place, speaker.url)
    text = "\n\n".join(filter(None, parts))
    return {**values, "link": speaker.url, "text": text}


def escalated(values: dict[str, str], speaker: Speaker, route: str, minutes: int) -> dict[str, str]:
    """The values of an alarm that nobody on a route has acknowledged."""
    said = speaker.say("notify_escalated", route=route, minutes=minutes)
    title, message = _cut(f"{said}: {values['title']}"), f"{said}.\n{values['message']}"
    return with_text({**values, "kind": "escalation", "title": title, "message": message}, speaker)


def summary_values(
    events: Sequence[Mapping[str, Any]], count: int, speaker: Speaker, event_id: str, now_us: int
) -> dict[str, str]:
    """The values of a summary of held alarms, the most severe first; count: messages in all."""
    worst = sorted(events, key=lambda one: -one["data"]["severity"])
    lines = [_line(one, speaker) for one in worst[:MAX_LISTED]]
    if len(worst) > MAX_LISTED:
        lines.append(speaker.say("notify_more", count=len(worst) - MAX_LISTED))
    first: Mapping[str, Any] = worst[0]["data"] if worst else {"priority": "low", "severity": 1}
    said = speaker.say("notify_summary", alarms=len(worst), count=count)
    values = {
        "kind": "summary",
        "title": _cut(said),
        "message": said,
        "details": "\n".join(lines) or said,
        "priority": speaker.say(f"notify_{first['priority']}"),
        "severity": str(first["severity"]),
        "time": speaker.when_us(now_us),
        "event_id": event_id,
        "service": worst[0]["source"] if worst else "",
        **signs(first["priority"]),
    }
    return with_text(values, speaker)


def test_values(route: str, speaker: Speaker, event_id: str, now_us: int) -> dict[str, str]:
    """The values of a test message."""
    said = speaker.say("notify_test", route=route)
    values = {
        "kind": "test",
        "title": said,
        "message": said,
        "details": speaker.say("notify_test_more"),
        "priority": speaker.say("notify_low"),
        "severity": "1",
        "time": speaker.when_us(now_us),
        "event_id": event_id,
        **signs("low"),
    }
    return with_text(values, speaker)


def body_of(route: str, values: Mapping[str, str], event: Mapping[str, Any] | None) -> bytes:
    """The body of a message in the outbox; event: of an alarm, for receivers without a template."""
    head = {"id": values["event_id"], "notice": values["kind"], "route": route}
    return orjson.dumps({**head, "values": {**values, "route": route}, "event": event})


def _steps(steps: Sequence[Mapping[str, Any]], speaker: Speaker) -> Iterator[str]:
    for step in steps:
        hint = f"{speaker.say('lockout')} " if step.get("safety") == "lockout" else ""
        yield f"{step['priority']}. {hint}{speaker.of(step['text'])}"


def _input(each: Mapping[str, Any], speaker: Speaker) -> str:
    """An input with its value and unit, and its normal range if that is known."""
    unit = f" {each['unit']}" if each["unit"] else ""
    value = f"{each['input']} = {shown(each['value']) or '–'}{unit}"  # noqa: RUF001 (a dash)
    normal = each.get("normal")
    if not normal:
        return value
    return f"{value} ({speaker.say('notify_normal', **normal)}{unit})"


def _last_time(last: Mapping[str, Any] | None, speaker: Speaker) -> str:
    if not last:
        return ""
    return f"{speaker.when(last['time'])} {last['by']}: {last['comment'] or last['action']}"


def _line(event: Mapping[str, Any], speaker: Speaker) -> str:
    data = event["data"]
    state = speaker.say("notify_over" if not data["active"] else f"notify_{data['priority']}")
    return f"• [{state}] {speaker.when(data['first_seen'])} {speaker.of(data['message'])}"


def signs(priority: str) -> dict[str, str]:
    """The colours, numbers and tags of a priority, as receivers write them."""
    return {
        "color": _COLORS.get(priority, "default"),
        "ntfy_priority": _NTFY.get(priority, "3"),
        "order_priority": _ORDER.get(priority, "3"),
        "tag": _TAGS.get(priority, "information_source"),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"
