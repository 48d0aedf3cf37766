"""Source `replay`: recordings at real speed, N times as fast, or as fast as possible."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import fine, first_of, warning
from edge_agent.messages import LinkState
from edge_agent.plant import Plant
from edge_agent.sources.base import ConnectedSource
from edge_agent.sources.replay.csv_reader import open_table
from edge_agent.sources.replay.playback import Playback, split_files
from edge_agent.sources.replay.wave_files import open_wave
from edge_agent.transport import Waits
from edge_agent.values import Columns, TensorBlock, parted

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.findings import Finding
    from edge_agent.sources.replay.config import ReplayConfig

_INSPECTED_BLOCKS: Final = 4
_INSPECTED_FILES: Final = 16  # with waveforms
_TICK_S: Final = (0.02, 0.5)  # shortest and longest wait for values to be due
_MAX_WAITING: Final = 16_384  # values in the intake at which a replay without pace pauses


async def probe(config: ReplayConfig) -> None:
    """Open every file and read its header; EdgeAgentError if that fails."""
    waves, tables = split_files(config)
    for path in tables:
        with open_table(path, config.separator, header=config.header):
            pass
    for path in waves[:_INSPECTED_FILES]:
        with open_wave(path, config, lambda *_: None):
            pass


async def inspect(
    name: str,
    config: ReplayConfig,
    whole: Config,
    clock: Clock,  # noqa: ARG001 (for sources that are live)
    seconds: float,  # noqa: ARG001
) -> list[Finding]:
    """Read the first rows of the recordings, to find signals without values."""
    await probe(config)
    plant = Plant(whole)
    seen: set[int] = set()
    for _, one in zip(range(_INSPECTED_BLOCKS), Playback(config, plant).readings(), strict=False):
        values, blocks = parted(one)
        seen.update(values.signal[np.isfinite(values.value)].tolist())
        seen.update(block.signal for block in blocks)
    mine = plant.of_source(name)
    lost = [f"{one.asset.id}.{one.name}" for one in mine if one.index not in seen]
    where = f"source {name}"
    found = [fine(where, f"{len(mine) - len(lost)} of {len(mine)} signals are in the recording")]
    if lost:
        what = f"no value of {first_of(lost)} in the first rows"
        found.append(warning(where, what, "see columns:, asset: and the header of the file"))
    return found


class ReplaySource(ConnectedSource["ReplayConfig"]):
    """Plays the recordings of its config into the intake, once or forever.

    If a file is missing or is not such a recording, it is tried again within 10 s.
    """

    waits = Waits(first_s=10.0, longest_s=10.0)

    def _prepare(self) -> None:
        """A recording needs nothing before it is opened."""

    async def _serve(self) -> None:
        """Play once or in a loop; each pass continues the times of the previous one."""
        follow_us = self._clock.now_us() if self._config.shift_to_now else None
        while True:
            again = self.link.state is LinkState.DOWN  # refusals were logged the first time
            recording = Playback(self._config, self._plant, self.name, quiet=again)
            last_us = await self._pass(recording, follow_us)
            for reason, n in recording.rejected.items():
                self._metrics.values_rejected.labels(self.name, reason).inc(n)
            if last_us is None:
                first = next(iter(recording.report.refused()), None)
                hint = first.in_config() if first else "it has no row with a value of a signal"
                raise EdgeAgentError(
                    "it contains no value", where=str(self._config.path), hint=hint
                )
            if not self._config.loop:
                refused = sum(recording.rejected.values())
                more = f"; {refused} values refused, see the log" if refused else ""
                self._reporter.set(LinkState.STOPPED, f"played to the end{more}")
                return
            follow_us = last_us + US_PER_S
            await asyncio.sleep(1 / self._config.speed if self._config.speed else 0)

    async def _pass(self, recording: Playback, begin_us: int | None) -> int | None:
        """Play once, shifted to `begin_us`; returns the time of the last value played."""
        shift_us, last_us = 0, None
        pace: _Pace | None = None
        with contextlib.closing(recording.steps()) as steps:
            for one in steps:
                await asyncio.sleep(0)
                if not isinstance(one, TensorBlock) and not len(one):
                    continue
                first_us, end_us = _times_of(one)
                if pace is None:
                    shift_us = 0 if begin_us is None else begin_us - first_us
                    pace = _Pace(self._config.speed, first_us, self._clock)
                    self._reconnector.set_connected(detail=str(self._config.path))
                await self._deliver(one, shift_us, pace)
                last_us = end_us + shift_us
        return last_us

    async def _deliver(self, block: Columns | TensorBlock, shift_us: int, pace: _Pace) -> None:
        """Hand over values in parts, when their times are due and the intake has room."""
        if isinstance(block, TensorBlock):
            await self._deliver_block(block, shift_us, pace)
            return
        start = 0
        while start < len(block):
            due = int(np.searchsorted(block.time_us, pace.now_us(), "right"))
            if due > start and len(self._intake) < _MAX_WAITING:
                self._hand_over(block.slice(start, due), shift_us)
                start = due
            else:
                await asyncio.sleep(pace.wait_s(int(block.time_us[start])))

    async def _deliver_block(self, block: TensorBlock, shift_us: int, pace: _Pace) -> None:
        """Hand over a block when its last sample is due and the intake has room."""
        while True:
            if pace.now_us() >= block.end_us and not self._intake.backpressured():
                break
            await asyncio.sleep(pace.wait_s(block.end_us))
        self._metrics.values_received.labels(self.name).inc()
        self._intake.append_block(replace(block, end_us=block.end_us + shift_us))

    def _hand_over(self, values: Columns, shift_us: int) -> None:
        moved = Columns(values.signal, values.time_us + shift_us, values.value, values.status)
        self._metrics.values_received.labels(self.name).inc(len(moved))
        self._intake.append(moved)


def _times_of(one: Columns | TensorBlock) -> tuple[int, int]:
    """The first and the last time of values or of a block."""
    if isinstance(one, TensorBlock):
        return one.end_us, one.end_us
    return int(one.time_us[0]), int(one.time_us[-1])


@dataclass(slots=True)
class _Pace:
    """The current time in the recording, which advances by `speed` seconds per second."""

    speed: float
    first_us: int
    clock: Clock
    begin_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin_s = self.clock.monotonic_s()

    def now_us(self) -> int:
        if self.speed == 0:
            return int(np.iinfo(np.int64).max)
        passed_s = self.clock.monotonic_s() - self.begin_s
        return self.first_us + round(passed_s * self.speed * US_PER_S)

    def wait_s(self, time_us: int) -> float:
        """Seconds to sleep until that time of the recording may be due."""
        ahead_s = (time_us - self.now_us()) / US_PER_S / max(self.speed, 1e-9)
        return min(max(ahead_s, _TICK_S[0]), _TICK_S[1])
