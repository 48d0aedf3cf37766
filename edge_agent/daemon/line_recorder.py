"""Lines of machines beside the pipeline: once a second, on a thread of its own.

The path of a value only keeps references. When the thread does not follow (a disk that hangs),
values wait in a bounded list; nothing waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from edge_agent.daemon.line_work import LineWork, PlantSignals, Sample
from edge_agent.errors import StoreError
from edge_agent.insight import STATES, LineFile
from edge_agent.messages import Detail, Fault, LinkState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline
    from edge_agent.values import Columns

    Answer = dict[str, Any]

T = TypeVar("T")

CLOSE_S: Final = 5.0
ANSWER_S: Final = 5.0
_MOST_TURNS: Final = 4096
_CONNECTED: Final = frozenset({LinkState.UP, LinkState.DEGRADED})
_PARTS: Final = ("oee", "availability", "effectiveness", "quality_ratio")
_COUNTS: Final = {"pq": "produced", "gq": "good", "sq": "scrap", "rq": "rework"}


class LineRecorder:
    """Takes a sample of the present pipeline once a second, and answers questions."""

    def __init__(
        self, runtime: Callable[[], Runtime], file: LineFile, metrics: Metrics, clock: Clock
    ) -> None:
        self.work = LineWork(file)
        self.missed = 0  # seconds in which the thread was still busy
        self._runtime = runtime
        self._metrics = metrics
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lines")
        self._busy: asyncio.Future[None] | None = None
        self._values: deque[Columns] = deque(maxlen=_MOST_TURNS)
        self._pipeline: Pipeline | None = None
        self._lines: object = None  # of the config that the thread has
        self._up: frozenset[str] = frozenset()
        self._lost_us: dict[str, int] = {}

    def faults(self) -> list[Fault]:
        """The fault of the file, and machines whose ideal cycle is wrong."""
        found = []
        if text := self.work.file.trouble:
            found.append(Fault("lines", text, Detail("lines_trouble", {"reason": text})))
        for line, machine, effectiveness in self.work.too_fast:
            share = round(100 * effectiveness)
            args = {"line": line, "machine": machine, "share": share}
            text = f"{line}: {machine} runs at {share} % of its ideal cycle's speed"
            found.append(Fault(f"lines.{machine}", text, Detail("ideal_cycle_wrong", args)))
        return found

    async def record(self) -> None:
        """Take a sample; returns at once."""
        runtime, now_us = self._runtime(), self._clock.now_us()
        if self._busy is not None and not self._busy.done():
            self.missed += 1
            return
        busy, self._busy = self._busy, None
        if busy is not None:
            await busy  # an error of the last sample is reported now
        lines = runtime.config.lines, runtime.config.shifts
        is_other = self._pipeline is not runtime.pipeline or self._lines != lines
        plant = self._attach(runtime, now_us) if is_other else None
        sample = self._sample(runtime, now_us, plant)
        loop = asyncio.get_running_loop()
        self._busy = loop.run_in_executor(self._thread, self.work.step, sample)
        self._export()

    def _attach(self, runtime: Runtime, now_us: int) -> PlantSignals:
        if self._pipeline is not runtime.pipeline:
            self._values.clear()
            runtime.pipeline.followers.append(self._values)
        self._pipeline = runtime.pipeline
        self._lines = runtime.config.lines, runtime.config.shifts
        self._lost_us.clear()
        self._up = _connected(runtime)
        return PlantSignals.of(runtime.config, runtime.plant, runtime.pipeline, now_us)

    def _sample(self, runtime: Runtime, now_us: int, plant: PlantSignals | None) -> Sample:
        up = _connected(runtime)
        lost, back = self._up - up, up - self._up
        self._up = up
        for name in lost:
            self._lost_us[name] = now_us
        kept = {name for name in back if runtime.sources[name].link.has_kept}
        voided = {
            int(signal): self._lost_us[name]
            for name in kept
            if name in self._lost_us
            for signal in _signals_of(runtime, {name})
        }
        values = list(self._values)
        self._values.clear()
        return Sample(
            now_us,
            self._clock.monotonic_s(),
            values,
            runtime.pipeline.watch.silence.stale_us.copy(),
            _signals_of(runtime, lost),
            _signals_of(runtime, back - kept),
            voided,
            plant,
        )

    def _export(self) -> None:
        metrics = self._metrics
        for line in self.work.shown:
            for row in line["machines"]:
                machine, current = row["machine"], row["current"]
                for state in STATES:
                    metrics.machine_state.labels(machine, state).set(row["state"] == state)
                shown = {} if current is None else current["indicators"]
                for part in _PARTS:
                    metrics.machine_oee.labels(machine, part).set(_number(shown.get(part)))
                for key, kind in _COUNTS.items():
                    count = 0.0 if current is None else current["elements"][key]
                    metrics.machine_parts.labels(machine, kind).set(count)
                covered = None if current is None else current["coverage"]
                metrics.machine_coverage.labels(machine).set(_number(covered))

    async def lines(self) -> list[Answer]:
        """All lines now."""
        return await self.ask(self.work.lines)

    async def stays(self, line: str, start_ns: int, end_ns: int, most: int = 0) -> list[Answer]:
        """The stays of each machine of a line in a span of time; most: 0 for all."""
        return await self.ask(self.work.stays, line, start_ns, end_ns, most)

    async def shifts(self, line: str, machine: str, before_ns: int, limit: int) -> list[Answer]:
        """Closed shifts, the newest first."""
        return await self.ask(self.work.shifts, line, machine, before_ns, limit)

    async def ask(self, question: Callable[..., T], *args: Any) -> T:  # noqa: ANN401 (of the question)
        """The answer of the thread; StoreError if it does not come in time."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, question, *args)
        done, _ = await asyncio.wait([asked], timeout=ANSWER_S)
        if not done:
            raise StoreError("the lines do not answer", hint="a slow disk: try again later")
        return asked.result()

    async def stop(self) -> None:
        """Record the rest and close the file, within CLOSE_S; safe when repeated."""
        if self._busy is not None:
            _, stuck = await asyncio.wait([self._busy], timeout=CLOSE_S)
            if stuck:  # in a disk that does not answer
                return
            await self.record()
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self.work.close)
        await asyncio.wait([closing], timeout=CLOSE_S)
        self._thread.shutdown(wait=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lines")
        self._busy = None


def line_file(path: Path) -> LineFile:
    """The file of the lines beside the store."""
    return LineFile(path.with_name(f"{path.name}.lines"), path)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _connected(runtime: Runtime) -> frozenset[str]:
    found = (name for name, one in runtime.sources.items() if one.link.state in _CONNECTED)
    return frozenset(found)


def _signals_of(runtime: Runtime, sources: frozenset[str] | set[str]) -> NDArray[np.intp]:
    if not sources:
        return np.zeros(0, np.intp)
    return np.array([s.index for s in runtime.plant.signals if s.source in sources], np.intp)
