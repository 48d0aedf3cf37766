"""What became of the alarms of anomaly models: how many there were, and which were called false.

An operator's feedback calibrates the limit again: it is raised, for this asset and this version,
until no window of an alarm that was called false would have reached it. It is raised at most to
`MOST` times the model's own, and never to where an alarm that was called true would be lost. If
«this is healthy» was said during an alarm, the alarm was a false one, and the middle that moved is
the answer to it: the limit stays.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from edge_agent.alarms import FALSE, TRUE
from edge_agent.clock import US_PER_S
from edge_agent.messages import TransitionKind
from edge_agent.models import Task
from edge_agent.serving.alarm_record import AlarmCounts, AlarmRecord, Occurrence
from edge_agent.serving.evaluation import promise_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from edge_agent.messages import Transition
    from edge_agent.serving.deployment import Deployment


class TrackRecord(dict[str, AlarmRecord]):
    """The records of anomaly models' alarms, by alarm id. changed: since the last `dump`."""

    changed = False
    _applied: object = None

    def record_of(self, deployment: Deployment, row: int) -> AlarmRecord:
        """The record of an asset's alarm, with the version that is active."""
        alarm_id, version = deployment.alarm_ids[row], str(deployment.model.manifest.version)
        found = self.setdefault(alarm_id, AlarmRecord(deployment.assets[row].id, version))
        if found.version != version:
            found.set_version(version)
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
        for row, _ in _rows(deployment):
            deployment.margin[row] = self.record_of(deployment, row).margin()

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
                record.add_occurrence(one.at_us, float(deployment.peak[row]))
            else:
                _keep_peak(record, deployment, row)
                deployment.peak[row] = 0.0

    # -- feedback -----------------------------------------------------------------------------

    def judge(
        self, deployment: Deployment, row: int, verdict: str, part: str = ""
    ) -> AlarmRecord | None:
        """Call the last alarm of an asset true, false or planned work; None if there was none."""
        record = self.record_of(deployment, row)
        if not record.occurrences:
            return None
        if deployment.alarm_open[row]:
            _keep_peak(record, deployment, row)
        record.judge(verdict, part)
        deployment.margin[row] = record.margin()
        self.changed = True
        return record

    def confirm_healthy(self, deployment: Deployment, row: int) -> None:
        """«This is healthy» is said: an alarm that is open was a false one, unless called true."""
        record = self.record_of(deployment, row)
        if not record.occurrences or not deployment.alarm_open[row]:
            return
        record.occurrences[-1].healthy = True
        last = record.occurrences[-1]
        record.judge(last.verdict or FALSE, last.part)
        deployment.margin[row] = record.margin()
        self.changed = True

    def counts(self, deployments: Iterable[Deployment]) -> dict[str, dict[str, Any]]:
        """By bundle of an anomaly model: what its active version did, see `AlarmCounts`.

        all_versions: the same of all versions. judged_assets: the same of each asset with an alarm
        that was called true or false. raised_limits: by asset, the factor on its limit, if
        feedback has raised it. false_alarms_promised: the most that are promised a day and asset;
        more_than_promised: True if those that were called false refute it.
        """
        mine = list(anomaly_models(deployments))
        self.collect(mine)
        by_model: dict[str, list[Deployment]] = {}
        for one in mine:
            by_model.setdefault(str(one.model.manifest.name), []).append(one)
        return {name: _counts_of(each, self) for name, each in by_model.items()}

    def judged(self, deployments: Iterable[Deployment], name: str, version: str) -> dict[str, Any]:
        """The counts of one version of a model, active or not; empty if it judged nothing."""
        mine = [one for one in anomaly_models(deployments) if one.model.manifest.name == name]
        self.collect(mine)
        found = AlarmCounts()
        for alarm_id in {alarm_id for one in mine for _, alarm_id in _rows(one)}:
            if alarm_id in self and version in self[alarm_id].counts:
                found.add(self[alarm_id].counts[version])
        return found.as_dict() if found.judged_s or found.alarms else {}

    def verdicts(self) -> dict[str, str]:
        """What the last alarm was called, of each that can be judged; empty if nothing was said."""
        return {key: one.occurrences[-1].verdict for key, one in self.items() if one.occurrences}

    def forget(self, assets: Collection[str]) -> None:
        """Forget assets that are gone."""
        for alarm_id in [key for key, one in self.items() if one.asset in assets]:
            del self[alarm_id]
            self.changed = True

    # -- kept over restarts -------------------------------------------------------------------

    def collect(self, deployments: Iterable[Deployment]) -> None:
        """Add the time that was judged since the last call to the records."""
        for deployment in deployments:
            for row in np.flatnonzero(deployment.judged_us).tolist():
                judged_s = int(deployment.judged_us[row]) / US_PER_S
                self.record_of(deployment, row).active.judged_s += judged_s
                self.changed = True
            deployment.judged_us[:] = 0

    def dump(self) -> bytes:
        """All records, for `restore`."""
        self.changed = False
        return orjson.dumps({alarm_id: asdict(one) for alarm_id, one in self.items()})

    def restore(self, raw: bytes | None) -> bool:
        """Replace all records by dumped ones; False if they cannot be read."""
        try:
            found = orjson.loads(raw or b"{}")
            read = {key: _record(one, key.rpartition(".")[0]) for key, one in found.items()}
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            return False
        self.clear()
        self.update(read)
        self._applied = None
        return True


def _record(one: Mapping[str, Any], asset: str) -> AlarmRecord:
    if "counts" not in one:
        return _first_record(one, asset)
    counts = {str(version): AlarmCounts(**each) for version, each in one["counts"].items()}
    occurrences = [Occurrence(**each) for each in one["occurrences"]]
    return AlarmRecord(str(one["asset"]), str(one["version"]), counts, occurrences)


def _first_record(one: Mapping[str, Any], asset: str) -> AlarmRecord:
    """A record in the format before counts were kept by version: only of the active one."""
    version = str(one["version"])
    occurrences = [Occurrence(version=version, **each) for each in one["occurrences"]]
    said = [each.verdict for each in occurrences]
    counts = AlarmCounts(
        int(one["raises"]), said.count(FALSE), said.count(TRUE), float(one["judged_s"])
    )
    return AlarmRecord(asset, version, {version: counts}, occurrences)


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


def _counts_of(mine: list[Deployment], record: TrackRecord) -> dict[str, Any]:
    """The counts of the assets that these deployments of a model score."""
    active, total, raised, judged = AlarmCounts(), AlarmCounts(), {}, {}
    for one, row in [(each, row) for each in mine for row, _ in _rows(each)]:
        found = record.record_of(one, row)
        active.add(found.active)
        total.add(found.total())
        if found.active.precision is not None:
            judged[one.assets[row].id] = found.active.as_dict()
        if one.margin[row] > 1.0:
            raised[one.assets[row].id] = round(float(one.margin[row]), 3)
    promise = promise_of(mine[0].model.manifest)
    promised = promise.rate if promise.at_most is None else promise.at_most
    return {
        **active.as_dict(),
        "all_versions": total.as_dict(),
        "raised_limits": raised,
        "judged_assets": judged,
        "false_alarms_promised": promised,
        "more_than_promised": active.refutes(promised),
    }


def _rows(deployment: Deployment) -> Iterator[tuple[int, str]]:
    """The rows that it scores, with the ids of their alarms."""
    rows = enumerate(deployment.alarm_ids)
    return ((row, alarm_id) for row, alarm_id in rows if not deployment.disabled[row])
