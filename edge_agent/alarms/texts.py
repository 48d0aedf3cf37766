"""Messages and advice of alarms, in the languages of the plant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from edge_agent.alarms.failure_modes import (
    ABNORMAL,
    FailureModes,
    Safety,
    load_failure_modes,
    shipped_modes,
)
from edge_agent.alarms.input_kinds import kind_of_input
from edge_agent.config.structs import parse_struct, read_struct
from edge_agent.config.types import Name, is_language

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.alarms.failure_modes import FailureMode, Step
    from edge_agent.config import schema
    from edge_agent.messages import Alarm, Contributor, Detail

# (key, part, language) -> text
Entries: TypeAlias = dict[tuple[str, str, str], str]

FALLBACK_LANGUAGE: Final = "en"
FALLBACK_KEY: Final = "alarm"
UNNAMED: Final = frozenset(
    {"anomaly", "limit_above", "limit_below", "limit_rising", "limit_falling"}
)
MAX_TEXT: Final = 1000  # characters

_MAX_ARGUMENT: Final = 200
_MISSING: Final = "–"  # noqa: RUF001 (a dash in all four languages)
_PLACE: Final = re.compile(r"\{(\w+)\}")
_OPTIONAL: Final = re.compile(r"\[([^\[\]]*\{\w+\}[^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class TextEntry:
    """The entry of one key in a file of texts: text by language."""

    message: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    decimal: dict[str, str] = field(default_factory=dict)  # of the key `number`: the decimal sign

    def problems(self) -> Iterator[tuple[str, str]]:
        """The problems of the texts, as (key, message)."""
        for part, language, text in self.texts():
            if not is_language(language):
                yield f"{part}.{language}", "no language tag, such as en or pt-BR"
            elif not 0 < len(text) <= MAX_TEXT:
                yield f"{part}.{language}", f"a text has 1 to {MAX_TEXT} characters"

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Part, language and text of each."""
        for part in ("message", "advice", "decimal"):
            for language, text in getattr(self, part).items():
                yield part, language, text


# Parts in turn, every second one optional; of each part every second piece is a name.
Template: TypeAlias = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Language:
    """A language: parsed templates by (key, part), English if one is missing; its decimal sign."""

    name: str
    templates: Mapping[tuple[str, str], Template]
    decimal: str


@dataclass(frozen=True, slots=True)
class Texts:
    """Templates by (key, part, language), and the languages in which alarms are rendered.

    modes: what is known of failure modes.
    """

    entries: Entries
    languages: tuple[Language, ...]
    modes: FailureModes

    def render(self, alarm: Alarm, rule: schema.AlarmRule) -> dict[str, dict[str, str]]:
        """Render `message` (what happened) and `advice` (what to do) of an alarm, by language.

        Texts of the rule go first.
        """
        detail = alarm.detail
        keys = {"message": _keys(detail), "advice": _keys(detail, with_kind=True)}
        named = placeholders(alarm)
        values_by_sign = {".": shown_values(named)}
        rendered: dict[str, dict[str, str]] = {"message": {}, "advice": {}}
        for one in self.languages:
            if one.decimal not in values_by_sign:
                values_by_sign[one.decimal] = _with_decimal(values_by_sign["."], named, one.decimal)
            values, templates = values_by_sign[one.decimal], one.templates
            for part, own in (("message", rule.message), ("advice", rule.advice)):
                template = parsed(own[one.name]) if own.get(one.name) else None
                for key in keys[part]:
                    template = template or templates.get((key, part))
                template = template or templates[FALLBACK_KEY, part]
                rendered[part][one.name] = fill(template, values)
        return rendered

    def guidance(self, alarm: Alarm) -> dict[str, Any] | None:
        """Cause, check and mend of an alarm by priority; None if its failure mode is unknown.

        Of a model that knows no mode, and of a limit: by what the first input measures.
        """
        found = self._mode_of(alarm)
        if found is None:
            return None
        name, mode = found
        values = shown_values(placeholders(alarm))
        shown_steps = {
            part: [self._step(step, values) for step in getattr(mode, part)]
            for part in ("cause", "check", "mend")
        }
        return {"failure_mode": name, "name": self._by_language(mode.name, values), **shown_steps}

    def failure_mode_of(self, alarm: Alarm) -> str:
        """The name of an alarm's failure mode in the catalogue; empty if it is unknown."""
        found = self._mode_of(alarm)
        return "" if found is None else found[0]

    def _mode_of(self, alarm: Alarm) -> tuple[str, FailureMode] | None:
        return next(filter(None, map(self.modes.find, _keys(alarm.detail, with_kind=True))), None)

    def _step(self, step: Step, values: Mapping[str, str]) -> dict[str, Any]:
        shown_step = {"priority": step.priority, "text": self._by_language(step.text, values)}
        return shown_step if step.safety is None else {**shown_step, "safety": step.safety}

    def _by_language(self, text: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
        """The text in each of our languages, in English (or its first) if one is missing."""
        otherwise = text.get(FALLBACK_LANGUAGE) or next(iter(text.values()), "")
        named = {one.name: text.get(one.name) or otherwise for one in self.languages}
        return {key: fill(parsed(one), values) if "{" in one else one for key, one in named.items()}

    def say(self, key: str, language: str, named: Mapping[str, Any]) -> str:
        """The message of a key with its placeholders filled in; in English if need be.

        KeyError if there is neither.
        """
        one = self.language(language)
        values = shown_values(named)
        if one.decimal != ".":
            values = _with_decimal(values, named, one.decimal)
        return fill(one.templates[key, "message"], values)

    def language(self, name: str) -> Language:
        """A loaded language, else English, else the first."""
        known = {one.name: one for one in self.languages}
        return known.get(name) or known.get(FALLBACK_LANGUAGE) or self.languages[0]


def load_texts(
    alarms: schema.Alarms, rooms: Sequence[str] = ("edge_agent.alarms",), *, every: bool = False
) -> Texts:
    """Load the texts of the rooms with `alarms.texts` over them; ConfigError if that is wrong.

    every: in all languages that have a text, not only those of the config.
    """
    entries: Entries = {}
    for room in rooms:
        text = resources.files(room).joinpath("texts.yaml").read_text(encoding="utf-8")
        entries |= _flat(parse_struct(text, Path("texts.yaml"), dict[Name, TextEntry]))
    modes = load_failure_modes(alarms)
    for name, mode in modes.by_name.items():
        made = _of_mode(name, mode, entries)
        is_own = mode is not shipped_modes().get(name)
        entries = {**entries, **made} if is_own else {**made, **entries}
    if alarms.texts is not None:
        entries |= _flat(read_texts(alarms.texts))
    names = dict.fromkeys(language for _, _, language in entries) if every else alarms.languages
    return Texts(entries, tuple(_language(name, entries) for name in names), modes)


def read_texts(file: Path) -> dict[Name, TextEntry]:
    """Read a user's texts; ConfigErrors lists all problems."""
    return read_struct(file, dict[Name, TextEntry])


def _flat(file: Mapping[Name, TextEntry]) -> Entries:
    return {
        (key, part, language): text
        for key, entry in file.items()
        for part, language, text in entry.texts()
    }


def _keys(detail: Detail | None, *, with_kind: bool = False) -> tuple[str, ...]:
    """The keys of an alarm's texts, the best first; with_kind: also by the kind of its input."""
    if detail is None:
        return (FALLBACK_KEY,)
    keys = (detail.failure_mode, detail.message_key)
    if not with_kind or not detail.contributors or detail.message_key not in UNNAMED:
        return keys
    first = first_contributor(detail.contributors)
    return (keys[0], f"{ABNORMAL}{kind_of_input(first.input, first.unit)}", keys[1])


def first_contributor(contributors: Sequence[Contributor]) -> Contributor:
    """The one with the largest share."""
    return max(contributors, key=lambda each: abs(each.weight))


def _of_mode(name: str, mode: FailureMode, entries: Entries) -> Entries:
    """Message and advice of a failure mode under all its names: the first check, the first mend."""
    made: Entries = {}
    for language, noun in mode.name.items():
        english = entries["failure_mode", "message", FALLBACK_LANGUAGE]
        template = entries.get(("failure_mode", "message", language), english)
        advice = " ".join(filter(None, _first_steps(mode, language, entries)))
        for key in (name, *mode.also):
            made[key, "message", language] = template.replace("{mode}", noun)
            if advice:
                made[key, "advice", language] = advice
    return made


def _first_steps(mode: FailureMode, language: str, entries: Entries) -> Iterator[str]:
    """The first check, the hint to lock out if the mend needs it, and the first mend."""
    for step in (*mode.check[:1], *mode.mend[:1]):
        text = step.text.get(language, "")
        if text and step.safety == Safety.LOCKOUT:
            english = entries["lockout", "message", FALLBACK_LANGUAGE]
            yield entries.get(("lockout", "message", language), english)
        yield text


def _language(name: str, entries: Entries) -> Language:
    texts: dict[tuple[str, str], str] = {}
    for wanted in (FALLBACK_LANGUAGE, name):
        texts |= {(key, part): text for (key, part, one), text in entries.items() if one == wanted}
    templates = {key: parsed(text) for key, text in texts.items()}
    return Language(name, templates, texts["number", "decimal"])


def placeholders(alarm: Alarm) -> dict[str, Any]:
    """Collect the values for placeholders: texts and numbers."""
    values: dict[str, Any] = {"asset": alarm.asset, "alarm_id": alarm.alarm_id}
    detail = alarm.detail
    if detail is None:
        return values
    values |= {"score": detail.score, "failure_mode": detail.failure_mode}
    if detail.probability is not None:
        values["probability"] = 100 * float(detail.probability)
    for name, hours in (detail.rul_h or {}).items():
        values[f"rul_{name}"] = hours
    if detail.contributors:
        first = first_contributor(detail.contributors)
        values |= {"input": first.input, "value": first.value, "unit": first.unit}
    return values | detail.message_args


@lru_cache(maxsize=2048)
def parsed(text: str) -> Template:
    """Split the text of a template."""
    return tuple(tuple(_PLACE.split(part)) for part in _OPTIONAL.split(text))


def fill(template: Template, values: Mapping[str, str]) -> str:
    """Fill in a template with the result of `shown_values`; never fails for missing values."""
    pieces: list[str] = []
    for number, part in enumerate(template):
        names = part[1::2]
        if number % 2 and not all(map(values.get, names)):
            continue
        pieces.append(part[0])
        for name, text in zip(names, part[2::2], strict=True):
            pieces += (values.get(name) or _MISSING, text)
    return "".join(pieces).strip()


def shown_values(named: Mapping[str, Any]) -> dict[str, str]:
    """Return all placeholders as text; `reading` is `value` with its `unit`."""
    values = {name: shown(value) for name, value in named.items()}
    return _with_reading(values)


def _with_decimal(
    values: Mapping[str, str], named: Mapping[str, Any], decimal: str
) -> dict[str, str]:
    """Show numbers with another decimal sign."""
    changed = {
        name: values[name] if isinstance(value, str) else values[name].replace(".", decimal)
        for name, value in named.items()
    }
    return _with_reading(changed)


def _with_reading(values: dict[str, str]) -> dict[str, str]:
    value = values.get("value", "")
    values["reading"] = f"{value} {values.get('unit', '')}".strip() if value else ""
    return values


def shown(value: object) -> str:
    """Show a number with three significant digits, a text cut to a maximum length."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _one_line(value[:_MAX_ARGUMENT])
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return printable(str(value), _MAX_ARGUMENT)
    if not math.isfinite(number):
        return ""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"  # noqa: PLR2004


def printable(text: str, longest: int) -> str:
    """Cut a received text to one line of printable characters."""
    return _one_line(text[:longest])


@lru_cache(maxsize=2048)
def _one_line(text: str) -> str:
    if not text.isprintable():
        text = "".join([char if char.isprintable() else " " for char in text])
    return " ".join(text.split())
