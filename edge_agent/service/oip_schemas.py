"""JSON schemas of the Open Inference Protocol's requests and answers, for /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]
Both: TypeAlias = tuple[Schema, Schema]  # of the request, and of the answer


def _object(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_WHOLE: Final = {"type": "integer"}
_FREE: Final = {"type": "object"}
_TEXTS: Final = _list(_TEXT)
_SHAPE: Final = _list(_WHOLE)
_DATATYPE: Final = {"type": "string", "enum": ["FP32", "INT64"]}
_SPAN: Final = _object("count", "ns", count=_WHOLE, ns=_WHOLE)
_TENSOR: Final = _object("name", "datatype", "shape", name=_TEXT, datatype=_DATATYPE, shape=_SHAPE)
_DATA: Final = {"type": "array"}

SERVER: Final = _object("name", "version", "extensions", name=_TEXT, extensions=_TEXTS)
HEALTH: Final = _object("live", "ready", live=_FLAG, ready=_FLAG)
MODEL_READY: Final = _object("name", "ready", name=_TEXT, ready=_FLAG)
METADATA: Final = _object(
    "name",
    "versions",
    "platform",
    "inputs",
    "outputs",
    name=_TEXT,
    versions=_TEXTS,
    inputs=_list(_TENSOR),
    outputs=_list(_TENSOR),
    parameters=_FREE,
)
CONFIG: Final = _object("name", "platform", "input", "output", name=_TEXT, input=_list(_FREE))
STATISTICS: Final = _object(
    "model_stats",
    model_stats=_list(
        _object(
            "name",
            "version",
            "inference_count",
            "execution_count",
            "inference_stats",
            name=_TEXT,
            version=_TEXT,
            inference_count=_WHOLE,
            execution_count=_WHOLE,
            inference_stats={"type": "object", "additionalProperties": _SPAN},
        )
    ),
)
INFER: Final[Both] = (
    _object(
        "inputs",
        id=_TEXT,
        parameters=_FREE,
        inputs=_list(
            _object(
                "name",
                "shape",
                "datatype",
                name=_TEXT,
                shape=_SHAPE,
                datatype=_DATATYPE,
                parameters=_FREE,
                data=_DATA,
            )
        ),
        outputs=_list(_object("name", name=_TEXT, parameters=_FREE)),
    ),
    _object(
        "model_name",
        "model_version",
        "outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        outputs=_list(
            _object(
                "name", "shape", "datatype", name=_TEXT, shape=_SHAPE, datatype=_TEXT, data=_DATA
            )
        ),
    ),
)
INDEX: Final[Both] = (
    _object(ready=_FLAG),
    _list(
        _object(
            "name",
            "version",
            "state",
            "reason",
            name=_TEXT,
            version=_TEXT,
            state={"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]},
            reason=_TEXT,
        )
    ),
)
COMMAND: Final[Both] = (_object(parameters=_FREE), {"type": "object"})
