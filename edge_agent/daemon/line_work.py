"""The thread's side of the lines: the book of their machines, the file, and answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.schema import Uncertain
from edge_agent.errors import NotFoundError, StoreError
from edge_agent.insight import KEPT_NS, LineBook, LineSignals, Span, thinned
from edge_agent.signals import Problem
from edge_agent.values import SEVERITY_SHIFT, Columns, columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.config.lines import Line
    from edge_agent.config.schema import Config
    from edge_agent.config.types import Name
    from edge_agent.insight import ClosedShift, LineFile, MachineBook
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import Plant

    Answer = dict[str, Any]

SAVE_EVERY_S: Final = 30.0  # so much a kill may cost; it is a gap then
SHOW_EVERY_S: Final = 10.0  # metrics, faults, figures on the bus
MOST_STAYS: Final = 20_000  # of a machine, in one answer
_BAD: Final = 2  # severity of a status code
_NS_PER_US: Final = 1000
_NS_PER_MS: Final = 1_000_000

log = logging.getLogger("edge_agent.daemon")


@dataclass(frozen=True, slots=True)
class PlantSignals:
    """The signals of a plant as the thread needs them; numbers: by asset and name.

    holds [S]: the source reports changes only; uncertain_bad, uncertain_held [S]: how to treat a
    value of uncertain quality; now: the last value of each signal that is good.
    """

    config: Config
    numbers: Mapping[str, Mapping[str, int]]
    holds: NDArray[np.bool_]
    uncertain_bad: NDArray[np.bool_]
    uncertain_held: NDArray[np.bool_]
    now: Columns

    @classmethod
    def of(cls, config: Config, plant: Plant, pipeline: Pipeline, now_us: int) -> PlantSignals:
        """Those of a running pipeline."""
        numbers: dict[str, dict[str, int]] = {}
        for one in plant.signals:
            numbers.setdefault(one.asset.id, {})[one.name] = one.index
        holds = [config.traits_of(one.source).reports_changes for one in plant.signals]
        uncertain = [one.config.uncertain for one in plant.signals]
        watch = pipeline.watch
        good = np.flatnonzero(np.equal(watch.problem, Problem.NONE) & ~watch.unseen())
        now = columns(good, np.full(len(good), now_us), watch.value[good], watch.status[good])
        return cls(
            config,
            numbers,
            np.array(holds, np.bool_),
            np.array([one is Uncertain.BAD for one in uncertain], np.bool_),
            np.array([one is Uncertain.HOLD for one in uncertain], np.bool_),
            now,
        )

    def usable(self, values: Columns) -> Columns:
        """The values with NaN for what is bad, without uncertain ones that the last replaces."""
        severity = values.status >> SEVERITY_SHIFT
        bad = (severity >= _BAD) | ((severity == 1) & self.uncertain_bad[values.signal])
        held = (severity == 1) & self.uncertain_held[values.signal]
        value = np.where(bad, np.nan, values.value)
        return Columns(values.signal, values.time_us, value, values.status).where(~held)


@dataclass(frozen=True, slots=True)
class Sample:
    """What passed since the last one. cut, back: signals of links that were lost, or came back.

    voided: by signal, the time since when its link was lost, if the other side has kept all.
    """

    now_us: int
    monotonic_s: float
    values: list[Columns]
    stale_us: NDArray[np.int64]
    cut: NDArray[np.intp]
    back: NDArray[np.intp]
    voided: dict[int, int]
    plant: PlantSignals | None = None  # of a new pipeline


class LineWork:
    """The thread's side: the book of the lines and their file."""

    def __init__(self, file: LineFile) -> None:
        self.file = file
        self.book = LineBook({}, {}, 0)
        self.too_fast: list[tuple[str, str, float]] = []
        self.shown: list[Answer] = []
        self._plant: PlantSignals | None = None
        self._known_us = np.zeros(0, np.int64)  # since when the link of each signal is there [S]
        self._closed: list[ClosedShift] = []
        self._saved_s = self._shown_s = -float("inf")

    def step(self, one: Sample) -> None:
        """Take a sample."""
        is_open = self.file.open(one.monotonic_s)
        if one.plant is not None:
            self._adopt(one.plant, one.now_us, is_open=is_open)
        if self._plant is None:
            return
        self.book.follow_silence(one.stale_us)
        for signal, at_us in one.voided.items():
            self.book.void([signal], at_us)
        self._known_us[one.back[one.back < len(self._known_us)]] = one.now_us
        for values in (*one.values, _nothing(one.cut, one.now_us)):
            self._accept(values, one.now_us)
        self._closed += self.book.advance(one.now_us)
        if one.monotonic_s - self._saved_s >= SAVE_EVERY_S or self._closed:
            self._saved_s = one.monotonic_s
            self.save()
        if one.monotonic_s - self._shown_s >= SHOW_EVERY_S:
            self._shown_s = one.monotonic_s
            self.show()

    def show(self) -> None:
        """Compute what is published, and which machines are faster than their ideal cycle."""
        self.shown = [self.book.current(name) for name in self.book.lines]
        self.too_fast = [
            (one["line"], row["machine"], row["current"]["indicators"]["effectiveness"])
            for one in self.shown
            for row in one["machines"]
            if row["current"] is not None and row["current"]["is_ideal_cycle_wrong"]
        ]

    def _adopt(self, plant: PlantSignals, now_us: int, *, is_open: bool) -> None:
        """Continue with another pipeline, and another config if it has other lines."""
        before, self._plant = self._plant, plant
        self._known_us = np.full(len(plant.holds), now_us, np.int64)
        config = plant.config
        is_other = before is None or (config.lines, config.shifts) != (
            before.config.lines,
            before.config.shifts,
        )
        if is_other:
            self._replace_book(plant, now_us, is_open=is_open)
        stale_us = np.full(len(plant.holds), 1 << 60, np.int64)
        self.book.bind(LineSignals(plant.numbers, stale_us))
        self._accept(plant.now, now_us)

    def _replace_book(self, plant: PlantSignals, now_us: int, *, is_open: bool) -> None:
        self.save()
        before = {one.asset: one for one in self.book.machines}
        lines = _monitored(plant.config.lines, plant.numbers)
        self.book = LineBook(lines, plant.config.shifts, now_us)
        for one in self.book.machines:
            old, saved = before.get(one.asset), None
            if old is not None:
                one.stays, saved = old.stays, old.dump()
            self._restore(one, saved, now_us, is_open=is_open)

    def _restore(
        self, one: MachineBook, saved: Answer | None, now_us: int, *, is_open: bool
    ) -> None:
        try:
            if saved is None and is_open:
                saved = self.file.resume(one.asset)
                one.stays += _recent(self.file, one.asset, now_us)
            if saved is not None:
                one.restore(saved, now_us)
        except (KeyError, TypeError, ValueError, StoreError) as error:
            about = {"machine": one.asset, "reason": repr(error)}
            log.warning("lines: a machine begins anew", extra=about)

    def _accept(self, values: Columns, now_us: int) -> None:
        """Give the values of signals that lines use to the book."""
        plant, used = self._plant, self.book.used
        mine = values.signal < len(used)
        mine[mine] = used[values.signal[mine]]
        if plant is None or not mine.any():
            return
        chosen = plant.usable(values.where(mine))
        self.book.accept(chosen.signal, chosen.time_us, chosen.value, now_us)
        # What a server reports as unchanged since long ago holds since the link is there.
        old = plant.holds[chosen.signal] & (chosen.time_us < self._known_us[chosen.signal])
        if old.any():
            last = _newest(chosen.where(old))
            since_us = self._known_us[last.signal]
            self.book.accept(last.signal, since_us, last.value, now_us)

    def save(self) -> None:
        """Write what is new to the file."""
        stays = []
        for one in self.book.machines:
            new, one.new_stays = one.new_stays, []
            stays += [
                (one.asset, span.state, span.start_us * _NS_PER_US, span.end_us * _NS_PER_US)
                for span in new
            ]
        closed, self._closed = self._closed, []
        self.file.save(stays, closed, {one.asset: one.dump() for one in self.book.machines})

    def close(self) -> None:
        """Write everything and close the file."""
        self.save()
        self.file.close()

    # -- answers ------------------------------------------------------------------------------

    def lines(self) -> list[Answer]:
        """All lines now."""
        return [self.book.current(name) for name in self.book.lines]

    def stays(self, line: str, start_ns: int, end_ns: int, most: int) -> list[Answer]:
        """The stays of each machine of a line in a span of time; most: as of `thinned`."""
        found = []
        for one in self._of(line):
            mine = [
                (str(span.state), span.start_us * _NS_PER_US, span.end_us * _NS_PER_US)
                for span in one.all_stays()
            ]
            first_ns = mine[0][1] if mine else end_ns
            if start_ns < first_ns:
                past = self.file.stays(one.asset, start_ns, first_ns, MOST_STAYS)
                mine = [(str(state), a, min(b, first_ns)) for _, state, a, b in past] + mine
            cut = [
                (state, max(a, start_ns), min(b, end_ns))
                for state, a, b in mine
                if b > start_ns and a < end_ns
            ]
            inside = [
                [state, a // _NS_PER_MS, b // _NS_PER_MS]
                for state, a, b in thinned(cut, start_ns, end_ns, most)
            ]
            found.append({"machine": one.asset, "stays": inside[-MOST_STAYS:]})
        return found

    def shifts(self, line: str, machine: str, before_ns: int, limit: int) -> list[Answer]:
        """Closed shifts of a line, the newest first."""
        self._of(line)
        return self.file.shifts(line, machine, before_ns, limit)

    def _of(self, line: str) -> list[MachineBook]:
        if line not in self.book.lines:
            raise NotFoundError("no such line", where=repr(line), hint="GET /api/lines lists them")
        return self.book.of(line)


def _monitored(
    lines: Mapping[Name, Line], numbers: Mapping[str, Mapping[str, int]]
) -> dict[Name, Line]:
    """The lines with those of their machines that this gateway monitors, of several shards."""
    found = {}
    for name, line in lines.items():
        mine = {asset: one for asset, one in line.machines.items() if asset in numbers}
        oee_of = line.oee_of if line.oee_of in mine else ""
        if mine:
            found[name] = replace(line, machines=mine, oee_of=oee_of)
    return found


def _nothing(signals: NDArray[np.intp], at_us: int) -> Columns:
    """From a time on these signals are not known."""
    n = len(signals)
    return columns(signals, np.full(n, at_us), np.full(n, np.nan))


def _newest(values: Columns) -> Columns:
    """The newest value of each signal."""
    order = np.lexsort((values.time_us, values.signal))
    signal = values.signal[order]
    is_last = np.append(signal[1:] != signal[:-1], True)
    return values.where(order[is_last])


def _recent(file: LineFile, asset: str, now_us: int) -> list[Any]:
    """The stays of the last day and a half, for the timeline."""
    now_ns = now_us * _NS_PER_US
    rows = file.stays(asset, now_ns - KEPT_NS, now_ns, MOST_STAYS)
    return [Span(state, a // _NS_PER_US, b // _NS_PER_US) for _, state, a, b in rows]
