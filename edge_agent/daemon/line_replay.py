"""OEE of a recording: the values pass through the daemon's own acceptance, and no model runs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_S, FakeClock
from edge_agent.daemon.line_work import PlantSignals
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.insight import LineBook, LineSignals
from edge_agent.ops.metrics import Metrics
from edge_agent.values import Columns, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.config.schema import Config
    from edge_agent.plant import Plant
    from edge_agent.values import TensorBlock

    Readings = Iterable[Columns | TensorBlock]

EVERY_US: Final = 3600 * US_PER_S  # between two steps in which past values become final


def replay_lines(config: Config, readings: Callable[[Plant], Readings]) -> list[dict[str, Any]]:
    """The result of each machine and shift of a recording, in the order of time.

    readings: makes the values of a plant, in the order of time. The last shift may not be whole.
    """
    made = monitor_plant(config, Metrics(), FakeClock(), live=False)
    made.add_assets(lambda _: None)
    values: deque[Columns] = deque()
    made.pipeline.followers.append(values)
    run = _Run(config, made.plant, made.pipeline)
    for one in readings(made.plant):
        made.pipeline.close_windows(*parted(one))
        while values:
            run.accept(values.popleft())
    return run.results()


class _Run:
    """The book of one recording; it begins with the first value."""

    def __init__(self, config: Config, plant: Plant, pipeline: Any) -> None:  # noqa: ANN401 (a Pipeline)
        self._config = config
        self._signals = PlantSignals.of(config, plant, pipeline, 0)
        self._silence = pipeline.watch.silence
        self._book: LineBook | None = None
        self._found: list[dict[str, Any]] = []
        self._to_us = self._stepped_us = 0

    def accept(self, values: Columns) -> None:
        """Accept values."""
        if not len(values):
            return
        book = self._book or self._begin(int(values.time_us.min()))
        mine = values.signal < len(book.used)
        mine[mine] = book.used[values.signal[mine]]
        chosen = self._signals.usable(values.where(mine))
        book.follow_silence(self._silence.stale_us)
        book.accept(chosen.signal, chosen.time_us, chosen.value)
        self._to_us = max(self._to_us, int(values.time_us.max()))
        if self._to_us - self._stepped_us > EVERY_US:
            self._stepped_us = self._to_us
            self._found += [one.result for one in book.advance(self._to_us)]

    def _begin(self, first_us: int) -> LineBook:
        book = LineBook(self._config.lines, self._config.shifts, first_us)
        numbers = self._signals.numbers
        book.bind(LineSignals(numbers, np.array(self._silence.stale_us, np.int64)))
        self._book, self._to_us, self._stepped_us = book, first_us, first_us
        return book

    def results(self) -> list[dict[str, Any]]:
        """All results; the recording has ended."""
        if self._book is None:
            return []
        found = self._found + [one.result for one in self._book.finish(self._to_us)]
        running = (one.current() for one in self._book.machines)
        found += [one for one in running if one is not None and not one["is_closed"]]
        return sorted(found, key=lambda one: (one["start_ms"], one["line"]))
