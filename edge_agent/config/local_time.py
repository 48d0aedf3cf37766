"""Days of the week and times of day by the plant's clock, as they are written in a config."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):[0-5][0-9]")
_MIDNIGHT: Final = "24:00"


class Day(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def is_clock(text: str) -> bool:
    """True for a time of day such as 06:00."""
    return _CLOCK.fullmatch(text) is not None


def minutes_of(clock: str) -> tuple[int, int]:
    """Hour and minute of a time of day such as 22:00."""
    hour, minute = clock.split(":")
    return int(hour), int(minute)


def minute_of_day(clock: str) -> int:
    """Minutes since midnight of a time of day."""
    hour, minute = minutes_of(clock)
    return 60 * hour + minute


def hours_problems(start: str, end: str, *, or_midnight: bool = False) -> Iterator[tuple[str, str]]:
    """What is wrong with two times of day, as (key, message). or_midnight: 24:00 is one, too."""
    for key, text in (("start", start), ("end", end)):
        if not (is_clock(text) or (or_midnight and text == _MIDNIGHT)):
            yield key, "is no time of day such as 06:00"
