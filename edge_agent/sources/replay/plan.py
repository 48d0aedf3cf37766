"""The use of a table's columns: from the config, else from their names and cells."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.csv_reader import find_column
from edge_agent.sources.replay.labels import (
    TIME_NAMES,
    asset_column,
    first_named,
    long_columns,
    plain_name,
    same_unit,
    unit_of_name,
)
from edge_agent.sources.replay.moments import is_clock, is_date, is_number, match
from edge_agent.sources.replay.places import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Chunk, Table
    from edge_agent.sources.replay.places import Places

log = logging.getLogger("edge_agent.sources")

_WHOSE: Final = "; if they are of one asset, name it as 'asset'"
_MAX_NAMED: Final = 20
_GOOD_CLASSIC: Final = 192


@dataclass(frozen=True, slots=True)
class Plan:
    """Columns by index; `qualities` has one for each of `values`. other_units: as in `Report`.

    clock: the time of day, if `time` is only the date. classic: quality codes are of OPC Classic.
    """

    asset: str
    time: int
    clock: int | None
    asset_column: int | None
    label_column: int | None
    values: list[int]
    labels: list[str]
    qualities: list[int | None]
    classic: bool = False
    unused: list[str] = field(default_factory=list)
    other_units: dict[str, str] = field(default_factory=dict)

    @property
    def naming_column(self) -> int:
        """The column that identifies the signal of a row's value."""
        columns = (self.label_column, self.asset_column, self.values[0])
        return next(column for column in columns if column is not None)

    def moment(self, row: Sequence[str]) -> str:
        """The text of a row's time."""
        parts = (self.time,) if self.clock is None else (self.time, self.clock)
        return " ".join(row[column] for column in parts if column < len(row))

    def moments(self, chunk: Chunk) -> Sequence[str]:
        """The texts of a chunk's times."""
        if self.clock is None:
            return chunk.cells[self.time]
        return [
            f"{d} {t}" for d, t in zip(chunk.cells[self.time], chunk.cells[self.clock], strict=True)
        ]


def make_plan(config: ReplayConfig, table: Table, places: Places, asset: str) -> Plan:
    """Read the header; EdgeAgentError if a column of the config is missing."""
    names = _effective_names(table, places)

    def optional(wanted: str) -> int | None:
        return find_column(table, wanted) if wanted else None

    time, clock = time_columns(config, table, lambda name: places.find(asset, name) != NOWHERE)
    named, labels = optional(config.asset_column), optional(config.signal_column)
    assets = _column_of_several(table, places, asset) if asset else named
    rest = [n for n in range(len(names)) if n not in {time, clock, assets, labels}]
    quality: int | None = None
    if labels is not None:
        values = [find_column(table, config.value_column)]
    elif named is not None:
        values = rest
    else:
        values = _signal_columns(table, names, places, asset, rest)
        if not values and (found := long_columns(names)) is not None:
            labels, value, quality = found
            values = [value]
            assets = assets if asset else asset_column(names)
    if not values:
        raise _nothing_fits(table, places, asset)
    classic = config.quality_codes == "classic"
    if quality is not None and not config.quality:
        classic = _is_classic(table, quality)
        qualities: list[int | None] = [quality] * len(values)
    else:
        qualities = [optional(config.quality.replace("{column}", names[n])) for n in values]
    used = {time, clock, assets, labels, *values, *qualities}
    unused = [name for n, name in enumerate(names) if n not in used]
    shown = [names[n] for n in values]
    plan = Plan(asset, time, clock, assets, labels, values, shown, qualities, classic, unused)
    plan.other_units.update(_other_units(table, shown, places, asset))
    return plan


def _nothing_fits(table: Table, places: Places, asset: str) -> EdgeAgentError:
    wanted, names = places.wanted(asset), table.names
    if not wanted:
        return EdgeAgentError(
            "no signal of the plant is a number",
            where=str(table.path),
            hint="a text with waveforms needs --waves rows or columns (waves)",
        )
    if all(name.isdecimal() for name in names):
        return EdgeAgentError(
            "has no header: no column is a signal of the plant",
            where=str(table.path),
            hint=f"map them by number: columns {_some(wanted)}; it has {len(names)}",
        )
    return EdgeAgentError(
        f"no column is a signal of the plant, which needs {_some(wanted)}",
        where=str(table.path),
        hint=f"its columns: {_some(names)}{'' if asset else _WHOSE}",
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _column_of_several(table: Table, places: Places, asset: str) -> int | None:
    """The column with the asset of each row, if the file has rows of several; else None.

    EdgeAgentError if none of them is this asset: rows of other machines would become its own.
    """
    column = asset_column(table.names)
    if column is None or places.find(asset, table.names[column]) != NOWHERE:
        return None
    cells = {row[column].strip() for row in table.sample if column < len(row)} - {""}
    if len(cells) < 2 or all(map(is_number, cells)):  # noqa: PLR2004
        return None
    if asset not in cells:
        raise EdgeAgentError(
            f"has rows of several assets, none of which is {asset!r}",
            where=f"{table.path}: column {table.names[column]!r}",
            hint=f"they are {_some(sorted(cells))}",
        )
    return column


def _effective_names(table: Table, places: Places) -> list[str]:
    """The names of the columns; the number of a column that the config maps by its number."""
    numbers = [str(n) for n in range(1, len(table.names) + 1)]
    return [
        number if places.is_mapped(number) and number not in table.names else name
        for number, name in zip(numbers, table.names, strict=True)
    ]


def _signal_columns(
    table: Table, names: list[str], places: Places, asset: str, columns: list[int]
) -> list[int]:
    """Columns that are signals; of several for one signal, the mapped one or its exact name."""
    found: dict[int, list[int]] = {}
    for n in columns:
        index = places.find(asset, names[n])
        if index != NOWHERE:
            found.setdefault(index, []).append(n)
    chosen: list[int] = []
    for several in found.values():
        mapped = [n for n in several if places.is_mapped(names[n])]
        exact = mapped or [n for n in several if places.is_exact(asset, names[n])] or several
        if len(several) > 1 and len(exact) != 1:
            raise EdgeAgentError(
                f"columns {_some([names[n] for n in several])} may be one signal",
                where=str(table.path),
                hint="set it: columns",
            )
        chosen.append(exact[0])
    return sorted(chosen)


def _other_units(table: Table, columns: list[str], places: Places, asset: str) -> dict[str, str]:
    """The columns that name another unit than their signal has, with the signal's."""
    found: dict[str, str] = {}
    for name in columns:
        index, own = places.find(asset, name), unit_of_name(name)
        unit = "" if index == NOWHERE else places.unit(index)
        if unit and own and not same_unit(own, unit):
            found[name] = unit
            fields = {"file": str(table.path), "column": name, "config": unit}
            log.warning("a column has another unit than its signal", extra=fields)
    return found


def time_columns(
    config: ReplayConfig, table: Table, is_signal: Callable[[str], bool]
) -> tuple[int, int | None]:
    """Column of the time, or of the date and the time of day (`DATE+TIME`); EdgeAgentError."""
    if config.time and config.time not in table.names and "+" in config.time:
        parts = [find_column(table, part.strip()) for part in config.time.split("+", 1)]
        return parts[0], parts[1]
    if config.time:
        return find_column(table, config.time), None
    time = first_named(table.names, TIME_NAMES)
    if time is None:
        found = _first_like(table, lambda cell: match(cell) is not None, None)
        time = found or 0  # pandas writes its index of times without a name
        if is_signal(table.names[time]) or (found is None and not table.names[time]):
            raise EdgeAgentError(
                "no column contains times",
                where=str(table.path),
                hint=f"set it: time; its columns: {_some(table.names)}",
            )
    if _is_like(table, time, is_clock):
        date = _first_like(table, is_date, time)
        return (time, None) if date is None else (date, time)
    if _is_like(table, time, is_date):
        clock = _first_like(table, is_clock, time)
        return time, clock if clock is not None and _goes_with(table, time, clock) else None
    return time, None


def has_times(names: Sequence[str], row: Sequence[str]) -> bool:
    """True if a column has the name of a time, or the first row has a date."""
    return first_named([*names], TIME_NAMES) is not None or any(match(cell) for cell in row)


def _goes_with(table: Table, date: int, clock: int) -> bool:
    """True if a time of day belongs to the date: it is beside it, or has a time's name."""
    return abs(date - clock) == 1 or plain_name(table.names[clock]) in TIME_NAMES


def _first_like(table: Table, kind: Callable[[str], bool], but: int | None) -> int | None:
    columns = (n for n in range(len(table.names)) if n != but)
    return next((n for n in columns if _is_like(table, n, kind)), None)


def _is_like(table: Table, column: int, kind: Callable[[str], bool]) -> bool:
    """True if most cells of the first rows are of that kind."""
    cells = [row[column] for row in table.sample[:20] if column < len(row) and row[column].strip()]
    return 2 * sum(map(kind, cells)) > len(cells)


def _is_classic(table: Table, column: int) -> bool:
    """True if a quality column has the numbers of OPC Classic; EdgeAgentError if unclear."""
    texts = {row[column].strip() for row in table.sample if column < len(row)}
    codes = {int(text) for text in texts if text.isdecimal()}
    if not codes or max(codes) > 0xFF:  # noqa: PLR2004
        return False
    if any(code >= _GOOD_CLASSIC for code in codes):
        return True
    raise EdgeAgentError(
        f"quality {min(codes)} may be good (a StatusCode) or bad (OPC Classic)",
        where=f"{table.path}: column {table.names[column]!r}",
        hint="set quality and quality_codes (--quality-codes)",
    )
