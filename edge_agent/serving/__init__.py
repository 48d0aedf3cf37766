"""The models in service: windows to scores, one version giving way to another."""

from edge_agent.serving.deployment import Deployment, WindowBatch
from edge_agent.serving.deployments import Deployments
from edge_agent.serving.runs import Batch, inputs_of, some_of
from edge_agent.serving.scores import Scored, alarm_id, observations, reportable, score_messages
from edge_agent.serving.versions import Rollback

__all__ = [
    "Batch",
    "Deployment",
    "Deployments",
    "Rollback",
    "Scored",
    "WindowBatch",
    "alarm_id",
    "inputs_of",
    "observations",
    "reportable",
    "score_messages",
    "some_of",
]
