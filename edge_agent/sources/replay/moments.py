"""Parses the time in a cell: all forms that spreadsheets and loggers of some country write.

A moment is 2 * microseconds, plus 1 if it is in UTC and 0 if it is local to the recording's zone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Parse = Callable[[str], int]

EXCEL: Final = "excel"
EXCEL_1904: Final = "excel1904"
ORDERS: Final = ("ymd", "dmy", "mdy")
ANY_ORDER: Final = frozenset({*ORDERS, "any"})  # of a date with an unambiguous order
US_PER_UNIT: Final = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
US_PER_DAY: Final = 86_400_000_000
_UTC_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (local to the recording)
_EPOCH_DAY: Final = {EXCEL: 25_569, EXCEL_1904: 24_107}  # 1970-01-01 in serial days
_EXCEL_US: Final = 1000  # a serial day seldom has more digits than for milliseconds
_PIVOT: Final = 70  # two-digit years: 70 to 99 are in the last century
_NOON_H: Final = 12

_NUMBER: Final = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:[.,'’\s\u00a0\u202f]\d{3})+(?:[.,]\d*)?")  # noqa: RUF001
_COMPACT: Final = re.compile(
    r"(\d{4})(\d\d)(\d\d)[Tt _-]?(?:(\d\d)(\d\d)(?:(\d\d)(?:[.,]?(\d{1,9}))?)?)?"
)
_BLANKS: Final = re.compile(r"[\s\u00a0\u202f]+")

_WORD: Final = r"[^\W\d_]"
_WEEKDAY: Final = rf"(?:{_WORD}{{2,12}}\.?,?\s)?"
_DATES: Final = (
    r"(?P<a>\d{1,4})\s?(?P<s>[./-])\s?(?P<b>\d{1,2})(?P=s)\s?(?P<c>\d{4}|\d{1,2}(?![\d:]))\.?",
    r"(?P<y>\d{4})\s?[年년]\s?(?P<m>\d{1,2})\s?[月월]\s?(?P<d>\d{1,2})\s?[日일]",
    rf"(?P<d>\d{{1,2}})\.?(?:\sde)?[\s/-]?(?P<n>{_WORD}{{3,12}})\.?(?:\sde)?,?[\s/-]?(?P<y>\d{{4}}|\d\d)",
    rf"(?P<n>{_WORD}{{3,12}})\.?\s(?P<d>\d{{1,2}}),?\s(?P<y>\d{{4}})",
)
_NOON: Final = r"(?P<p>上午|下午|午前|午後|오전|오후)?\s?"
_CLOCK: Final = (
    rf"{_NOON}(?P<H>\d{{1,2}})(?:[:.h]|[時时点]\s?|시\s?)(?P<M>\d{{1,2}})"
    r"(?:(?:[:.m]|[分]\s?|분\s?)(?P<S>\d{1,2})(?:[.,:](?P<f>\d{1,9}))?)?[秒초分분s]?"
    r"\s?(?P<q>[AaPp]\.?\s?[Mm]\.?)?"
)
_ZONE: Final = r"\s?(?P<z>[A-Za-z]{1,4})?\s?(?P<o>[+-]\d{1,2}(?::?\d\d)?)?(?:\s?\(.*\))?"
_JOIN: Final = r"(?:[\sTt_,;]+|[:-])"
_FORMS: Final = (
    *(re.compile(rf"{_WEEKDAY}{date}(?:{_JOIN}{_CLOCK}{_ZONE})?") for date in _DATES),
    re.compile(
        rf"{_WEEKDAY}(?P<n>{_WORD}{{3,12}})\s(?P<d>\d{{1,2}})\s{_CLOCK}{_ZONE}\s(?P<y>\d{{4}})"
    ),
)
_CLOCK_ALONE: Final = re.compile(_CLOCK)
_ZONES_MIN: Final = {
    **dict.fromkeys(("z", "utc", "gmt"), 0),
    **dict.fromkeys(("cet", "mez"), 60),
    **dict.fromkeys(("cest", "mesz"), 120),
    **dict.fromkeys(("jst", "kst"), 540),
}
_AFTERNOON: Final = ("p", "下午", "午後", "오후")
_MONTHS: Final = (
    "jan ene gen janv tammi sty led 一月",
    "feb fev fév févr helmi lut úno 二月",
    "mar mär mrz maa mrt mars maalis mär.",
    "apr abr avr huhti kwi dub april",
    "may mai mag mei touko maj kvě mayo",
    "jun juin giu kesä cze čer giugno",
    "jul juil lug heinä lip čvc luglio",
    "aug ago aoû août elo sie srp agosto",
    "sep set syys wrz zář sept",
    "oct okt ott out loka paź říj ottobre",
    "nov marras lis lis. list",
    "dec dez dic déc joulu gru pro des",
)
_MONTH_BY_WORD: Final = {
    word: n for n, words in enumerate(_MONTHS, 1) for word in words.replace(".", "").split()
}


def looks_like_moment(cell: str) -> bool:
    """True if a cell is a number or a time of any form."""
    cell = cell.strip()
    if not cell or not any(c.isdigit() for c in cell):
        return False
    is_plain = bool(_NUMBER.fullmatch(cell) or _GROUPED.fullmatch(cell))
    return is_plain or is_clock(cell) or match(cell) is not None


def is_number(cell: str) -> bool:
    """True if a cell is a plain number."""
    return bool(_NUMBER.fullmatch(cell.strip()))


def is_clock(cell: str) -> bool:
    """True if a cell is a time of day without a date."""
    text = _BLANKS.sub(" ", cell.strip())
    return not is_number(text) and bool(_CLOCK_ALONE.fullmatch(text))


def is_date(cell: str) -> bool:
    """True if a cell is a date without a time of day."""
    found = match(cell)
    return found is not None and found["H"] is None


def match(cell: str) -> re.Match[str] | None:
    """Return the parts of a date, with or without a time of day."""
    text = _BLANKS.sub(" ", cell.strip())
    return next((found for form in _FORMS if (found := form.fullmatch(text))), None)


def possible_orders(cell: str) -> frozenset[str]:
    """Return the possible orders of a date; empty if the cell is not a date.

    ANY_ORDER if the form is unambiguous: a year of four digits in front, a name or points.
    """
    found = match(cell)
    if found is None:
        return frozenset()
    fits = _fitting_orders(found)
    if len(fits) == 1:
        return ANY_ORDER if _date(found, fits[0]) is not None else frozenset()
    return frozenset(order for order in fits if _date(found, order) is not None)


def _fitting_orders(found: re.Match[str]) -> tuple[str, ...]:
    """Orders that the form of a date allows. With points the day is first in every country."""
    parts = found.groupdict()
    if "s" not in parts:
        return ("ymd",)
    a, c = len(parts["a"]), len(parts["c"])
    if a > 2:  # noqa: PLR2004
        return ("ymd",) if (a, c) in {(4, 1), (4, 2)} else ()
    if c not in {2, 4}:
        return ()
    if parts["s"] == ".":
        return ("dmy",)
    return ("dmy", "mdy") if c == 4 else ("ymd", "dmy", "mdy")  # noqa: PLR2004


def moment_of(cell: str, order: str) -> int:
    """Parse a date of any form; order: of its numbers, if they are ambiguous. ValueError."""
    found = match(cell)
    if found is None:
        raise ValueError(cell)
    fits = _fitting_orders(found)
    date = _date(found, fits[0] if len(fits) == 1 else order)
    if date is None or not fits or (len(fits) > 1 and order not in fits):
        raise ValueError(cell)
    us = (date - _EPOCH).days * US_PER_DAY + _clock_us(found)
    zone_min = _zone_min(found)
    return 2 * us if zone_min is None else 2 * (us - zone_min * 60_000_000) + 1


def _date(found: re.Match[str], order: str) -> datetime | None:
    parts = found.groupdict()
    try:
        if "s" in parts:
            named = dict(zip(order, (parts["a"], parts["b"], parts["c"]), strict=True))
            return datetime(_year(named["y"]), int(named["m"]), int(named["d"]))  # noqa: DTZ001
        month = _month(parts["n"]) if parts.get("n") else int(parts["m"])
        return datetime(_year(parts["y"]), month, int(parts["d"]))  # noqa: DTZ001
    except (ValueError, KeyError):
        return None


def _year(text: str) -> int:
    if len(text) > 2:  # noqa: PLR2004
        return int(text)
    year = int(text)
    return year + (1900 if year >= _PIVOT else 2000)


def _month(word: str) -> int:
    """The month of a name in one of several languages; KeyError."""
    word = word.casefold()
    found = next((n for n in range(len(word), 2, -1) if word[:n] in _MONTH_BY_WORD), 0)
    return _MONTH_BY_WORD[word[:found]]


def _clock_us(found: re.Match[str]) -> int:
    if found["H"] is None:
        return 0
    hour, minute, second = int(found["H"]), int(found["M"]), int(found["S"] or 0)
    half = (found["p"] or found["q"] or "").lower()
    if half:
        if not 1 <= hour <= _NOON_H:
            raise ValueError(found[0])
        hour = hour % _NOON_H + (_NOON_H if half.startswith(_AFTERNOON) else 0)
    end_of_day = hour == 24 and not minute and not second  # noqa: PLR2004 (ISO 8601)
    if minute > 59 or second > 59 or (hour > 23 and not end_of_day):  # noqa: PLR2004
        raise ValueError(found[0])
    fraction = (found["f"] or "").ljust(6, "0")[:6]
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int(fraction)


def _zone_min(found: re.Match[str]) -> int | None:
    """Minutes east of UTC; None if the cell has no zone; ValueError if the zone is unknown."""
    parts = found.groupdict()
    name, offset = (parts.get("z") or "").lower(), parts.get("o") or ""
    if name and name not in _ZONES_MIN:
        raise ValueError(found[0])
    if not offset:
        return _ZONES_MIN[name] if name else None
    digits = offset[1:].replace(":", "")
    hours, minutes = (digits, "0") if len(digits) <= 2 else (digits[:-2], digits[-2:])  # noqa: PLR2004
    total = int(hours) * 60 + int(minutes)
    return _ZONES_MIN.get(name, 0) + (-total if offset[0] == "-" else total)


def iso_moment(cell: str) -> int:
    """Parse ISO 8601, RFC 3339 with a small t or z, and similar forms. ValueError."""
    try:
        found = datetime.fromisoformat(cell.strip())
    except ValueError:
        return moment_of(cell, "ymd")
    return encoded(found)


def encoded(moment: datetime) -> int:
    """Return a datetime as a moment."""
    local = moment.tzinfo is None
    passed = moment - (_EPOCH if local else _UTC_EPOCH)
    us = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return 2 * us + (not local)


def strptime_parser(form: str) -> Parse:
    """Return the parser of a strptime format."""
    return lambda cell: encoded(datetime.strptime(cell.strip(), form))  # noqa: DTZ007


def epoch_parser(us_per_unit: float) -> Parse:
    """Return the parser of numbers that count since 1970 in UTC."""

    def parse(cell: str) -> int:
        text = cell.strip()
        if us_per_unit >= 1 and text.isascii() and text.isdecimal():
            return 2 * int(text) * int(us_per_unit) + 1
        if "e" in text.lower() or "_" in text:
            raise ValueError(text)  # rounded by a spreadsheet: many rows would have the same time
        return 2 * round(float(text.replace(",", ".")) * us_per_unit) + 1

    return parse


def serial_parser(form: str) -> Parse:
    """Return the parser of a spreadsheet's serial days, local time, rounded to milliseconds."""
    epoch_day = _EPOCH_DAY[form]

    def parse(cell: str) -> int:
        us = (float(cell.strip().replace(",", ".")) - epoch_day) * US_PER_DAY
        return 2 * round(us / _EXCEL_US) * _EXCEL_US

    return parse


def compact_moment(cell: str) -> int:
    """Parse yyyymmdd, yyyymmddHHMM, yyyymmddHHMMSS. ValueError."""
    found = _COMPACT.fullmatch(cell.strip())
    if found is None:
        raise ValueError(cell)
    year, month, day, hour, minute, second = (int(found[n] or 0) for n in range(1, 7))
    micros = int((found[7] or "").ljust(6, "0")[:6])
    moment = datetime(year, month, day, hour, minute, second) + timedelta(microseconds=micros)  # noqa: DTZ001
    if not 1950 <= year <= 2100:  # noqa: PLR2004
        raise ValueError(cell)
    return encoded(moment)
