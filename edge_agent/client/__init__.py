"""The client of a gateway, for notebooks, scripts and other services.

    from edge_agent.client import Client

    client = Client("http://127.0.0.1:9460", api_key)
    answer = client.predict_failure(data, asset="P-101")
    print(answer.prediction, answer.probability, answer.contributors)

It needs the standard library alone; docs/client.md has all calls.
"""

from edge_agent.client.answers import (
    Alarm,
    Answer,
    Asset,
    Contributor,
    Fact,
    Feedback,
    Finding,
    Input,
    Life,
    Model,
    ModelVersion,
    Passage,
    Prediction,
    Recording,
    Text,
    Transition,
    Window,
    WindowScore,
)
from edge_agent.client.awaiting import AsyncClient
from edge_agent.client.blocking import Client
from edge_agent.client.bottleneck_answer import LineBottleneck
from edge_agent.client.errors import (
    BadDataError,
    BusyError,
    ClientError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    TimedOutError,
    UnauthorizedError,
    UnreachableError,
)
from edge_agent.client.line_answer import Line, LineMachine, Loss, ShiftResult
from edge_agent.client.plan_answer import Plan, PlanChange, PlanLine
from edge_agent.client.quality_answer import QualityChart, QualityPart
from edge_agent.client.trend_answer import Trend, TrendAlarm, TrendSeries

__all__ = [
    "Alarm",
    "Answer",
    "Asset",
    "AsyncClient",
    "BadDataError",
    "BusyError",
    "Client",
    "ClientError",
    "ConflictError",
    "Contributor",
    "Fact",
    "Feedback",
    "Finding",
    "ForbiddenError",
    "Input",
    "Life",
    "Line",
    "LineBottleneck",
    "LineMachine",
    "Loss",
    "Model",
    "ModelVersion",
    "NotFoundError",
    "Passage",
    "Plan",
    "PlanChange",
    "PlanLine",
    "Prediction",
    "QualityChart",
    "QualityPart",
    "Recording",
    "ServerError",
    "ShiftResult",
    "Text",
    "TimedOutError",
    "Transition",
    "Trend",
    "TrendAlarm",
    "TrendSeries",
    "UnauthorizedError",
    "UnreachableError",
    "Window",
    "WindowScore",
]
