"""JSON schemas of the Open Inference Protocol's requests and answers, for /openapi.json."""

from __future__ import annotations

from typing import Final, TypeAlias

from edge_agent.service.schemas import FLAG, FREE, TEXT, WHOLE, Schema, list_of, object_of

Both: TypeAlias = tuple[Schema, Schema]  # of the request, and of the answer

_TEXTS: Final = list_of(TEXT)
_SHAPE: Final = list_of(WHOLE)
_DATATYPE: Final = {"type": "string", "enum": ["FP32", "INT64"]}
_SPAN: Final = object_of("count", "ns", count=WHOLE, ns=WHOLE)
_TENSOR: Final = object_of("name", "datatype", "shape", name=TEXT, datatype=_DATATYPE, shape=_SHAPE)
_DATA: Final = {"type": "array"}

SERVER: Final = object_of("name", "version", "extensions", name=TEXT, extensions=_TEXTS)
HEALTH: Final = object_of("live", "ready", live=FLAG, ready=FLAG)
MODEL_READY: Final = object_of("name", "ready", name=TEXT, ready=FLAG)
METADATA: Final = object_of(
    "name",
    "versions",
    "platform",
    "inputs",
    "outputs",
    name=TEXT,
    versions=_TEXTS,
    inputs=list_of(_TENSOR),
    outputs=list_of(_TENSOR),
    parameters=FREE,
)
CONFIG: Final = object_of("name", "platform", "input", "output", name=TEXT, input=list_of(FREE))
STATISTICS: Final = object_of(
    "model_stats",
    model_stats=list_of(
        object_of(
            "name",
            "version",
            "inference_count",
            "execution_count",
            "inference_stats",
            name=TEXT,
            version=TEXT,
            inference_count=WHOLE,
            execution_count=WHOLE,
            inference_stats={"type": "object", "additionalProperties": _SPAN},
        )
    ),
)
INFER: Final[Both] = (
    object_of(
        "inputs",
        id=TEXT,
        parameters=FREE,
        inputs=list_of(
            object_of(
                "name",
                "shape",
                "datatype",
                name=TEXT,
                shape=_SHAPE,
                datatype=_DATATYPE,
                parameters=FREE,
                data=_DATA,
            )
        ),
        outputs=list_of(object_of("name", name=TEXT, parameters=FREE)),
    ),
    object_of(
        "model_name",
        "model_version",
        "outputs",
        model_name=TEXT,
        model_version=TEXT,
        id=TEXT,
        outputs=list_of(
            object_of(
                "name", "shape", "datatype", name=TEXT, shape=_SHAPE, datatype=TEXT, data=_DATA
            )
        ),
    ),
)
INDEX: Final[Both] = (
    object_of(ready=FLAG),
    list_of(
        object_of(
            "name",
            "version",
            "state",
            "reason",
            name=TEXT,
            version=TEXT,
            state={"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]},
            reason=TEXT,
        )
    ),
)
COMMAND: Final[Both] = (object_of(parameters=FREE), {"type": "object"})
