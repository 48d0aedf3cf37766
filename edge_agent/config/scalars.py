"""Converts texts to values, strictly: a text not exactly of its type is refused with a hint.

YAML's own guesses (`no` is false, `1:30` is 90, `0123` is 83) never happen here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.conditions import Condition, parse_condition
from edge_agent.config.limits import Deadband, Level, Rate, to_deadband, to_level, to_rate
from edge_agent.config.machine import hostname
from edge_agent.config.problem import Wrong, shown
from edge_agent.config.types import DURATIONS, Cycle, Duration, HostText, Name, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_NAME: Final = 64
HOSTNAME: Final = "{hostname}"
_MAX_NUMBER: Final = 64  # characters; a person writes no longer number
MAX_DURATION_S: Final = 10 * 365 * 86400
MAX_SIZE: Final = 1 << 50

_INT = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BOOLS: Final = {"true": True, "false": False}
SIZES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}


def to_bool(text: str) -> bool:
    """`true` or `false`, nothing else."""
    if text not in _BOOLS:
        raise Wrong(f"{shown(text)} is not a truth value", "write true or false")
    return _BOOLS[text]


def to_int(text: str) -> int:
    """Decimal digits with a sign; no leading zeros, which mean octal in other formats."""
    if not _INT.fullmatch(text):
        raise Wrong(f"{shown(text)} is not a whole number")
    return int(text)


def to_float(text: str) -> float:
    """A finite decimal number."""
    number = float(text) if len(text) <= _MAX_NUMBER and _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise Wrong(f"{shown(text)} is not a number")
    return number


def to_duration(text: str) -> Duration:
    """Seconds from `10s`, `500ms`, `5m`, `2h`, `1d` or a plain number of seconds."""
    seconds = _amount(text, DURATIONS, text)
    if seconds is None:
        raise Wrong(f"{shown(text)} is not a duration", "write 500ms, 10s, 5m, 2h or 1d")
    if seconds > MAX_DURATION_S:
        raise Wrong(f"{shown(text)} is too long", "at most 3650d")
    return Duration(seconds)


def to_cycle(text: str) -> Cycle:
    """A duration, `none`, or the name of a signal."""
    if text == "none":
        return Cycle()
    if not _AMOUNT.fullmatch(text) and is_name(text):
        return Cycle(start=text)
    period_s = to_duration(text)
    if not period_s:
        raise Wrong(f"{shown(text)} is no cycle", "write 60s, none, or the start signal's name")
    return Cycle(period_s)


def to_size(text: str) -> Size:
    """Bytes from `64MiB` (2^20), `1GB` (10^9) or a plain number of bytes."""
    size = _amount(text, SIZES, text.lower())
    if size is None or size > MAX_SIZE:
        raise Wrong(f"{shown(text)} is not a size", "write 65536, 512KiB, 64MiB or 1GB")
    return Size(round(size))


def to_name(text: str) -> Name:
    """A name that is safe as a topic level, a file name and a metric label."""
    text = fill_hostname(text)
    if not is_name(text):
        hint = f"letters, digits, '_', '.' and '-', at most {MAX_NAME}, a letter or digit first"
        raise Wrong(f"{shown(text)} is not a name", hint)
    return Name(text)


def fill_hostname(text: str) -> HostText:
    """`{hostname}` replaced, so that one config file serves many gateways."""
    return HostText(text.replace(HOSTNAME, hostname()) if HOSTNAME in text else text)


def is_name(text: str) -> bool:
    """True if `text` may be a Name."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def _amount(text: str, units: Mapping[str, float], spelled: str) -> float | None:
    """A number times its unit; None if it is not of that form."""
    match = _AMOUNT.fullmatch(spelled) if len(text) <= _MAX_NUMBER else None
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


SCALARS: Final[Mapping[Any, Callable[[str], Any]]] = {
    str: str,
    bool: to_bool,
    int: to_int,
    float: to_float,
    Duration: to_duration,
    Cycle: to_cycle,
    Size: to_size,
    Name: to_name,
    HostText: fill_hostname,
    Condition: parse_condition,
    Level: to_level,
    Rate: to_rate,
    Deadband: to_deadband,
}
