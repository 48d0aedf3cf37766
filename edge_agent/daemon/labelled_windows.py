"""Keeps the rows around alarms of anomaly models for the labelled set, off the hot path.

Once a second the windows of models whose alarm is raised are looked at: they hold the rows before
the alarm already. Rows are collected while the alarm is active and for one window after it; a
thread writes them, first when the alarm is raised, so that a kill loses little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.daemon.labelled_writer import window_writer
from edge_agent.errors import ConfigError
from edge_agent.labelled import INSTALL, UNJUDGED, LabelledWindow, is_installed, occurrence_key
from edge_agent.serving import anomaly_models
from edge_agent.signals import USABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.alarms import Judgement
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.labelled_writer import LabelledWriter
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Deployment, TrackRecord

MAX_ROWS: Final = 2048  # of a window; an alarm that lasts longer is kept with its first ones
_MAX_CELLS: Final = 40_960  # of a window: its rows are fewer if it has many inputs
_MAX_NEW: Final = 20  # windows that begin in one call: of a flood, the others begin a second later
_MAX_OPEN: Final = 100  # windows that are collected at the same time


@dataclass(slots=True)
class _Capture:
    """The rows of an alarm so far. after: rows since it cleared."""

    deployment: Deployment
    row: int
    raised_us: int
    verdict: str = UNJUDGED
    part: str = ""
    after: int = 0
    size: int = 0
    times: list[NDArray[np.int64]] = field(default_factory=list)
    active: list[NDArray[np.bool_]] = field(default_factory=list)
    rows: list[NDArray[np.floating]] = field(default_factory=list)

    @property
    def alarm_id(self) -> str:
        return self.deployment.alarm_ids[self.row]

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.deployment.scalars)

    def add(self, *, is_active: bool) -> int:
        """Add the rows since the last call; returns how many."""
        windows = self.deployment.windows
        if windows is None:
            return 0
        times, x, mark = windows.newest_rows(self.row)
        last_us = self.times[-1][-1] if self.times else None
        new = slice(0 if last_us is None else int(np.searchsorted(times, last_us, "right")), None)
        times, x, mark = times[new], x[new], mark[new]
        if len(times):
            self.times.append(times)
            self.active.append((times >= self.raised_us) & is_active)
            self.rows.append(np.where(USABLE[mark], x, np.nan))
            self.size += len(times)
        return len(times)

    def window(self) -> LabelledWindow:
        manifest = self.deployment.model.manifest
        return LabelledWindow(
            self.alarm_id,
            self.deployment.assets[self.row].id,
            f"{manifest.name}@{manifest.version}",
            self.raised_us,
            self.inputs,
            np.concatenate(self.times),
            np.concatenate(self.active),
            np.concatenate(self.rows),
        )


def windows_of(
    config: Config, runtime: Callable[[], Runtime], metrics: Metrics, clock: Clock
) -> LabelledWindows:
    """The windows of a config; ConfigError if Parquet cannot be written."""
    if not is_installed():
        hint = f"{INSTALL}, or set it to false"
        raise ConfigError("arro3-io is not installed", where="labelled.enabled", hint=hint)
    return LabelledWindows(runtime, window_writer(config, metrics, clock))


class LabelledWindows:
    """Collects and labels the windows of one service. close: writes what is open, and ends."""

    def __init__(self, runtime: Callable[[], Runtime], writer: LabelledWriter) -> None:
        self._runtime = runtime
        self._writer = writer
        self._open: dict[str, _Capture] = {}
        self._seen: dict[str, int] = {}  # by alarm, the last occurrence that was looked at

    def restore(self, record: TrackRecord) -> None:
        """Alarms of an earlier run are not collected again."""
        self._seen = {
            alarm_id: one.occurrences[-1].raised_us
            for alarm_id, one in record.items()
            if one.occurrences
        }

    # -- collecting ---------------------------------------------------------------------------

    def collect(self) -> None:
        """Look at the alarms that are raised; called once a second, between two turns."""
        deployments = self._runtime().pipeline.deployments
        mine = [one for one in anomaly_models(deployments) if one.windows is not None]
        new = 0
        for deployment in mine:
            for row in np.flatnonzero(deployment.alarm_open).tolist():
                if new < _MAX_NEW:
                    new += self._start(deployment, row, deployments.track_record)
        alive = {id(one) for one in mine}
        for capture in list(self._open.values()):
            if self._continue(capture, is_alive=id(capture.deployment) in alive):
                del self._open[capture.alarm_id]
                self._write(capture)
        self._writer.prune()

    def _start(self, deployment: Deployment, row: int, record: TrackRecord) -> bool:
        """Collect an alarm that was raised since the last call; False if it is not new."""
        alarm_id = deployment.alarm_ids[row]
        known = record.get(alarm_id)
        if known is None or not known.occurrences:
            return False
        raised_us = known.occurrences[-1].raised_us
        if self._seen.get(alarm_id) == raised_us:
            return False
        self._seen[alarm_id] = raised_us
        if (before := self._open.pop(alarm_id, None)) is not None:
            self._write(before)
        if len(self._open) >= _MAX_OPEN:
            self._writer.count("dropped")
            return True
        last = known.occurrences[-1]
        capture = _Capture(deployment, row, raised_us, last.verdict or UNJUDGED, last.part)
        if capture.add(is_active=True):
            self._open[alarm_id] = capture
            self._write(capture)
        return True

    def _continue(self, capture: _Capture, *, is_alive: bool) -> bool:
        """Add the newest rows; True if no more are needed."""
        if not is_alive:
            return True
        is_active = self._runtime().alarms.is_active(capture.alarm_id)
        new = capture.add(is_active=is_active)
        capture.after = 0 if is_active else capture.after + new
        windows = capture.deployment.windows
        length = 0 if windows is None else windows.layout.length
        most = min(MAX_ROWS, max(2 * length, _MAX_CELLS // max(1, len(capture.inputs))))
        return capture.after >= length or capture.size >= most

    # -- labels -------------------------------------------------------------------------------

    async def label(self, asset: str, alarm_id: str, raised_us: int, said: Judgement) -> bool:
        """Label the window of an occurrence; False if none is kept."""
        capture = self._open.get(alarm_id)
        if capture is not None and capture.raised_us == raised_us:
            capture.verdict, capture.part = said.verdict, said.part
        return await self._writer.label(occurrence_key(asset, alarm_id, raised_us), said)

    async def close(self) -> None:
        """Write what is open; the service stops."""
        for capture in self._open.values():
            self._write(capture)
        self._open.clear()
        await self._writer.close()

    def _write(self, capture: _Capture) -> None:
        self._writer.keep(capture.window(), capture.verdict, capture.part)
