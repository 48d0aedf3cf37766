"""Operators' feedback on alarms of anomaly models, and their track record, kept over restarts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.daemon.saved_values import SavedState
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.serving import anomaly_models

if TYPE_CHECKING:
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Deployment, Deployments

log = logging.getLogger("edge_agent.models")

_RECORD: Final = "track record"  # key of the store


class AlarmFeedback(SavedState):
    """Takes feedback on alarms; counts alarms and judged time."""

    save_every_s = 300.0  # counts are lost more easily than what changes over weeks

    @property
    def _deployments(self) -> Deployments:
        return self._runtime().pipeline.deployments

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        deployments = self._deployments
        if not deployments.track_record.restore(await self._values.load(_RECORD)):
            log.warning("track record of alarms not restored")
        deployments.track_record.apply(deployments)

    def _follow(self) -> None:
        """Take the alarms since the last call, and set the limits of new versions and assets."""
        pipeline, record = self._runtime().pipeline, self._deployments.track_record
        announced = list(pipeline.announced)
        pipeline.announced.clear()
        record.follow_transitions(announced, self._deployments)
        record.apply(self._deployments)

    async def save(self, *, at_once: bool = False) -> None:
        """Follow what happened; save changes, periodically or `at_once`."""
        self._follow()
        if not self._is_due(at_once=at_once):
            return
        record = self._deployments.track_record
        record.collect(anomaly_models(self._deployments))
        if record.changed and not await self._values.save(_RECORD, record.dump()):
            record.changed = True

    async def judge(self, alarm_id: str, verdict: str, actor: str, comment: str) -> dict[str, Any]:
        """Call the last occurrence of an alarm true or false; its limit follows at once.

        EdgeAgentError if it is no alarm of an anomaly model, or was never raised by this version.
        """
        async with self._turning:
            self._follow()
            deployment, row = self._place(alarm_id)
            before = float(deployment.margin[row])
            record = self._deployments.track_record.judge(deployment, row, verdict)
            after = float(deployment.margin[row])
        if record is None:
            text = "it was not raised since this version of its model is active"
            raise EdgeAgentError(text, where=alarm_id)
        detail = f"called {verdict}"
        if after != before:
            detail += f", its limit is {after:.3g} times the model's (was {before:.3g})"
        log.info("feedback", extra={"alarm": alarm_id, "actor": actor, "verdict": detail})
        await self.save(at_once=True)
        note = f"{detail}: {comment}" if comment else detail
        await self._values.audit(actor, "feedback", [alarm_id], note)
        shown = {"alarm_id": alarm_id, "verdict": verdict, "limit_factor": round(after, 3)}
        return shown | record.as_dict()

    def _place(self, alarm_id: str) -> tuple[Deployment, int]:
        """The deployment and row of an alarm."""
        for one in anomaly_models(self._deployments):
            for row, known in enumerate(one.alarm_ids):
                if known == alarm_id and not one.disabled[row]:
                    return one, row
        if alarm_id in set(self._runtime().alarms.ids()):
            hint = "only those calibrate a limit; acknowledge others with a comment"
            raise EdgeAgentError("not an alarm of an anomaly model", where=alarm_id, hint=hint)
        raise NotFoundError("no such alarm", where=repr(alarm_id[:200]))


def alarm_counts(deployments: Deployments) -> dict[str, dict[str, Any]]:
    """By bundle of an anomaly model: its alarms, those called false and true, judged hours.

    raised_limits: by asset, the factor on its limit, if feedback has raised it.
    """
    deployments.track_record.collect(anomaly_models(deployments))
    found: dict[str, dict[str, Any]] = {}
    for one in anomaly_models(deployments):
        mine = found.setdefault(
            str(one.model.manifest.name),
            {"alarms": 0, "called_false": 0, "called_true": 0, "judged_h": 0.0},
        )
        raised = mine.setdefault("raised_limits", {})
        for row, asset in enumerate(one.assets):
            if one.disabled[row]:
                continue
            for key, value in deployments.track_record.record_of(one, row).as_dict().items():
                mine[key] = round(mine[key] + value, 2)
            if one.margin[row] > 1.0:
                raised[asset.id] = round(float(one.margin[row]), 3)
    return found


def export_alarm_counts(deployments: Deployments, metrics: Metrics) -> None:
    """Update the gauges of alarms, feedback and raised limits."""
    gauges = metrics.model_judged_seconds, metrics.model_alarms, metrics.limit_factor
    for gauge in gauges:
        gauge.clear()
    for model, counts in alarm_counts(deployments).items():
        metrics.model_judged_seconds.labels(model).set(counts["judged_h"] * 3600)
        for key, verdict in (("alarms", "any"), ("called_false", "false"), ("called_true", "true")):
            metrics.model_alarms.labels(model, verdict).set(counts[key])
        for asset, factor in counts["raised_limits"].items():
            metrics.limit_factor.labels(asset, model).set(factor)
