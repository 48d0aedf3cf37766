"""Assets whose step is not known yet: their values are kept until it is found, and none is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.learning.time_scale import DEFAULT_STEP_S, ENOUGH, FEW, spacing_of, step_of
from edge_agent.status_codes import Severity, severity_of
from edge_agent.tables import Table, column
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_agent.config.schema import Learn
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Bindings

_MAX_VALUES: Final = 10_000  # of an asset; if there are more, the step is found from these
_GROWTH: Final = 1.25  # times the values, between two attempts
_SILENT_US: Final = 120 * US_PER_S  # after this time, inputs without values are not waited for
_PATIENCE_US: Final = 900 * US_PER_S  # after this time, a few values are enough
_ALONE: Final = 5.0  # times the longest distance seen: an asset without values is reported


@dataclass(slots=True)
class StepSearch:
    """The search for the step of one asset.

    standing: values of signals that report only changes, from before; since_us: event time of its
    begin; last_us: of the newest value.
    """

    asset: PlantAsset
    config: Learn
    inputs: tuple[str, ...]
    standing: Columns
    parts: list[Columns] = field(default_factory=list)
    count: int = 0
    since_us: int = 0
    _tried: int = 0

    @property
    def signals(self) -> list[int]:
        """The numbers of its inputs' signals."""
        return [self.asset.signals[name].index for name in self.inputs]

    def accept_values(self, values: Columns) -> None:
        """Keep values of this asset."""
        self.parts.append(values)
        self.count += len(values)

    def values(self) -> Columns:
        """All values that were kept, ordered by time."""
        found = Columns.concat(self.parts).sorted_by_time()
        self.parts = [found]
        return found

    def step_s(self, *, waits: bool = False, ended: bool = False) -> float | None:
        """The step; None if it is not known yet.

        waits: find it only from all values that can be kept; ended: no more values follow.
        """
        is_full = self.count >= _MAX_VALUES
        if not (ended or is_full) and (waits or self.count < _GROWTH * self._tried):
            return None
        self._tried = self.count
        found = self._found(ended=ended or is_full)
        return DEFAULT_STEP_S if found is None and (ended or is_full) else found

    def _found(self, *, ended: bool) -> float | None:
        values = self.values()
        usable = severity_of(values.status) != Severity.BAD
        usable &= np.isfinite(values.value)
        spacings = [
            spacing_of(values.time_us[usable & (values.signal == signal)])
            for signal in self.signals
        ]
        if ended or not len(values):
            return step_of(spacings, enough=1)
        passed_us = int(values.time_us[-1] - values.time_us[0])
        silent = sum(not one.distances for one in spacings) if passed_us < _SILENT_US else 0
        return step_of(spacings, FEW if passed_us >= _PATIENCE_US else ENOUGH, silent)

    def take_over(self, old: StepSearch) -> None:
        """Continue with the values of the same asset in a plant that this one replaces."""
        number = {
            old.asset.signals[name].index: self.asset.signals[name].index
            for name in self.inputs
            if name in old.asset.signals
        }
        values = old.values()
        mine = np.isin(values.signal, list(number))
        values = values.where(mine)
        signal = np.array([number[one] for one in values.signal.tolist()], np.int32)
        self.accept_values(Columns(signal, values.time_us, values.value, values.status))

    def shift_clock(self, step_us: int) -> None:
        """Shift all times; the gateway's clock was moved."""
        self.since_us += step_us
        self.parts = [_shifted(part, step_us) for part in self.parts]
        self.standing = _shifted(self.standing, step_us)

    def obstacle_since_us(self, now_us: int) -> int | None:
        """Since when it has had no value, if that is longer than its values let expect."""
        if not self.since_us:
            self.since_us = now_us
        times = np.unique(self.values().time_us) if self.count else np.array([], np.int64)
        longest_us = float(np.diff(times).max(initial=0)) if len(times) else 0.0
        last_us = int(times[-1]) if len(times) else self.since_us
        wait_us = max(60 * US_PER_S, _ALONE * longest_us) if longest_us else _PATIENCE_US
        return last_us if now_us - last_us >= wait_us else None


def _shifted(values: Columns, step_us: int) -> Columns:
    return Columns(values.signal, values.time_us + step_us, values.value, values.status)


class StepSearches(Table):
    """The searches of all assets; rows are signals. by_asset: by the number of the asset."""

    _search = column(np.intp, -1)

    def __init__(self) -> None:
        super().__init__()
        self.by_asset: dict[int, StepSearch] = {}

    def __iter__(self) -> Iterator[StepSearch]:
        return iter(tuple(self.by_asset.values()))

    def __len__(self) -> int:
        return len(self.by_asset)

    def add(self, search: StepSearch) -> None:
        """Begin a search, anew if the asset has one."""
        self.remove(search.asset)
        self.by_asset[search.asset.index] = search
        self.cover(max(search.signals) + 1)
        self._search[search.signals] = search.asset.index

    def remove(self, asset: PlantAsset) -> StepSearch | None:
        """End the search of an asset; returns it, if there is one."""
        found = self.by_asset.pop(asset.index, None)
        if found is not None:
            self._search[found.signals] = -1
        return found

    def accept_values(self, values: Columns) -> None:
        """Keep the values of assets that are searched."""
        if int(values.signal.max()) >= len(self._search):
            self.cover(int(values.signal.max()) + 1)
        owner = self._search[values.signal]
        for number in np.unique(owner[owner >= 0]).tolist():
            self.by_asset[number].accept_values(values.where(owner == number))

    def follow_clock(self, step_us: int, moves: NDArray[np.bool_], reset: NDArray[np.intp]) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        for search in self:
            if step_us and moves[search.asset.index]:
                search.shift_clock(step_us)
            if search.asset.index in reset:  # their times before are no longer comparable
                search.parts, search.count = [], 0


def begin_search(
    asset: PlantAsset, config: Learn, inputs: tuple[str, ...], bindings: Bindings
) -> StepSearch:
    """A search that begins now."""
    standing = bindings.standing([asset.signals[name].index for name in inputs])
    return StepSearch(asset, config, inputs, standing)
