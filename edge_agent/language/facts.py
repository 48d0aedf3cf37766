"""Facts about an alarm, an asset or the plant, as sentences from templates.

Nothing here judges: each sentence states rows of the daemon's API, in the language of the question.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.alarms import load_texts, says_something

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo

    from edge_agent.alarms import Texts
    from edge_agent.config.schema import Alarms

    Row = Mapping[str, Any]

MAX_ALARMS: Final = 5  # that are listed of an asset or of the plant
MAX_WORDS: Final = 5  # what people wrote about similar alarms
MAX_CONTRIBUTORS: Final = 3
_ROOMS: Final = ("edge_agent.alarms", "edge_agent.language")
_MS_PER_MIN: Final = 60_000
_MARK: Final = "{}"


class Fact(NamedTuple):
    """A sentence; key: that of its template, or `message`."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What the daemon knows of what is asked about: rows as its API shows them.

    alarms: that of the question, else those of the asset or of the plant that are not normal.
    model: the manifest of the alarm's model, see `Assistant`. past: transitions of the asset, and
    words: its entries of the audit; the newest first.
    """

    alarm: Row | None = None
    asset: Row | None = None
    alarms: Sequence[Row] = ()
    model: Row | None = None
    past: Sequence[Row] = ()
    words: Sequence[Row] = ()


def load_catalogue(alarms: Alarms) -> Texts:
    """The texts of answers, in every language that has some; ConfigError if a file is wrong."""
    return load_texts(alarms, _ROOMS, every=True)


def facts_of(
    subject: Subject, language: str, texts: Texts, zone: tzinfo | None = None
) -> list[Fact]:
    """What is known, the most important first; zone: of times, that of this machine if None."""
    speaker = _Speaker(texts, language, zone)
    if subject.alarm is not None:
        return list(_alarm_facts(speaker, subject, subject.alarm))
    return list(_overview(speaker, subject))


class _Speaker:
    """Makes facts in one language."""

    def __init__(self, texts: Texts, language: str, zone: tzinfo | None) -> None:
        self._texts, self._zone = texts, zone
        self.language = language

    def fact(self, key: str, **named: object) -> Fact:
        return Fact(key, self._texts.say(key, self.language, named))

    def quote(self, key: str, **named: str | None) -> Fact:
        """A fact whose first placeholder is a text of any length, which is not shortened."""
        first, text = next(iter(named.items()))
        fact = self.fact(key, **{**named, first: _MARK})
        return Fact(key, fact.text.replace(_MARK, text or "", 1))

    def word(self, word: str) -> str:
        """A word in this language, itself if the catalogue lacks it."""
        try:
            return self._texts.say(f"word_{word}", self.language, {})
        except KeyError:
            return word

    def when(self, at_ms: float | None) -> str:
        if not at_ms:
            return ""
        moment = datetime.fromtimestamp(at_ms / 1000, self._zone).astimezone(self._zone)
        return f"{moment:%Y-%m-%d %H:%M:%S %z}"

    def of(self, by_language: Row) -> str:
        """A text of an alarm, which has its own languages."""
        texts = by_language.get(self.language) or by_language.get("en")
        return str(texts or next(iter(by_language.values()), ""))


def _alarm_facts(speaker: _Speaker, subject: Subject, alarm: Row) -> Iterator[Fact]:
    detail = alarm.get("detail") or {}
    if message := speaker.of(alarm.get("message") or {}):
        yield Fact("message", message)
    yield _state(speaker, alarm)
    if alarm.get("first_seen_ms"):
        since, changed = speaker.when(alarm["first_seen_ms"]), speaker.when(alarm["changed_ms"])
        yield speaker.fact("fact_since", since=since, changed=changed, count=alarm["count"])
    if alarm.get("comment"):
        by = alarm.get("shelved_by") or alarm.get("acked_by")
        yield speaker.quote("fact_comment", comment=alarm["comment"], by=by)
    yield from _values(speaker, detail)
    yield from _present(speaker, subject.asset, detail)
    if life := detail.get("rul_h"):
        yield speaker.fact("fact_rul", **life)
    yield from _model(speaker, subject.model, detail.get("model"))
    yield from _similar(speaker, subject, alarm)
    if advice := speaker.of(alarm.get("advice") or {}):
        yield speaker.quote("fact_advice", advice=advice)


def _state(speaker: _Speaker, alarm: Row) -> Fact:
    return speaker.fact(
        "fact_state",
        alarm_id=alarm["alarm_id"],
        state=speaker.word(alarm["state"]),
        priority=speaker.word(alarm["priority"]),
        by=alarm.get("shelved_by") or alarm.get("acked_by"),
    )


# Values -------------------------------------------------------------------------------------------


def _values(speaker: _Speaker, detail: Row) -> Iterator[Fact]:
    """The values of the alarm against their limits, and who contributes how much."""
    args, score = detail.get("message_args") or {}, detail.get("score")
    if score is not None:
        limit = args.get("limit")
        ratio = score / limit if isinstance(limit, int | float) and limit > 0 else None
        yield speaker.fact("fact_score", score=score, limit=limit, ratio=ratio)
    elif args.get("input") and args.get("value") is not None:
        yield speaker.fact("fact_measured", **args)
    if detail.get("probability") is not None:
        percent = 100 * detail["probability"]
        name = detail.get("failure_mode")
        yield speaker.fact("fact_probability", failure_mode=name, probability=percent)
    if score is not None:
        yield from _contributors(speaker, detail.get("contributors") or ())


def _contributors(speaker: _Speaker, all_of_them: Sequence[Row]) -> Iterator[Fact]:
    total = sum(abs(each["weight"] or 0.0) for each in all_of_them)
    for each in all_of_them[:MAX_CONTRIBUTORS] if total else ():
        share = round(100 * abs(each["weight"] or 0.0) / total)
        named = {key: each.get(key) for key in ("input", "value", "unit")}
        yield speaker.fact("fact_contributor", share=share, **named)


def _present(speaker: _Speaker, asset: Row | None, detail: Row) -> Iterator[Fact]:
    """What the inputs of the alarm are now, and their limits."""
    named = [each["input"] for each in detail.get("contributors") or ()][:MAX_CONTRIBUTORS]
    args = detail.get("message_args") or {}
    wanted = list(dict.fromkeys([*named, *filter(None, [args.get("input")])]))
    inputs = {each["name"]: each for each in (asset or {}).get("inputs", ())}
    for one in (inputs[name] for name in wanted if name in inputs):
        if one.get("value") is None:
            continue
        limits = ", ".join(_limit(each) for each in one.get("limits", ()))
        quality = "" if one["quality"] == "good" else one["quality"]
        named_values = {"input": one["name"], "value": one["value"], "unit": one["unit"]}
        yield speaker.fact("fact_now", quality=quality, limits=limits, **named_values)


def _limit(row: Row) -> str:
    per = f"/{row['per']}" if row.get("per") else ""
    return f"{row['name']} {row['limit']:.4g}{per}"


# Model --------------------------------------------------------------------------------------------


def _model(speaker: _Speaker, model: Row | None, made_by: Row | None) -> Iterator[Fact]:
    """What the manifest says, and the record of the model on this gateway."""
    if made_by is None:
        return
    known = model or {}
    yield speaker.fact(
        "fact_model",
        name=made_by["name"],
        version=made_by["version"],
        task=speaker.word(known["task"]) if known.get("task") else None,
        threshold=known.get("threshold"),
        rate=known.get("rate"),
        at_most=known.get("at_most"),
    )
    if known.get("inputs"):
        names = {key: ", ".join(known.get(key) or ()) for key in ("inputs", "classes")}
        yield speaker.fact("fact_model_scope", training=known.get("training"), **names)
    if made_by.get("mode", "active") != "active":
        word = "mode_uncertain" if made_by["mode"] == "uncertain" else made_by["mode"]
        yield speaker.fact("fact_model_doubt", mode=speaker.word(word))
    if known.get("judged_h"):
        counts = {"wrong": known["called_false"], "right": known["called_true"]}
        hours = round(known["judged_h"])
        yield speaker.fact("fact_model_record", alarms=known["alarms"], hours=hours, **counts)


# Similar alarms -----------------------------------------------------------------------------------


def _similar(speaker: _Speaker, subject: Subject, alarm: Row) -> Iterator[Fact]:
    """What similar alarms of the asset came to: how many, how long, and what people said."""
    mode = (alarm.get("detail") or {}).get("failure_mode")
    similar = {alarm["alarm_id"]} | {
        row["alarm_id"]
        for row in subject.past
        if mode and (row["alarm"].get("detail") or {}).get("failure_mode") == mode
    }
    raised, minutes = _episodes(subject.past, similar)
    if alarm["active"] and raised:
        raised.pop()  # this one
    if raised:
        lasted = median(minutes) if minutes else None
        last = speaker.when(raised[-1])
        yield speaker.fact("fact_past", n=len(raised), last=last, lasted=lasted)
    else:
        yield speaker.fact("fact_past_none")
    subjects = similar | {alarm["asset"]}
    said = [row for row in subject.words if row["subject"] in subjects and says_something(row)]
    for row in said[:MAX_WORDS]:
        words = row["detail"] or "–"  # noqa: RUF001 (the dash of the alarms' texts)
        when, action = speaker.when(row["at_ms"]), row["action"]
        yield speaker.quote("fact_word", words=words, when=when, actor=row["actor"], action=action)


def _episodes(past: Sequence[Row], similar: set[str]) -> tuple[list[float], list[float]]:
    """When the alarms were raised (ms), the oldest first; and how many minutes each lasted."""
    raised: deque[float] = deque()
    minutes: list[float] = []
    standing: dict[str, float] = {}
    for row in reversed(past):
        if row["alarm_id"] not in similar:
            continue
        if row["transition"] == "raise":
            raised.append(row["at_ms"])
            standing[row["alarm_id"]] = row["at_ms"]
        elif row["transition"] == "clear" and row["alarm_id"] in standing:
            minutes.append((row["at_ms"] - standing.pop(row["alarm_id"])) / _MS_PER_MIN)
    return list(raised), minutes


# Overview -----------------------------------------------------------------------------------------


def _overview(speaker: _Speaker, subject: Subject) -> Iterator[Fact]:
    """An asset or the plant, with its alarms."""
    asset = subject.asset
    if asset is not None:
        health = asset.get("health")
        yield speaker.fact(
            "fact_asset",
            asset=asset["id"],
            state=speaker.word(asset["state"]),
            health=None if health is None else round(100 * health),
            score=asset.get("score"),
            limit=asset.get("limit"),
            note=asset.get("note"),
        )
    if not subject.alarms:
        yield speaker.fact("fact_no_alarm")
        return
    yield speaker.fact("fact_alarms", n=len(subject.alarms))
    for alarm in subject.alarms[:MAX_ALARMS]:
        yield Fact("message", speaker.of(alarm.get("message") or {}) or alarm["alarm_id"])
        yield _state(speaker, alarm)
