"""Operators' feedback on alarms of anomaly models, and their track record, kept over restarts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import FALSE, PLANNED, TRUE, Judgement
from edge_agent.daemon.saved_values import SavedState
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.labelled import occurrence_key
from edge_agent.serving import anomaly_models

if TYPE_CHECKING:
    from edge_agent.daemon.labelled_windows import LabelledWindows
    from edge_agent.daemon.labelled_writer import LabelledWriter
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline
    from edge_agent.serving import AlarmRecord, Deployment, Deployments
    from edge_agent.sinks import Command

log = logging.getLogger("edge_agent.models")

# A count of the track record, and the label of its metric.
_CALLED: Final = (
    ("alarms", "any"),
    ("called_false", FALSE),
    ("called_true", TRUE),
    ("called_planned", PLANNED),
)
_RECORD: Final = "track record"  # key of the store


class AlarmFeedback(SavedState):
    """Takes feedback on alarms; counts alarms and judged time."""

    save_every_s = 300.0  # counts are lost more easily than what changes over weeks
    windows: LabelledWindows | None = None  # keeps the rows around alarms, if they are kept
    pictures: LabelledWriter | None = None  # keeps the pictures of cameras' alarms

    @property
    def _deployments(self) -> Deployments:
        return self._runtime().pipeline.deployments

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""
        deployments = self._deployments
        if not deployments.track_record.restore(await self._values.load(_RECORD)):
            log.warning("track record of alarms not restored")
        self.restore_loaded()
        if self.windows is not None:
            self.windows.restore(deployments.track_record)

    def restore_loaded(self) -> None:
        """The same for bundles that have been loaded since."""
        self._deployments.track_record.apply(self._deployments)

    async def save(self, *, at_once: bool = False) -> None:
        """Follow what happened; save changes, periodically or `at_once`."""
        follow_announced(self._runtime().pipeline)
        if self.windows is not None:
            self.windows.collect()
        if self.pictures is not None:
            self.pictures.prune()
        if not self._is_due(at_once=at_once):
            return
        record = self._deployments.track_record
        record.collect(anomaly_models(self._deployments))
        if (at_once or record.changed) and not await self._values.save(_RECORD, record.dump()):
            record.changed = True

    async def judge(self, alarm_id: str, judgement: Judgement, actor: str) -> dict[str, Any]:
        """Say what the last occurrence of an alarm was; its limit follows at once.

        EdgeAgentError if it is no alarm of an anomaly model, or was never raised.
        """
        async with self._turning:
            follow_announced(self._runtime().pipeline)
            if self.windows is not None:
                self.windows.collect()  # of an alarm that was raised just now
            deployment, row = self._place(alarm_id)
            before = float(deployment.margin[row])
            record = self._deployments.track_record.judge(
                deployment, row, judgement.verdict, judgement.part
            )
            after = float(deployment.margin[row])
        if record is None:
            text = "it was never raised, as far as is known"
            raise EdgeAgentError(text, where=alarm_id)
        verdict, part, comment = judgement.verdict, judgement.part, judgement.comment
        kept = await self._label(record, alarm_id, judgement)
        detail = f"called {verdict}" + (f" ({part})" if part else "")
        if after != before:
            detail += f", its limit is {after:.3g} times the model's (was {before:.3g})"
        log.info("feedback", extra={"alarm": alarm_id, "actor": actor, "verdict": detail})
        await self.save(at_once=True)
        note = f"{detail}: {comment}" if comment else detail
        await self._values.audit(actor, "feedback", [alarm_id], note)
        shown = {
            "alarm_id": alarm_id,
            "verdict": verdict,
            "part": part,
            "limit_factor": round(after, 3),
            "window_kept": kept,
        }
        return shown | record.active.as_dict()

    async def _label(self, record: AlarmRecord, alarm_id: str, said: Judgement) -> bool:
        """Label the rows around the alarm, or its picture; False if neither is kept."""
        raised_us, is_kept = record.occurrences[-1].raised_us, False
        if self.windows is not None:
            is_kept = await self.windows.label(record.asset, alarm_id, raised_us, said)
        if self.pictures is not None:
            key = occurrence_key(record.asset, alarm_id, raised_us)
            is_kept = await self.pictures.label(key, said) or is_kept
        return is_kept

    async def close(self) -> None:
        """Save everything; the service stops."""
        await self.save(at_once=True)
        if self.windows is not None:
            await self.windows.close()
        if self.pictures is not None:
            await self.pictures.close()

    async def answer(self, command: Command) -> dict[str, Any]:
        """Feedback over the plant bus."""
        judgement = Judgement(command.verdict, command.part, command.comment)
        done = await self.judge(command.alarm_id, judgement, command.actor)
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
    for gauge in (
        metrics.model_judged_seconds,
        metrics.model_alarms,
        metrics.limit_factor,
        metrics.model_promised_alarms,
        metrics.alarm_precision,
        metrics.false_alarms_per_day,
    ):
        gauge.clear()
    for model, counts in deployments.track_record.counts(deployments).items():
        metrics.model_judged_seconds.labels(model).set(counts["judged_h"] * 3600)
        for key, verdict in _CALLED:
            metrics.model_alarms.labels(model, verdict).set(counts[key])
        if (promised := counts["false_alarms_promised"]) is not None:
            metrics.model_promised_alarms.labels(model).set(promised)
        for asset, factor in counts["raised_limits"].items():
            metrics.limit_factor.labels(asset, model).set(factor)
        for asset, judged in counts["judged_assets"].items():
            metrics.alarm_precision.labels(asset, model).set(judged["precision"])
            if judged["false_a_day"] is not None:
                metrics.false_alarms_per_day.labels(asset, model).set(judged["false_a_day"])
