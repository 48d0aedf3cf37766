"""Topic patterns such as `plant/{line}/{asset}/{signal}`, and their MQTT filters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOPIC_BYTES: Final = 65_535  # MQTT 5, 1.5.4
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_WHOLE = re.compile(r"\{[a-z][a-z0-9_]*\}")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern; `filter` is the MQTT filter, `names` are its placeholders."""

    text: str
    filter: str
    names: frozenset[str]
    regex: re.Pattern[str]

    def match(self, topic: str) -> dict[str, str] | None:
        """The text of each placeholder, or None if the topic does not match."""
        found = self.regex.fullmatch(topic)
        if found is None:
            return None
        return {name: text for name, text in found.groupdict().items() if name in self.names}

    def wild(self, topic: str) -> tuple[str, ...]:
        """The levels of a topic that match a '+'."""
        found = self.regex.fullmatch(topic)
        levels = {} if found is None else found.groupdict()
        return tuple(text for name, text in levels.items() if name not in self.names)

    def covers(self, other: Pattern) -> bool:
        """True if this pattern matches every topic of `other`; False if that is not certain."""
        mine, theirs = self.text.split("/"), other.text.split("/")
        for n, level in enumerate(mine):
            if level == "#":
                return True
            if n >= len(theirs) or theirs[n] == "#":
                return False
            if level != theirs[n] and level != "+" and not _WHOLE.fullmatch(level):
                return False
        return len(mine) == len(theirs)


@lru_cache(maxsize=1024)  # called again for every new topic
def compile_pattern(text: str) -> Pattern:
    """Compile a pattern from its text; ConfigError contains what is wrong with it.

    A level may contain one `{placeholder}` and text around it; `+` is any level, `#` at the end any
    number of levels (MQTT 5, 4.7).
    """
    if not text or len(text.encode()) > MAX_TOPIC_BYTES or "\0" in text:
        raise ConfigError("a topic pattern has 1 to 65535 bytes, none of them NUL")
    if text.startswith("$share/"):
        raise ConfigError(
            "a shared subscription gives the samples of one topic to its members in turns: every "
            "window would be half empty",
            hint="subscribe to the topic itself, and split the assets between gateways",
        )
    levels = text.split("/")
    names = _PLACEHOLDER.findall(text)
    if len(set(names)) < len(names):
        raise ConfigError("a placeholder is used twice in the topic")
    tail = levels[-1] == "#"
    fixed = levels[:-1] if tail else levels
    parts = [_level(level, n) for n, level in enumerate(fixed)]
    regex = "/".join(parts) + (("(?:/.*)?" if fixed else ".*") if tail else "")
    wire = ["+" if _PLACEHOLDER.search(level) else level for level in levels]
    return Pattern(text, "/".join(wire), frozenset(names), re.compile(regex, re.DOTALL))


def _level(level: str, number: int) -> str:
    """The regular expression of one level."""
    if level == "+":
        return f"(?P<_{number}>[^/]*)"
    around = _PLACEHOLDER.split(level)
    if len(around) > 3:  # noqa: PLR2004 (text, name, text)
        raise ConfigError("one placeholder per level", hint=f"level {level!r}")
    literal = around[0] + (around[2] if len(around) > 1 else "")
    if set(literal) & set("+#{}"):
        raise ConfigError(
            f"level {level!r} is not allowed",
            hint="write {name}, or '+' as a whole level, or '#' as the last",
        )
    if len(around) == 1:
        return re.escape(level)
    return f"{re.escape(around[0])}(?P<{around[1]}>[^/]+){re.escape(around[2])}"


def names_in(text: str) -> frozenset[str]:
    """The placeholders of a format."""
    return frozenset(_PLACEHOLDER.findall(text))


def unknown_names(text: str, known: Iterable[str]) -> list[str]:
    """Placeholders of a format that are not in `known`."""
    return sorted(set(_PLACEHOLDER.findall(text)) - set(known))


def is_safe_name(text: str) -> bool:
    """True if a name from the wire may become an asset: a topic level, a metric label."""
    return _SAFE_NAME.fullmatch(text) is not None
