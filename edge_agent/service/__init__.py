"""What other programs may ask: each interface is a table of routes for `ops.http`.

`oip`, `oip_grpc`, `served_models`, `openai` and `trend_api` are imported by name, if the config
enables them.
"""

from edge_agent.service.ask_api import AnswerProvider, Question, ask_routes
from edge_agent.service.events_api import event_routes
from edge_agent.service.gateway_api import ConfigQuestion, TagQuestion, gateway_routes
from edge_agent.service.models_api import ModelRequest, model_routes
from edge_agent.service.openapi import with_document
from edge_agent.service.predict_api import PREDICT_S, Predictor, SentTable, predict_routes
from edge_agent.service.prediction_process import Predictions
from edge_agent.service.questions import EVERY_S as MANUALS_EVERY_S
from edge_agent.service.questions import Questions
from edge_agent.service.side_command import SideCommands
from edge_agent.service.status_api import (
    ASSET_COMMANDS,
    COMMANDS,
    status_routes,
)
from edge_agent.service.status_provider import StatusProvider

__all__ = [
    "ASSET_COMMANDS",
    "COMMANDS",
    "MANUALS_EVERY_S",
    "PREDICT_S",
    "AnswerProvider",
    "ConfigQuestion",
    "ModelRequest",
    "Predictions",
    "Predictor",
    "Question",
    "Questions",
    "SentTable",
    "SideCommands",
    "StatusProvider",
    "TagQuestion",
    "ask_routes",
    "bottleneck_api",
    "camera_api",
    "event_routes",
    "gateway_routes",
    "lines_api",
    "model_routes",
    "oip",
    "oip_grpc",
    "openai",
    "plan_api",
    "predict_routes",
    "quality_api",
    "served_models",
    "status_routes",
    "trend_api",
    "with_document",
]
