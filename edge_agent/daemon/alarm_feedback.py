"""Operators' feedback on alarms of anomaly models, and their track record, kept over restarts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.daemon.saved_values import SavedState
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.serving import anomaly_models

if TYPE_CHECKING:
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline
    from edge_agent.serving import Deployment, Deployments
    from edge_agent.sinks import Command

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
        self.restore_loaded()

    def restore_loaded(self) -> None:
        """The same for bundles that have been loaded since."""
        self._deployments.track_record.apply(self._deployments)

    async def save(self, *, at_once: bool = False) -> None:
        """Follow what happened; save changes, periodically or `at_once`."""
        follow_announced(self._runtime().pipeline)
        if not self._is_due(at_once=at_once):
            return
        record = self._deployments.track_record
        record.collect(anomaly_models(self._deployments))
        if (at_once or record.changed) and not await self._values.save(_RECORD, record.dump()):
            record.changed = True

    async def judge(self, alarm_id: str, verdict: str, actor: str, comment: str) -> dict[str, Any]:
        """Call the last occurrence of an alarm true or false; its limit follows at once.

        EdgeAgentError if it is no alarm of an anomaly model, or was never raised.
        """
        async with self._turning:
            follow_announced(self._runtime().pipeline)
            deployment, row = self._place(alarm_id)
            before = float(deployment.margin[row])
            record = self._deployments.track_record.judge(deployment, row, verdict)
            after = float(deployment.margin[row])
        if record is None:
            text = "it was never raised, as far as is known"
            raise EdgeAgentError(text, where=alarm_id)
        detail = f"called {verdict}"
        if after != before:
            detail += f", its limit is {after:.3g} times the model's (was {before:.3g})"
        log.info("feedback", extra={"alarm": alarm_id, "actor": actor, "verdict": detail})
        await self.save(at_once=True)
        note = f"{detail}: {comment}" if comment else detail
        await self._values.audit(actor, "feedback", [alarm_id], note)
        shown = {"alarm_id": alarm_id, "verdict": verdict, "limit_factor": round(after, 3)}
        return shown | record.active.as_dict()

    async def answer(self, command: Command) -> dict[str, Any]:
        """Feedback over the plant bus."""
        one = command
        done = await self.judge(one.alarm_id, one.verdict, one.actor, one.comment)
        return {"feedback": done}

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


def follow_announced(pipeline: Pipeline) -> None:
    """Take the alarms since the last call, and set the limits of new versions and assets."""
    record, announced = pipeline.deployments.track_record, list(pipeline.announced)
    pipeline.announced.clear()
    record.follow_transitions(announced, pipeline.deployments)
    record.apply(pipeline.deployments)


def export_alarm_counts(deployments: Deployments, metrics: Metrics) -> None:
    """Update the gauges of alarms, feedback, promises and raised limits."""
    gauges = metrics.model_judged_seconds, metrics.model_alarms, metrics.limit_factor
    for gauge in (*gauges, metrics.model_promised_alarms):
        gauge.clear()
    for model, counts in deployments.track_record.counts(deployments).items():
        metrics.model_judged_seconds.labels(model).set(counts["judged_h"] * 3600)
        for key, verdict in (("alarms", "any"), ("called_false", "false"), ("called_true", "true")):
            metrics.model_alarms.labels(model, verdict).set(counts[key])
        if (promised := counts["false_alarms_promised"]) is not None:
            metrics.model_promised_alarms.labels(model).set(promised)
        for asset, factor in counts["raised_limits"].items():
            metrics.limit_factor.labels(asset, model).set(factor)
