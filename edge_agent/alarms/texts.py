"""What alarms say, and what to do about them, in the languages of the plant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from edge_agent.config.structs import parse_struct, read_struct
from edge_agent.config.types import Name, is_language

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config import schema
    from edge_agent.messages import Alarm, Detail

# (key, part, language) -> text
Entries: TypeAlias = dict[tuple[str, str, str], str]

FALLBACK_LANGUAGE: Final = "en"
FALLBACK_KEY: Final = "alarm"
MAX_TEXT: Final = 1000  # characters

_MAX_ARGUMENT: Final = 200
_MISSING: Final = "–"  # noqa: RUF001 (a dash in all four languages)
_PLACE: Final = re.compile(r"\{(\w+)\}")
_OPTIONAL: Final = re.compile(r"\[([^\[\]]*\{\w+\}[^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class TextEntry:
    """What a file of texts holds under one key: text by language."""

    message: dict[str, str] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    decimal: dict[str, str] = field(default_factory=dict)  # of the key `number`: the decimal sign

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the texts, as (key, message)."""
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


@dataclass(frozen=True, slots=True)
class Texts:
    """Templates by (key, part, language), and the languages in which alarms are told."""

    entries: Entries
    languages: tuple[str, ...]

    def message(self, alarm: Alarm, rule: schema.AlarmRule) -> dict[str, str]:
        """Say by language what happened; texts of the rule go first."""
        return self._by_language("message", alarm, rule.message)

    def advice(self, alarm: Alarm, rule: schema.AlarmRule) -> dict[str, str]:
        """Say by language what to do about it; texts of the rule go first."""
        return self._by_language("advice", alarm, rule.advice)

    def _by_language(self, part: str, alarm: Alarm, own: Mapping[str, str]) -> dict[str, str]:
        values = placeholders(alarm)
        told = {}
        for language in self.languages:
            template = own.get(language) or self._template(part, alarm.detail, language)
            told[language] = fill(template, values, self._find("number", "decimal", language))
        return told

    def _template(self, part: str, detail: Detail | None, language: str) -> str:
        keys = () if detail is None else (detail.failure_mode, detail.message_key)
        found = (self._find(key, part, language) for key in (*keys, FALLBACK_KEY))
        return next(filter(None, found), "")

    def _find(self, key: str, part: str, language: str) -> str:
        text = self.entries.get((key, part, language))
        return text or self.entries.get((key, part, FALLBACK_LANGUAGE), "")


def load_texts(alarms: schema.Alarms) -> Texts:
    """Load the texts of the package with `alarms.texts` over them; ConfigError if that is wrong."""
    shipped = resources.files("edge_agent.alarms").joinpath("texts.yaml")
    kind = dict[Name, TextEntry]
    entries = _flat(parse_struct(shipped.read_text(encoding="utf-8"), Path("texts.yaml"), kind))
    if alarms.texts is not None:
        entries |= _flat(read_struct(alarms.texts, kind))
    return Texts(entries, alarms.languages)


def _flat(file: Mapping[Name, TextEntry]) -> Entries:
    return {
        (key, part, language): text
        for key, entry in file.items()
        for part, language, text in entry.texts()
    }


def placeholders(alarm: Alarm) -> dict[str, Any]:
    """Collect what a template may name: texts and numbers."""
    values: dict[str, Any] = {"asset": alarm.asset, "alarm_id": alarm.alarm_id}
    detail = alarm.detail
    if detail is None:
        return values
    values |= {"score": detail.score, "failure_mode": detail.failure_mode}
    if detail.probability is not None:
        values["probability"] = 100 * float(detail.probability)
    values |= {f"rul_{name}": hours for name, hours in (detail.rul_h or {}).items()}
    if detail.contributors:
        first = max(detail.contributors, key=lambda each: abs(each.weight))
        values |= {"input": first.input, "value": first.value, "unit": first.unit}
    return values | detail.message_args


def fill(template: str, values: Mapping[str, Any], decimal: str = ".") -> str:
    """Fill in a template; never fails, whatever is missing or of whatever type.

    {reading} is {value} with its {unit}.
    """

    def known(name: str) -> str:
        if name != "reading":
            return shown(values.get(name), decimal)
        value = shown(values.get("value"), decimal)
        return f"{value} {shown(values.get('unit'), decimal)}".strip() if value else ""

    def optional(match: re.Match[str]) -> str:
        whole = all(known(name) for name in _PLACE.findall(match[1]))
        return match[1] if whole else ""

    text = _OPTIONAL.sub(optional, template)
    return _PLACE.sub(lambda match: known(match[1]) or _MISSING, text).strip()


def shown(value: object, decimal: str = ".") -> str:
    """Show a number with three significant digits, a text cut to a bearable length."""
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value, _MAX_ARGUMENT)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return printable(str(value), _MAX_ARGUMENT)
    if not math.isfinite(number):
        return ""
    text = f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"  # noqa: PLR2004
    return text.replace(".", decimal)


def printable(text: str, longest: int) -> str:
    """Cut a text that may come from the wire to one line of printable characters."""
    line = "".join(char if char.isprintable() else " " for char in text[:longest])
    return " ".join(line.split())
