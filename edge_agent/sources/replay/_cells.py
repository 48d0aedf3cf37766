"""What the cells of a recording say: times, numbers, qualities; text in, arrays out."""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from edge_agent.errors import EdgeAgentError
from edge_agent.records import BAD, GOOD, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Masked = tuple[NDArray[np.float64], NDArray[np.bool_]]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_UNIT: Final = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_LATEST_S: Final = 1e11  # the year 5138: a greater number counts something shorter than seconds
_LATEST_US: Final = 250_000_000_000_000_000
_BLANK: Final = frozenset({"", "nan", "null", "none", "n/a", "na", "-"})
_WORDS: Final = {"true": 1.0, "false": 0.0}
_QUALITY: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
_DECIMAL_COMMA: Final = str.maketrans(",.", "._")  # a point would be of thousands: refused


def time_parser(form: str, zone: str, first: str) -> Callable[[str], int]:
    """A function from a cell to microseconds since the epoch; it raises ValueError.

    form: `iso`, `s`, `ms`, `us` or `ns` since the epoch, a strptime format, or `` to decide by
    the cell `first`; zone: IANA name of the zone of times that name none.
    """
    if form in _US_PER_UNIT:
        return _epoch_parser(_US_PER_UNIT[form])
    tz = _zone(zone)
    if form not in {"", "iso"}:
        return lambda cell: _to_us(datetime.strptime(cell.strip(), form), tz)  # noqa: DTZ007
    count = math.inf if form else _number(first)
    if math.isfinite(count):
        return _epoch_parser(_US_PER_UNIT[_unit(count)])
    return lambda cell: _to_us(datetime.fromisoformat(cell.strip()), tz)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise EdgeAgentError(
            f"unknown time zone {name!r}", hint="an IANA name such as Europe/Berlin"
        ) from error


def _unit(count: float) -> str:
    limits = ((unit, _LATEST_S * 1000.0**n) for n, unit in enumerate(_US_PER_UNIT))
    return next((unit for unit, limit in limits if abs(count) < limit), "ns")


def _epoch_parser(us_per_unit: float) -> Callable[[str], int]:
    def parse(cell: str) -> int:
        if us_per_unit >= 1 and cell.isdecimal():
            return int(cell) * int(us_per_unit)
        return round(float(cell.replace(",", ".")) * us_per_unit)

    return parse


def _to_us(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def times(
    cells: Sequence[str], parse: Callable[[str], int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Microseconds since the epoch, int64 [n], and a mask of the cells that are no time."""
    try:
        found = list(map(parse, cells))
    except (ValueError, OverflowError):
        found = [_time_or_never(cell, parse) for cell in cells]
    outside = [not -_LATEST_US < us < _LATEST_US for us in found]
    if any(outside):
        found = [0 if out else us for us, out in zip(found, outside, strict=True)]
    return np.array(found, np.int64), np.array(outside, np.bool_)


def _time_or_never(cell: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(cell)
    except (ValueError, OverflowError):
        return _LATEST_US


def numbers(cells: Sequence[str], decimal: str) -> Masked:
    """float64 [n], NaN where a cell is blank or no number, and a mask of the latter."""
    if decimal == ",":
        cells = [cell.translate(_DECIMAL_COMMA) for cell in cells]
    try:
        plain = "_" not in "".join(cells)  # float("1_5") would be 15
        values = np.array(list(map(float if plain else _number, cells)))
    except ValueError:
        values = np.array(list(map(_number, cells)))
    wrong = np.isinf(values)
    values[wrong] = np.nan
    return values, wrong


def _number(cell: str) -> float:
    """The number in a cell; NaN where it is blank, infinite where it is none."""
    text = cell.strip().lower()
    if text in _BLANK:
        return math.nan
    try:
        return _WORDS[text] if text in _WORDS else float(text if "_" not in text else "inf")
    except ValueError:
        return math.inf


def qualities(
    cells: Sequence[str], *, classic: bool
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """OPC UA StatusCodes, uint32 [n], and a mask of the cells that are no quality.

    A cell is a word that begins with good, uncertain or bad, or a number: a StatusCode, or an
    OPC Classic quality (192 is Good, 0 is Bad) where `classic`. Blank is Good.
    """
    codes = np.array([_quality(cell, classic) for cell in cells], np.int64)
    wrong = codes < 0
    codes[wrong] = BAD
    return codes.astype(np.uint32), wrong


@lru_cache(maxsize=1024)
def _quality(cell: str, classic: bool) -> int:  # noqa: FBT001 (cached: keywords cost)
    text = cell.strip().lower()
    word = next((code for word, code in _QUALITY.items() if text.startswith(word)), None)
    if word is not None or not text:
        return word or GOOD
    try:
        code = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        return -1
    if classic:
        return (BAD, UNCERTAIN, -1, GOOD)[code >> 6] if 0 <= code <= 0xFF else -1  # noqa: PLR2004
    return code if 0 <= code <= 0xFFFF_FFFF else -1  # noqa: PLR2004
