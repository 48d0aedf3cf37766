"""Detects how a recording writes times, from whole columns, or refuses it with a cause.

03/04/2026 may be in March or in April: if no cell of the column decides, the user must, and nothing
is guessed.
"""

from __future__ import annotations

import itertools
import re
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.moments import (
    ANY_ORDER,
    EXCEL,
    EXCEL_1904,
    ORDERS,
    US_PER_DAY,
    US_PER_UNIT,
    compact_moment,
    epoch_parser,
    is_clock,
    is_number,
    iso_moment,
    match,
    moment_of,
    possible_orders,
    serial_parser,
    strptime_parser,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_agent.sources.replay.csv_reader import Table
    from edge_agent.sources.replay.moments import Parse

LATEST_S: Final = 1e11  # the year 5138: a greater number has a shorter unit than seconds
_SERIAL_DAYS: Final = (32_874.0, 65_747.0)  # 1990 to 2079
_SERIAL_DIGITS: Final = 4  # behind the point: fewer may be of seconds since a start
_COMPACT_WIDTHS: Final = frozenset({8, 12, 14})
_NAME_UNIT: Final = re.compile(r"[\[(]\s*([a-zµ]+)\s*[\])]", re.IGNORECASE)
# Microseconds per unit, for units in brackets in a column's name.
_UNITS_US: Final = {
    **US_PER_UNIT,
    **dict.fromkeys(("sec", "seconds"), 1e6),
    "µs": 1.0,
    **dict.fromkeys(("min", "minutes"), 60e6),
    **dict.fromkeys(("h", "hours"), 3600e6),
    **dict.fromkeys(("d", "days"), 86400e6),
}
_LONGEST_RUN_S: Final = 3e8  # since a start: larger numbers are seconds since 1970
_DATES_S: Final = (6.3e8, 2.5e9)  # 1990 to 2049: recordings are only of this time
_DATES_NS: Final = (9.4e8, 2.5e9)  # from 2000: counts of 100 ns since year 1 look like 1990
# Days since year 0 and since 4713 BC, of 1957 to 2080.
_DAY_NUMBERS: Final = {"MATLAB": (715_000.0, 760_000.0), "Julian": (2_436_000.0, 2_481_000.0)}
# 1950 to 2100: 2569 is a year of the Buddhist calendar; 1601, 1899 and 1900 mean no time.
_YEARS_S: Final = (-631_152_000.0, 4_133_980_800.0)
_SMOOTH_DAYS, _JUMP_DAYS = 3, 20
_ROWS_A_DAY: Final = 3
_US_PER_HOUR: Final = 3_600_000_000
_NOON_H: Final = 12
_DAY_FIRST: Final = {"ymd": "2026/11/26", "dmy": "26/11/2026", "mdy": "11/26/2026"}


def choose_time(
    table: Table, form: str, name: str, cell_of: Callable[[Sequence[str]], str]
) -> Parse:
    """The parser of the table's times; EdgeAgentError if they are ambiguous.

    form: `iso`, `s`, `ms`, `us`, `ns`, `excel`, `excel1904`, `dmy`, `mdy`, `ymd`, a strptime
    format, or `` to detect it; cell_of: returns the text of a row's time.
    """
    if form:
        return _named_form(form)
    cells = [text for row in table.sample if (text := cell_of(row).strip())]
    numeric = [text for text in cells if is_number(text)]
    try:
        if len(numeric) > sum(match(text) is not None for text in cells):
            return _numeric_form(numeric, name, since_1904=table.since_1904)
        parse = _between(_textual_form(cells, lambda: map(cell_of, table.again())), *_YEARS_S)
        _refuse_half_days(cells, parse)
    except EdgeAgentError as error:
        error.where = f"{table.path}: column {name!r}"
        raise
    return parse


def _refuse_half_days(cells: list[str], parse: Parse) -> None:
    """Refuse a 12-hour clock without AM and PM, which goes back from 12:59 to 1:00."""
    found: list[int] = []
    for cell in cells:
        try:
            found.append(parse(cell) >> 1)
        except (ValueError, OverflowError):
            continue
    us = np.array(found, np.int64)
    hours = us // _US_PER_HOUR % 24
    steps_h = np.diff(us) / _US_PER_HOUR
    falls = np.flatnonzero((np.abs(steps_h + 11) < 1) & (hours[:-1] == _NOON_H) & (hours[1:] == 1))
    if len(falls) and hours.min() >= 1 and hours.max() <= _NOON_H:
        cell = cells[int(falls[0]) + 1]
        raise EdgeAgentError(f"has a 12-hour clock without AM or PM, such as {cell!r}")


def _named_form(form: str) -> Parse:
    if form in US_PER_UNIT:
        return epoch_parser(US_PER_UNIT[form])
    if form in {EXCEL, EXCEL_1904}:
        return serial_parser(form)
    if form in ORDERS:
        return partial(moment_of, order=form)
    if form == "iso":
        return iso_moment
    if "%" not in form:
        known = ", ".join(("iso", *US_PER_UNIT, EXCEL, EXCEL_1904, *ORDERS))
        raise EdgeAgentError(f"unknown time format {form!r}", hint=f"{known} or as %d.%m.%Y %H:%M")
    return strptime_parser(form)


def _numeric_form(cells: list[str], name: str, *, since_1904: bool) -> Parse:
    unit = _NAME_UNIT.search(name)
    if unit and unit[1].lower() in _UNITS_US:
        return epoch_parser(_UNITS_US[unit[1].lower()])
    if {len(cell) for cell in cells} <= _COMPACT_WIDTHS and _all_parse(cells, compact_moment):
        return compact_moment
    counts = sorted(float(cell.replace(",", ".")) for cell in cells)
    middle = counts[(len(counts) - 1) // 2]  # a few odd cells do not matter: each is refused alone
    if _SERIAL_DAYS[0] <= middle <= _SERIAL_DAYS[1]:
        return _serial_form(cells, counts[0], counts[-1], since_1904=since_1904)
    _refuse_day_numbers(cells, middle)
    return _epoch_form(cells, middle)


def _refuse_day_numbers(cells: list[str], middle: float) -> None:
    """Refuse days with a fraction that are counted from another epoch than a spreadsheet's."""
    named = (name for name, (low, high) in _DAY_NUMBERS.items() if low <= middle <= high)
    if (name := next(named, None)) and _are_fractions(cells):
        raise EdgeAgentError(
            f"times such as {cells[0]} may be {name} day numbers, or seconds",
            hint="export dates; if they are seconds, set it: time_format s",
        )


def _epoch_form(cells: list[str], middle: float) -> Parse:
    """Seconds since a start, or a count since 1970 that is a plausible date of a recording."""
    us = US_PER_UNIT[unit_of(middle)]
    if us == US_PER_UNIT["s"] and abs(middle) < _LONGEST_RUN_S:
        low_s, high_s = -_LONGEST_RUN_S, _LONGEST_RUN_S
    else:
        low_s, high_s = _DATES_NS if us == US_PER_UNIT["ns"] else _DATES_S
    if not low_s <= middle * us / 1e6 <= high_s or _all_parse(cells, strptime_parser("%y%m%d%H%M")):
        raise EdgeAgentError(
            f"numbers as {middle:.12g} may mean several times, or none",
            hint="define their unit: time_format s, ms, us, ns, excel, or as %y%m%d%H%M",
        )
    return _between(epoch_parser(us), low_s, high_s)


def _between(parse: Parse, low_s: float, high_s: float) -> Parse:
    """Refuse times that are no plausible date of a recording: a count in another unit."""
    low, high = 2 * low_s * 1e6, 2 * high_s * 1e6

    def bounded(cell: str) -> int:
        moment = parse(cell)
        if not low <= moment <= high:
            raise ValueError(cell)
        return moment

    return bounded


def unit_of(count: float) -> str:
    """The unit in which a count since 1970 of this size is a date of today."""
    limits = ((unit, LATEST_S * 1000.0**n) for n, unit in enumerate(US_PER_UNIT))
    return next((unit for unit, limit in limits if abs(count) < limit), "ns")


def _serial_form(cells: list[str], low: float, high: float, *, since_1904: bool) -> Parse:
    if not _are_fractions(cells):
        raise EdgeAgentError(
            f"times from {low:g} to {high:g} may be days of a spreadsheet or seconds",
            hint="set it: time_format excel, or s",
        )
    return serial_parser(EXCEL_1904 if since_1904 else EXCEL)


def _are_fractions(cells: list[str]) -> bool:
    """True if most numbers have as many decimals as days with a time of day."""
    digits = [len(re.split("[.,]", cell)[-1]) if re.search("[.,]", cell) else 0 for cell in cells]
    return 2 * sum(n >= _SERIAL_DIGITS for n in digits) >= len(cells)


def _all_parse(cells: list[str], parse: Parse) -> bool:
    try:
        return bool([parse(cell) for cell in cells])
    except ValueError:
        return False


def _textual_form(cells: list[str], again: Callable[[], Iterator[str]]) -> Parse:
    if cells and all(is_clock(cell) for cell in cells):
        raise EdgeAgentError(
            f"has times of day without a date, such as {cells[0]!r}",
            hint="name a column with both, or two as DATE+TIME",
        )
    orders = _orders(cells)
    if orders == ANY_ORDER:
        return iso_moment
    if len(orders) > 1:
        orders = _orders(again()) or orders
    if len(orders) > 1:
        orders = _smooth_orders(list(itertools.islice(again(), 1_000_000)), orders)
    if len(orders) == 1 or _all_same(again(), orders):
        return partial(moment_of, order=next(iter(orders)))
    raise _undecided(cells, orders)


def _orders(cells: Iterable[str]) -> frozenset[str]:
    """Orders that are possible for all dates."""
    orders = ANY_ORDER
    seen: dict[str, frozenset[str]] = {}
    for cell in cells:
        date = cell.strip().partition(" ")[0]
        if date not in seen:
            # A cell may begin with a weekday or a month: then the whole cell is used.
            seen[date] = found = possible_orders(date) or possible_orders(cell)
            if found:
                orders &= found
    return orders


def _smooth_orders(cells: list[str], orders: frozenset[str]) -> frozenset[str]:
    """The only order in which consecutive rows never jump by weeks, if there is one."""
    smooth = {order for order in orders if _is_smooth(cells, order)}
    return frozenset(smooth) if len(smooth) == 1 else orders


def _is_smooth(cells: list[str], order: str) -> bool:
    days: list[int] = []
    for cell in cells:
        try:
            days.append(moment_of(cell, order) // (2 * US_PER_DAY))
        except ValueError:
            continue
    steps = np.abs(np.diff(np.array(days, np.int64)))
    changes = steps[steps > 0]
    if not len(changes) or len(days) < _ROWS_A_DAY * (len(changes) + 1):
        return False
    return bool(changes.max() <= _SMOOTH_DAYS)


def _all_same(cells: Iterable[str], orders: frozenset[str]) -> bool:
    """True if every date is the same day in each of the orders, such as 04/04/2026."""
    dated = [cell for cell in cells if possible_orders(cell)]
    return bool(orders and dated) and all(
        len({moment_of(cell, order) for order in orders}) == 1 for cell in dated
    )


def _undecided(cells: list[str], orders: frozenset[str]) -> EdgeAgentError:
    examples = [cell for cell in cells if possible_orders(cell) != ANY_ORDER]
    if orders:
        what = " or ".join(sorted(_DAY_FIRST[order] for order in orders))
        text = f"{(examples or cells)[0]!r} may be {what}, and no row shows which"
    else:
        text = (
            f"the dates have no common order of day and month, such as {(examples or cells)[0]!r}"
        )
    return EdgeAgentError(text, hint="set it: time_format dmy, mdy or ymd")
