"""Failure modes: cause, check and mend of each, by priority and language, shipped and own.

Terms are those of ISO 13373 (vibration diagnosis), ISO 15243 (rolling bearings) and NAMUR NE 107
(sensors); a mode is what ISO 13379-1 calls a failure mode, with its recommended actions.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from edge_agent.config import walk
from edge_agent.config.structs import parse_struct, read_struct
from edge_agent.config.types import Between, Name, is_language

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.config import Notes
    from edge_agent.config.schema import Alarms, Config

LONGEST_NAME: Final = 50  # columns on a phone; a Chinese or Japanese character takes two
LONGEST_STEP: Final = 110
PLACEHOLDERS: Final = frozenset({"asset", "alarm_id", "input", "reading", "value", "unit"})
ABNORMAL: Final = "abnormal_"  # + the kind of the first input: a mode that no model names
PARTS: Final = ("cause", "check", "mend")

_PLACE: Final = re.compile(r"\{(\w*)\}")
_HOW_SAFE: Final = (
    "write safety: lockout (stopped and locked out), or running, or remote, if it is safe so"
)
# Work with hands at the machine, by language: such a mend says how it is safe.
_HANDS_ON: Final = {
    "en": re.compile(
        r"\b(replace|change|tighten|remove|dismantle|open|clean|adjust|align|repair)\b"
    ),
    "de": re.compile(r"(ersetz|wechsel|nachziehen|anziehen|ausbau|öffne|reinig|einstell|reparier)"),
    "zh": re.compile("(更换|紧固|拆|打开|清洗|清洁|调整|对中|修复|修理)"),
    "ja": re.compile("(交換|締め|分解|取り外|開け|清掃|調整|芯出し|修理)"),
}


class Safety(StrEnum):
    """How a mend is done: machine locked out, beside the running machine, or from afar."""

    LOCKOUT = "lockout"
    RUNNING = "running"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Step:
    """A cause, a check or a mend; priority: 1 comes first; text: by language."""

    priority: Annotated[int, Between(1, 20)]
    text: dict[str, str] = field(default_factory=dict)
    safety: Safety | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Problems of the texts, as (key, message)."""
        if not self.text:
            yield "text", "needs a text by language, such as {en: Check the oil level.}"
        yield from _text_problems("text", self.text, LONGEST_STEP)


@dataclass(frozen=True, slots=True)
class FailureMode:
    """What is known of one failure mode; also: other names of it, as models call their classes."""

    name: dict[str, str] = field(default_factory=dict)
    also: tuple[Name, ...] = ()
    cause: tuple[Step, ...] = ()
    check: tuple[Step, ...] = ()
    mend: tuple[Step, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Problems that one mode shows by itself, as (key, message)."""
        yield from _text_problems("name", self.name, LONGEST_NAME)
        for part in PARTS:
            for number, step in enumerate(getattr(self, part)):
                if step.priority != number + 1:
                    yield (
                        f"{part}.{number}.priority",
                        f"priorities are 1, 2, 3 in this order: {number + 1} is expected",
                    )
                if step.safety is not None and part != "mend":
                    yield f"{part}.{number}.safety", "only a mend has one"
        for number, step in enumerate(self.mend):
            if step.safety is None and (word := _hands_on(step.text)):
                yield f"mend.{number}", f"unsafe: {word!r} is work at the machine: {_HOW_SAFE}"

    def steps(self) -> Iterator[tuple[str, int, Step]]:
        """Part, number and step of each."""
        for part in PARTS:
            for number, step in enumerate(getattr(self, part)):
                yield part, number, step


Modes = dict[Name, FailureMode]


@dataclass(frozen=True, slots=True)
class FailureModes:
    """All failure modes by name, and by the other names that models may use."""

    by_name: Mapping[str, FailureMode]
    aliases: Mapping[str, str]

    def find(self, name: str) -> tuple[str, FailureMode] | None:
        """The mode of a class or rule, with its own name; None if it is unknown."""
        known = name if name in self.by_name else self.aliases.get(name.lower(), "")
        return (known, self.by_name[known]) if known else None


def load_failure_modes(alarms: Alarms) -> FailureModes:
    """The shipped modes with the plant's own over them; ConfigErrors if these are wrong."""
    modes: dict[str, FailureMode] = {**shipped_modes()}
    if alarms.failure_modes is not None:
        own = read_failure_modes(alarms.failure_modes, alarms.languages)
        modes |= {name: _over(modes.get(name), mode) for name, mode in own.items()}
    aliases = {alias.lower(): name for name, mode in modes.items() for alias in mode.also}
    return FailureModes(modes, aliases)


@cache
def shipped_modes() -> Mapping[str, FailureMode]:
    """The modes of the package."""
    file = resources.files("edge_agent.alarms").joinpath("failure_modes.yaml")
    text = file.read_text(encoding="utf-8")
    return dict(parse_struct(text, Path("failure_modes.yaml"), dict[Name, FailureMode]).items())


def unknown_modes(config: Config) -> Iterator[str]:
    """One line for each rule whose failure mode nobody explains, with its key path first."""
    modes = load_failure_modes(config.alarms)
    for path, rule in walk((), config):
        name = getattr(rule, "failure_mode", "")
        if name and not modes.find(name) and not getattr(rule, "advice", None):
            yield (
                f"{'.'.join(map(str, path))}.failure_mode: {name!r} is in no catalogue of failure "
                "modes: write advice beside it, or an entry in the file of alarms.failure_modes"
            )


def read_failure_modes(file: Path, languages: Sequence[str]) -> Modes:
    """A plant's own modes; ConfigErrors lists all problems, with file and line.

    languages: those of the config, in each of which every text of the file must be.
    """
    return read_struct(file, Modes, partial(_lint, languages=languages))


def _lint(modes: Modes, notes: Notes, *, languages: Sequence[str]) -> None:
    """Note what a mode alone does not show: languages, unknown modes, names used twice."""
    known = {alias: name for name, mode in shipped_modes().items() for alias in (name, *mode.also)}
    for name, mode in modes.items():
        _lint_languages((name,), mode, notes, languages)
        if name not in known and not (mode.name and mode.check and mode.mend):
            hint = notes.nearest(name, known)
            message = "unknown failure mode; a new one needs name, check and mend"
            notes.add((name,), message, hint)
        for number, alias in enumerate(mode.also):
            owner = known.setdefault(alias, name)
            if owner != name:
                notes.add((name, "also", number), f"{alias} is a name of {owner}")


def _lint_languages(
    path: tuple[str | int, ...], mode: FailureMode, notes: Notes, languages: Sequence[str]
) -> None:
    texts = [((*path, part, n, "text"), step.text) for part, n, step in mode.steps()]
    if mode.name:
        texts.insert(0, ((*path, "name"), mode.name))
    for where, text in texts:
        missing = [one for one in languages if not text.get(one)]
        if missing:
            hint = "alarms.languages lists them"
            notes.add(where, f"missing in {', '.join(missing)}", hint)


def _text_problems(key: str, text: Mapping[str, str], longest: int) -> Iterator[tuple[str, str]]:
    for language, one in text.items():
        unknown = sorted(set(_PLACE.findall(one)) - PLACEHOLDERS)
        if not is_language(language):
            yield f"{key}.{language}", "no language tag, such as en or pt-BR"
        elif not one.strip() or not one.isprintable():
            yield f"{key}.{language}", "needs one line of text"
        elif (wide := columns(one)) > longest:
            yield f"{key}.{language}", f"too long for a phone: {wide} columns, {longest} are read"
        elif unknown:
            known = ", ".join(sorted(PLACEHOLDERS))
            yield f"{key}.{language}", f"unknown placeholder {{{unknown[0]}}}; known: {known}"


def columns(text: str) -> int:
    """The width of a text on a phone, where a Chinese or Japanese character takes two columns."""
    return sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _hands_on(text: Mapping[str, str]) -> str:
    """The first word of a text that is work with hands at the machine; empty if there is none."""
    for language, words in _HANDS_ON.items():
        if found := words.search(text.get(language, "").lower()):
            return found.group(0)
    return ""


def _over(shipped: FailureMode | None, own: FailureMode) -> FailureMode:
    """A plant's own mode over the shipped one: each part that it has replaces the shipped part."""
    if shipped is None:
        return own
    parts: dict[str, Any] = {part: getattr(own, part) or getattr(shipped, part) for part in PARTS}
    return replace(
        shipped, name={**shipped.name, **own.name}, also=(*shipped.also, *own.also), **parts
    )
