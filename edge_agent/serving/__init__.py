"""The models in service: windows to scores, and the replacement of versions."""

from edge_agent.serving.alarm_record import AlarmRecord
from edge_agent.serving.deployment import Deployment, WindowBatch
from edge_agent.serving.deployments import Deployments
from edge_agent.serving.evaluation import (
    Evaluation,
    EvaluationRules,
    alarm_id,
    evaluate,
    fault_of,
    observation,
    reportable,
)
from edge_agent.serving.followed import Followed
from edge_agent.serving.lifecycle import AUTOMATIC, COMMAND, DAEMON, ModelChange
from edge_agent.serving.reconciler import RECONCILE_EVERY_S, ModelLoader, Reconciler
from edge_agent.serving.regions import Region, regions_of
from edge_agent.serving.runs import inputs_of
from edge_agent.serving.scored import Scored, ScoreState
from edge_agent.serving.track_record import TrackRecord, anomaly_models

__all__ = [
    "AUTOMATIC",
    "COMMAND",
    "DAEMON",
    "RECONCILE_EVERY_S",
    "AlarmRecord",
    "Deployment",
    "Deployments",
    "Evaluation",
    "EvaluationRules",
    "Followed",
    "ModelChange",
    "ModelLoader",
    "Reconciler",
    "Region",
    "ScoreState",
    "Scored",
    "TrackRecord",
    "WindowBatch",
    "alarm_id",
    "anomaly_models",
    "evaluate",
    "fault_of",
    "inputs_of",
    "observation",
    "regions_of",
    "reportable",
]
