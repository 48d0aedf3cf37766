"""What became of the alarms of anomaly models: how many there were, and which were called false.

An operator's feedback calibrates the limit again: it is raised, for this asset and this version,
until no window of an alarm that was called false would have reached it. It is raised at most to
`MOST` times the model's own, and never to where an alarm that was called true would be lost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.clock import US_PER_S
from edge_agent.messages import TransitionKind
from edge_agent.models import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.messages import Transition
    from edge_agent.serving.deployment import Deployment

TRUE, FALSE = "true", "false"
MOST: Final = 4.0  # times the model's own limit
_ABOVE: Final = 1.15  # of the largest score of a false alarm: below the usual deadband, too
_BELOW: Final = 0.95  # of the largest score of a true one
_KEPT: Final = 50  # alarms of an asset
_HOUR_S: Final = 3600.0


@dataclass(slots=True)
class Occurrence:
    """An alarm that was raised. peak: its largest score, as a share of the model's own limit."""

    raised_us: int
    peak: float
    verdict: str = ""


@dataclass(slots=True)
class AlarmRecord:
    """What one alarm did since a version of its model is active.

    judged_s: time in windows that were scored.
    """

    version: str
    judged_s: float = 0.0
    raises: int = 0
    occurrences: list[Occurrence] = field(default_factory=list)

    def margin(self) -> float:
        """The factor on the model's own limit that the verdicts ask for, 1 to `MOST`."""
        wrong = max(self._peaks(FALSE), default=0.0) * _ABOVE
        right = min(self._peaks(TRUE), default=np.inf) * _BELOW
        return float(max(1.0, min(wrong, right, MOST)))

    def count(self, verdict: str) -> int:
        """The number of alarms that were called so."""
        return len(self._peaks(verdict))

    def _peaks(self, verdict: str) -> list[float]:
        return [one.peak for one in self.occurrences if one.verdict == verdict]

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "alarms": self.raises,
            "called_false": self.count(FALSE),
            "called_true": self.count(TRUE),
            "judged_h": round(self.judged_s / _HOUR_S, 2),
        }


class TrackRecord(dict[str, AlarmRecord]):
    """The records of anomaly models' alarms, by alarm id. changed: since the last `dump`."""

    changed = False
    _applied: object = None

    def record_of(self, deployment: Deployment, row: int) -> AlarmRecord:
        """The record of an asset's alarm; a new one if another version is active."""
        alarm_id, version = deployment.alarm_ids[row], str(deployment.model.manifest.version)
        found = self.get(alarm_id)
        if found is None or found.version != version:
            found = self[alarm_id] = AlarmRecord(version)
        return found

    def apply(self, deployments: Iterable[Deployment]) -> None:
        """Set the limits by the verdicts, if there are other assets or versions than before."""
        mine = list(anomaly_models(deployments))
        state = [(one.model.sha256, len(one.alarm_ids), id(one)) for one in mine]
        if state != self._applied:
            self._applied = state
            for one in mine:
                self._apply_to(one)

    def _apply_to(self, deployment: Deployment) -> None:
        version = deployment.model.manifest.version
        for row, alarm_id in enumerate(deployment.alarm_ids):
            found = self.get(alarm_id)
            same = found is not None and found.version == version
            deployment.margin[row] = found.margin() if found is not None and same else 1.0

    def follow_transitions(
        self, transitions: Iterable[Transition], deployments: Iterable[Deployment]
    ) -> None:
        """Count the alarms that were raised; keep the peaks of those that ended."""
        ends = [t for t in transitions if t.kind in (TransitionKind.RAISE, TransitionKind.CLEAR)]
        if not ends:
            return
        places = _places(deployments)
        for one in ends:
            place = places.get(one.alarm.alarm_id)
            if place is None:
                continue
            record, (deployment, row) = self.record_of(*place), place
            self.changed = True
            if one.kind is TransitionKind.RAISE:
                record.raises += 1
                occurrence = Occurrence(one.at_us, float(deployment.peak[row]))
                record.occurrences = [*record.occurrences, occurrence][-_KEPT:]
            else:
                _keep_peak(record, deployment, row)
                deployment.peak[row] = 0.0

    # -- feedback -----------------------------------------------------------------------------

    def judge(self, deployment: Deployment, row: int, verdict: str) -> AlarmRecord | None:
        """Call the last alarm of an asset true or false; None if there was none."""
        record = self.record_of(deployment, row)
        if not record.occurrences:
            return None
        if deployment.alarm_open[row]:
            _keep_peak(record, deployment, row)
        record.occurrences[-1].verdict = verdict
        deployment.margin[row] = record.margin()
        self.changed = True
        return record

    # -- kept over restarts -------------------------------------------------------------------

    def collect(self, deployments: Iterable[Deployment]) -> None:
        """Add the time that was judged since the last call to the records."""
        for deployment in deployments:
            step_s = _seconds_of(deployment)
            for row in np.flatnonzero(deployment.judged).tolist():
                self.record_of(deployment, row).judged_s += int(deployment.judged[row]) * step_s
                self.changed = True
            deployment.judged[:] = 0

    def dump(self) -> bytes:
        """All records, for `restore`."""
        self.changed = False
        return orjson.dumps({alarm_id: asdict(one) for alarm_id, one in self.items()})

    def restore(self, raw: bytes | None) -> bool:
        """Replace all records by dumped ones; False if they cannot be read."""
        try:
            found = orjson.loads(raw or b"{}")
            read = {str(alarm_id): _record(one) for alarm_id, one in found.items()}
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            return False
        self.clear()
        self.update(read)
        self._applied = None
        return True


def _record(one: Mapping[str, Any]) -> AlarmRecord:
    occurrences = [
        Occurrence(int(each["raised_us"]), float(each["peak"]), str(each["verdict"]))
        for each in one["occurrences"]
    ]
    return AlarmRecord(str(one["version"]), float(one["judged_s"]), int(one["raises"]), occurrences)


def _keep_peak(record: AlarmRecord, deployment: Deployment, row: int) -> None:
    if record.occurrences:
        last = record.occurrences[-1]
        last.peak = max(last.peak, float(deployment.peak[row]))


def _places(deployments: Iterable[Deployment]) -> dict[str, tuple[Deployment, int]]:
    """The deployment and row of each alarm of an anomaly model."""
    return {
        alarm_id: (one, row) for one in anomaly_models(deployments) for row, alarm_id in _rows(one)
    }


def anomaly_models(deployments: Iterable[Deployment]) -> Iterator[Deployment]:
    """The deployments of anomaly models."""
    return (one for one in deployments if one.model.manifest.task == Task.ANOMALY)


def _rows(deployment: Deployment) -> Iterator[tuple[int, str]]:
    """The rows that it scores, with the ids of their alarms."""
    rows = enumerate(deployment.alarm_ids)
    return ((row, alarm_id) for row, alarm_id in rows if not deployment.disabled[row])


def _seconds_of(deployment: Deployment) -> float:
    """The time between two windows of an asset; 0 if it is not known."""
    if deployment.windows is None:
        return 0.0
    layout = deployment.windows.layout
    return layout.hop * layout.step_us / US_PER_S
