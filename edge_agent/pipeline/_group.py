"""One use of a model: the model, its assets, and the windows of their signals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.pipeline._policies import place_of
from edge_agent.records import SEVERITY_SHIFT, Columns
from edge_agent.signals import BAD, GOOD, MISSING, UNCERTAIN, Layout, Waves, WaveWindows, Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.plant import PlantAsset, PlantSignal
    from edge_agent.config.schema import ModelUse, Template
    from edge_agent.inference import Manifest, Model
    from edge_agent.records import WaveBlock
    from edge_agent.signals import WindowSet

_NEVER = np.iinfo(np.int64).min // 4


@dataclass(frozen=True, slots=True)
class Binding:
    """How a signal may be used: what its source and its config say about it."""

    stale_us: int | None
    group: int  # > 0: signals of one subscription that reports only changes
    uncertain: int  # the mark that a value of uncertain quality gets


@dataclass(slots=True)
class Due:
    """Work for one model: scalar windows, waveform windows, or both aligned row by row."""

    group: Group
    windows: WindowSet | None
    waves: list[Waves] = field(default_factory=list)


class Router:
    """Sends each value to its row and input; -1 for a signal that nobody here wants."""

    def __init__(self) -> None:
        self._row = np.full(16, -1, np.int32)
        self._channel = np.full(16, -1, np.int32)
        self._uncertain = np.full(16, UNCERTAIN, np.uint8)

    def add(self, signal: int, row: int, channel: int, uncertain: int = UNCERTAIN) -> None:
        """From now on `signal` is input `channel` of asset row `row`."""
        self.cover(signal + 1)
        self._row[signal], self._channel[signal] = row, channel
        self._uncertain[signal] = uncertain

    def remove(self, signal: int) -> None:
        """Nobody here wants `signal` any more."""
        self._row[signal] = -1

    def cover(self, signals: int) -> None:
        """Make room for that many signals."""
        if signals > len(self._row):
            more = max(signals, 2 * len(self._row)) - len(self._row)
            self._row = np.append(self._row, np.full(more, -1, np.int32))
            self._channel = np.append(self._channel, np.full(more, -1, np.int32))
            self._uncertain = np.append(self._uncertain, np.full(more, UNCERTAIN, np.uint8))

    def place(self, signal: int) -> tuple[int, int]:
        """Row and input of one signal."""
        if signal >= len(self._row):
            return -1, -1
        return int(self._row[signal]), int(self._channel[signal])

    def push(self, windows: Windows, values: Columns) -> Iterator[WindowSet]:
        """Write the values that belong here into `windows`; gives the windows that close."""
        if not len(values):
            return
        self.cover(int(values.signal.max()) + 1)
        row = self._row[values.signal]
        mark = _marks(values, self._uncertain)
        mine = (row >= 0) & (mark != MISSING)
        if not mine.any():
            return
        if mine.all():
            signal, time_us, value = values.signal, values.time_us, values.value
        else:
            row, mark = row[mine], mark[mine]
            signal, time_us, value = values.signal[mine], values.time_us[mine], values.value[mine]
        yield from windows.push(row, self._channel[signal], time_us, value, mark)


def _marks(values: Columns, uncertain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not values.status.any() and not np.isnan(values.value).any():
        return np.full(len(values), GOOD, np.uint8)
    severity = values.status >> SEVERITY_SHIFT
    mark = np.where(severity == 1, uncertain[values.signal], GOOD)
    return np.where((severity > 1) | np.isnan(values.value), BAD, mark).astype(np.uint8)


class Group:
    """A model at work on the assets of one template."""

    def __init__(self, place: str, use: ModelUse, model: Model) -> None:
        self.place = place  # names the use within its template, whatever bundle fills it
        self.use = use
        self.model = model
        self.assets: list[PlantAsset] = []
        self.router = Router()
        manifest = model.manifest
        self.scalars = [i for i in manifest.inputs if i.kind == Kind.SCALAR]
        self.waveforms = [i for i in manifest.inputs if i.kind == Kind.WAVEFORM]
        self.windows = Windows(layout_of(manifest, use)) if self.scalars else None
        self.waves = _wave_windows(manifest)
        self._last_waves: dict[int, Waves] = {}
        self.unit = np.zeros(0, np.int64)
        self.engaged = np.zeros(0, bool)  # assets whose alarm is not at rest
        self.score = np.zeros(0, np.float32)
        self.health = np.zeros(0, np.float32)
        self.scored_us = np.zeros(0, np.int64)
        self.published_us = np.zeros(0, np.int64)

    @property
    def source(self) -> str:
        """Where its values come from; `several` where that is not one source."""
        found = {s.source for a in self.assets[:1] for s in a.signals.values()}
        return found.pop() if len(found) == 1 else "several"

    @property
    def limit(self) -> float:
        """The score at which the alarm is due."""
        return self.use.alarm.limit or self.model.manifest.threshold

    def signal_of(self, asset: PlantAsset, name: str) -> PlantSignal | None:
        """The asset's signal behind a model input."""
        return asset.signals.get(self.use.inputs.get(name, name))

    def add(self, asset: PlantAsset, bindings: Sequence[Binding]) -> str:
        """Put the model to work on one more asset; gives what is missing, or nothing."""
        inputs = self.model.manifest.inputs
        missing = [i.name for i in inputs if self.signal_of(asset, i.name) is None]
        units = self.model.manifest.units
        if units and asset.id not in units:
            return f"model {self.model.manifest.name} was not learned for it"
        if missing:
            return f"no signal for input {', '.join(missing)}"
        row = len(self.assets)
        self.assets.append(asset)
        self._grow(units.index(asset.id) if units else 0)
        self._bind(asset, row, bindings)
        return ""

    def exchange(self, model: Model, bindings: Sequence[Binding]) -> None:
        """Go on with another version of the model; begin anew only where its inputs differ."""
        if same_windows(self.model.manifest, model.manifest):
            self.model = model
            units = model.manifest.units
            for row, asset in enumerate(self.assets):
                self.unit[row] = units.index(asset.id) if asset.id in units else 0
            return
        assets = self.assets
        self.__init__(self.place, self.use, model)  # type: ignore[misc]
        for asset in assets:
            self.add(asset, bindings)

    def adopt_rules(self, template: Template, place: str) -> None:
        """Take the alarm rule of this use from a new config."""
        rules = {place_of(use): use.alarm for use in template.models}
        if template.learn is not None:
            rules.setdefault(place, template.learn.alarm)
        self.use = replace(self.use, alarm=rules[place])

    def push(self, values: Columns, blocks: Sequence[WaveBlock]) -> Iterator[Due]:
        """Take values over; gives the windows that close."""
        for block in blocks:
            row, channel = self.router.place(block.signal)
            if row < 0 or self.waves is None:
                continue
            for waves in self.waves.push(row, channel, block):
                if self.windows is None:
                    yield Due(self, None, [waves])
                self._last_waves[row] = waves
        if self.windows is not None:
            for windows in self.router.push(self.windows, values):
                yield self._joined(windows)

    def advance(self, asset_now_us: NDArray[np.int64]) -> Iterator[Due]:
        """Close rows by the clock; asset_now_us: event time by plant asset [A]."""
        if self.windows is None or not self.assets:
            return
        rows = np.arange(len(self.assets))
        plant_rows = np.array([asset.index for asset in self.assets])
        now_us = asset_now_us[plant_rows] - self.windows.layout.lateness_us
        known = now_us > 0
        for windows in self.windows.advance(rows[known], now_us[known]):
            yield self._joined(windows)

    def flush(self) -> Iterator[Due]:
        """Close what is open: the recording has ended."""
        if self.windows is not None:
            for windows in self.windows.flush():
                yield self._joined(windows)

    def _joined(self, windows: WindowSet) -> Due:
        """Scalar windows with the newest waveforms of their assets."""
        if not self.waveforms:
            return Due(self, windows)
        keep = np.array([int(row) in self._last_waves for row in windows.asset], bool)
        kept = windows.where(keep)
        return Due(self, kept, [self._last_waves[int(row)] for row in kept.asset])

    def _grow(self, unit: int) -> None:
        self.unit = np.append(self.unit, unit)
        self.engaged = np.append(self.engaged, False)
        self.score = np.append(self.score, np.float32(np.nan))
        self.health = np.append(self.health, np.float32(np.nan))
        self.scored_us = np.append(self.scored_us, _NEVER)
        self.published_us = np.append(self.published_us, _NEVER)

    def _bind(self, asset: PlantAsset, row: int, bindings: Sequence[Binding]) -> None:
        signals = [self.signal_of(asset, i.name) for i in self.scalars]
        bound = [bindings[signal.index] for signal in signals if signal is not None]
        for channel, signal in enumerate(signals):
            if signal is not None:
                self.router.add(signal.index, row, channel, bound[channel].uncertain)
        if self.windows is not None:
            self.windows.add_asset([b.stale_us for b in bound], [b.group for b in bound])
        for channel, spec in enumerate(self.waveforms):
            signal = self.signal_of(asset, spec.name)
            if signal is not None:
                self.router.add(signal.index, row, channel)


def same_windows(old: Manifest, new: Manifest) -> bool:
    """Whether windows made for one model fit another."""
    shape = [(i.name, i.kind, i.rate_hz, i.length, i.resample) for i in old.inputs]
    other = [(i.name, i.kind, i.rate_hz, i.length, i.resample) for i in new.inputs]
    return shape == other and old.window == new.window


def layout_of(manifest: Manifest, use: ModelUse) -> Layout:
    """The windows that a model wants."""
    scalars = [i for i in manifest.inputs if i.kind == Kind.SCALAR]
    window = manifest.window
    return Layout(
        channels=len(scalars),
        length=window.length,
        hop=window.hop,
        step_us=round(window.step_s * US_PER_S),
        lateness_us=round(use.lateness * US_PER_S),
        resample=tuple(i.resample for i in scalars),
    )


def _wave_windows(manifest: Manifest) -> WaveWindows | None:
    waveforms = [i for i in manifest.inputs if i.kind == Kind.WAVEFORM]
    if not waveforms:
        return None
    lengths = tuple(i.length for i in waveforms)
    hop = manifest.window.hop if len(waveforms) == len(manifest.inputs) else lengths[0]
    return WaveWindows(lengths, hop, tuple(i.rate_hz for i in waveforms))
