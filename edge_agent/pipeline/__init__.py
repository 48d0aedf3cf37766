"""Assessment of the plant: the path of a value from the intake to alarms and messages."""

from edge_agent.pipeline._assess import Scored
from edge_agent.pipeline._columns import by_time, chunks
from edge_agent.pipeline._group import Due, Group
from edge_agent.pipeline._learning import Learning, Training, TrainingSet
from edge_agent.pipeline._lives import Lives, Outcome
from edge_agent.pipeline._pipeline import Pipeline, Step
from edge_agent.pipeline._policies import (
    BASELINE,
    Policies,
    baseline_alarm_ids,
    place_of,
    service_alarm_id,
)
from edge_agent.pipeline._stops import STOPPED
from edge_agent.pipeline._versions import Rollback

__all__ = [
    "BASELINE",
    "STOPPED",
    "Due",
    "Group",
    "Learning",
    "Lives",
    "Outcome",
    "Pipeline",
    "Policies",
    "Rollback",
    "Scored",
    "Step",
    "Training",
    "TrainingSet",
    "baseline_alarm_ids",
    "by_time",
    "chunks",
    "place_of",
    "service_alarm_id",
]
