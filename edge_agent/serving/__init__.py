"""The models in service: windows to scores, one version giving way to another."""

from edge_agent.serving.deployment import Due, Group
from edge_agent.serving.deployments import AtWork
from edge_agent.serving.runs import Batch, inputs_of, some_of
from edge_agent.serving.scores import Scored, alarm_id, heard, observations, score_messages
from edge_agent.serving.versions import Rollback

__all__ = [
    "AtWork",
    "Batch",
    "Due",
    "Group",
    "Rollback",
    "Scored",
    "alarm_id",
    "heard",
    "inputs_of",
    "observations",
    "score_messages",
    "some_of",
]
