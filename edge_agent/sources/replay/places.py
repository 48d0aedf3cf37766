"""Which signal a label belongs to; chunks of cells in, rows of values out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import Kind
from edge_agent.errors import DecodeError
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.replay.cells import numbers, qualities
from edge_agent.sources.replay.labels import plain_name
from edge_agent.sources.replay.moments import is_number
from edge_agent.values import BAD, BAD_NO_DATA, GOOD, Columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.sources.replay.cells import Numbers
    from edge_agent.sources.replay.csv_reader import Chunk, Reject
    from edge_agent.sources.replay.plan import Plan
    from edge_agent.sources.replay.source import ReplayConfig
    from edge_agent.sources.replay.times import TimeReader

NOWHERE: Final = -1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Values with the number of the row that each came from, int64 [n]; a row stays together."""

    values: Columns
    row: NDArray[np.int64]


class Places:
    """Finds signals by asset and label: a label is a mapped column, an address or a name.

    What is none of these exactly is compared without units in brackets, case and punctuation.
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
        self._plain: dict[tuple[str, str], set[int]] = {}
        self._assets: set[str] = set()
        self._rules: dict[tuple[int, str], TextRules] = {}
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
            return NOWHERE
        exact = self._signals.get((asset, label))
        if exact is not None:
            return exact
        alike = self._plain.get((asset, plain_name(label)), set())
        return next(iter(alike)) if len(alike) == 1 else NOWHERE

    def is_exact(self, asset: str, label: str) -> bool:
        """Whether the label is a signal's name, address or column as it stands."""
        return (asset, label) in self._signals

    def wanted(self, asset: str) -> list[str]:
        """Labels by which signals of an asset, or of all, are found."""
        return [label for owner, label in self._signals if owner == asset]

    def number(self, index: int, cell: str, decimal: str) -> float:
        """The number of a text by the signal's `map` and unit; infinite for none.

        decimal: the mark of the column, where the signal names none. What is a plain number and
        was refused stays refused: 1.234 beside decimal commas may be 1234.
        """
        rules = self._rules.get((index, decimal))
        if rules is None:
            config = self._plant.signals[index].config
            rules = self._rules[index, decimal] = TextRules(config, decimal)
        if is_number(cell) and cell.strip() not in rules.words:
            return math.inf
        try:
            return rules.number(cell)
        except DecodeError:
            return math.inf

    def unit(self, index: int) -> str:
        """The unit of a signal."""
        return self._plant.signals[index].config.unit

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
                self._signals["", signal.address] = NOWHERE if shared else index
            if name in self._columns:
                self._signals[asset.id, self._columns[name]] = index
            labels = (
                (asset.id, name),
                (asset.id, f"{asset.id}.{name}"),
                ("", f"{asset.id}.{name}"),
            )
            for owner, label in (*labels, (asset.id, signal.address)):
                if plain_name(label):
                    self._plain.setdefault((owner, plain_name(label)), set()).add(index)


@dataclass(slots=True)
class Decoder:
    """Decodes the chunks of one table by its plan."""

    config: ReplayConfig
    places: Places
    plan: Plan
    names: list[str]
    time: TimeReader
    numbers: list[Numbers]
    reject: Reject

    def decode(self, chunk: Chunk, first_row: int, not_before_us: int) -> Rows:
        """The chunk's values, row by row; `first_row` numbers its first row."""
        moments = self.plan.moments(chunk)
        time_us, never, missing = self.time.read(moments)
        late = np.asarray(~never & (time_us < not_before_us))
        signal = self._signals(chunk)
        value, status, usable = self._values(chunk, signal)
        self._count("time", never & ~missing, chunk, self.plan.time, moments)
        self._count("no_such_time", missing, chunk, self.plan.time, moments)
        self._count("out_of_order", late, chunk, self.plan.time, moments)
        self._count("unknown", np.all(signal < 0, axis=1), chunk, self.plan.naming_column)
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
        self, chunk: Chunk, signal: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32], NDArray[np.bool_]]:
        """Values, statuses and which of them count, each [rows, value columns]."""
        wanted = signal >= 0
        value = np.empty(wanted.shape)
        status = np.full(wanted.shape, GOOD, np.uint32)
        keep = wanted.copy()
        for n, column in enumerate(self.plan.values):
            value[:, n], wrong = numbers(chunk.cells[column], self.numbers[n])
            self._read_texts(chunk.cells[column], n, signal[:, n], value[:, n], wrong)
            self._count("number", wrong & wanted[:, n], chunk, column)
            quality = self.plan.qualities[n]
            if quality is not None:
                classic = self.plan.classic
                status[:, n], unclear = qualities(chunk.cells[quality], classic=classic)
                self._count("quality", unclear & wanted[:, n], chunk, quality)
                wrong |= unclear
            keep[:, n] &= ~wrong
        blank = np.isnan(value)
        if self.config.blank == "bad":
            status[blank & (status < BAD)] = BAD_NO_DATA
        return value, status, keep & (~blank | (status >= BAD))

    def _read_texts(
        self,
        cells: Sequence[str],
        n: int,
        signal: NDArray[np.int32],
        value: NDArray[np.float64],
        wrong: NDArray[np.bool_],
    ) -> None:
        """Cells that are no numbers, but words of a signal's `map`, or have a unit."""
        known: dict[tuple[int, str], float] = {}
        for row in np.flatnonzero(wrong & (signal >= 0)).tolist():
            key = int(signal[row]), cells[row]
            if key not in known:
                known[key] = self.places.number(*key, self.numbers[n].decimal)
            if math.isfinite(known[key]):
                value[row], wrong[row] = known[key], False

    def _count(
        self,
        reason: str,
        rows: NDArray[np.bool_],
        chunk: Chunk,
        column: int,
        cells: Sequence[str] | None = None,
    ) -> None:
        """Report how many of the rows were refused, with the first of them."""
        if rows.any():
            first = int(rows.argmax())
            text = (cells or chunk.cells[column])[first]
            self.reject(reason, int(rows.sum()), chunk.lines[first], self.names[column], text)


def _texts(chunk: Chunk, column: int | None, default: str) -> list[str]:
    if column is None:
        return [default] * len(chunk.lines)
    return [cell.strip() for cell in chunk.cells[column]]
