"""Which signal a column, or a row of a long recording, belongs to; chunks of cells in, rows out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import Kind
from edge_agent.errors import EdgeAgentError
from edge_agent.records import BAD, BAD_NO_DATA, GOOD, Columns
from edge_agent.sources.replay._cells import numbers, qualities, times
from edge_agent.sources.replay._csv import find_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edge_agent.config.plant import Plant, PlantAsset
    from edge_agent.sources.replay._csv import Chunk, Reject, Table
    from edge_agent.sources.replay._source import ReplayConfig

_NOWHERE: Final = -1
_WHOSE: Final = "; if they are of one asset, name it as 'asset'"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TIME_NAMES: Final = ("time", "timestamp", "datetime", "ts", "date", "date_time", "date time")


@dataclass(frozen=True, slots=True)
class Rows:
    """Values with the number of the row that each came from, int64 [n]; a row stays together."""

    values: Columns
    row: NDArray[np.int64]


class Places:
    """Finds signals by asset and label: a label is a mapped column, an address or a name.

    Without an asset a label is an address that only one signal has, or `asset.signal`.
    source: whose signals may be found; None for all. template: for assets that are not yet known.
    columns: column by signal name.
    """

    def __init__(
        self, plant: Plant, source: str | None, template: str, columns: Mapping[str, str]
    ) -> None:
        self._plant = plant
        self._source = source
        self._template = template
        self._columns = columns
        self._signals: dict[tuple[str, str], int] = {}
        self._assets: set[str] = set()
        for asset in plant.assets.values():
            self._add(asset)

    def knows(self, asset: str) -> bool:
        """Whether the plant has that asset, or could discover it by the template."""
        if asset not in self._assets and self._template and _NAME.fullmatch(asset):
            found = self._plant.discover(asset, self._template)
            if found is not None:
                self._add(found)
        return asset in self._assets

    def find(self, asset: str, label: str) -> int:
        """The signal's index, or -1."""
        if asset and not self.knows(asset):
            return _NOWHERE
        return self._signals.get((asset, label), _NOWHERE)

    def _add(self, asset: PlantAsset) -> None:
        self._assets.add(asset.id)
        for name, signal in asset.signals.items():
            if self._source not in {None, signal.source} or signal.config.kind is not Kind.SCALAR:
                continue
            index = signal.index
            self._signals.setdefault((asset.id, name), index)
            self._signals["", f"{asset.id}.{name}"] = index
            if signal.address:
                self._signals[asset.id, signal.address] = index
                shared = ("", signal.address) in self._signals
                self._signals["", signal.address] = _NOWHERE if shared else index
            if name in self._columns:
                self._signals[asset.id, self._columns[name]] = index


@dataclass(frozen=True, slots=True)
class Plan:
    """Which columns of a table hold what; `qualities` has one for each of `values`."""

    asset: str
    time: int
    asset_column: int | None
    label_column: int | None
    values: list[int]
    labels: list[str]
    qualities: list[int | None]
    unused: list[str]


def make_plan(config: ReplayConfig, table: Table, places: Places, asset: str) -> Plan:
    """Read the header; EdgeAgentError where a column that the config names is not there."""
    names = table.names

    def optional(wanted: str) -> int | None:
        return find_column(table, wanted) if wanted else None

    time = find_column(table, config.time) if config.time else _time_column(names)
    asset_column, label_column = optional(config.asset_column), optional(config.signal_column)
    values = [n for n in range(len(names)) if n not in {time, asset_column, label_column}]
    if label_column is not None:
        values = [find_column(table, config.value_column)]
    elif asset_column is None:
        values = [n for n in values if places.find(asset, names[n]) != _NOWHERE]
    if not values:
        raise EdgeAgentError(
            "no column is a signal of the plant",
            where=str(table.path),
            hint=f"its columns: {', '.join(names[:20])}{'' if asset else _WHOSE}",
        )
    qualities_ = [optional(config.quality.replace("{column}", names[n])) for n in values]
    used = {time, asset_column, label_column, *values, *qualities_}
    unused = [name for n, name in enumerate(names) if n not in used]
    labels = [names[n] for n in values]
    return Plan(asset, time, asset_column, label_column, values, labels, qualities_, unused)


def _time_column(names: list[str]) -> int:
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in _TIME_NAMES if name in lower), 0)


@dataclass(slots=True)
class Decoder:
    """Decodes the chunks of one table by its plan."""

    config: ReplayConfig
    places: Places
    plan: Plan
    parse_time: Callable[[str], int]
    reject: Reject

    def decode(self, chunk: Chunk, first_row: int, not_before_us: int) -> Rows:
        """The chunk's values, row by row; `first_row` numbers its first row."""
        time_us, never = times(chunk.cells[self.plan.time], self.parse_time)
        late = np.asarray(~never & (time_us < not_before_us))
        signal = self._signals(chunk)
        value, status, usable = self._values(chunk, signal >= 0)
        self._count("time", never, chunk)
        self._count("out_of_order", late, chunk)
        self._count("unknown", np.all(signal < 0, axis=1), chunk)
        keep = usable & ~(never | late)[:, None]
        row = np.arange(first_row, first_row + len(chunk.lines))
        width = len(self.plan.values)
        values = Columns(
            signal[keep], np.repeat(time_us, width)[keep.ravel()], value[keep], status[keep]
        )
        return Rows(values, np.repeat(row, width)[keep.ravel()])

    def _signals(self, chunk: Chunk) -> NDArray[np.int32]:
        """Signal of each cell, [rows, value columns]."""
        plan, find = self.plan, self.places.find
        n = len(chunk.lines)
        if plan.asset_column is None and plan.label_column is None:
            row = [find(plan.asset, label) for label in plan.labels]
            return np.broadcast_to(np.array(row, np.int32), (n, len(row)))
        assets = _texts(chunk, plan.asset_column, plan.asset)
        if plan.label_column is not None:
            labels = _texts(chunk, plan.label_column, "")
            pairs = zip(assets, labels, strict=True)
            return np.array([[find(*pair)] for pair in pairs], np.int32).reshape(n, 1)
        rows = {asset: [find(asset, label) for label in plan.labels] for asset in set(assets)}
        return np.array([rows[asset] for asset in assets], np.int32).reshape(n, len(plan.labels))

    def _values(
        self, chunk: Chunk, wanted: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32], NDArray[np.bool_]]:
        """Values, statuses and which of them count, each [rows, value columns]."""
        value = np.empty(wanted.shape)
        status = np.full(wanted.shape, GOOD, np.uint32)
        keep = wanted.copy()
        for n, column in enumerate(self.plan.values):
            value[:, n], wrong = numbers(chunk.cells[column], self.config.decimal)
            self._count("number", wrong & wanted[:, n], chunk)
            quality = self.plan.qualities[n]
            if quality is not None:
                classic = self.config.quality_codes == "classic"
                status[:, n], unclear = qualities(chunk.cells[quality], classic=classic)
                self._count("quality", unclear & wanted[:, n], chunk)
                wrong |= unclear
            keep[:, n] &= ~wrong
        blank = np.isnan(value)
        if self.config.blank == "bad":
            status[blank & (status < BAD)] = BAD_NO_DATA
        return value, status, keep & (~blank | (status >= BAD))

    def _count(self, reason: str, rows: NDArray[np.bool_], chunk: Chunk) -> None:
        if rows.any():
            self.reject(reason, int(rows.sum()), chunk.lines[int(rows.argmax())])


def _texts(chunk: Chunk, column: int | None, default: str) -> list[str]:
    if column is None:
        return [default] * len(chunk.lines)
    return [cell.strip() for cell in chunk.cells[column]]
