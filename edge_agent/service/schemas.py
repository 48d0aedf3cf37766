"""Short words for JSON schemas, and those of the status API, for /openapi.json.

docs/http.md shows what the fields mean; here stand those that an answer always has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from edge_agent.alarms import MAX_PART, VERDICTS

Schema: TypeAlias = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FREE: Final[Schema] = {"type": "object"}
MAYBE: Final[Schema] = {"type": ["number", "null"]}


def object_of(*required: str, **properties: Schema) -> Schema:
    """An object with these keys; those that are required may be of any kind."""
    return {"type": "object", "properties": properties, "required": list(required)}


def list_of(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


_ROWS: Final = list_of(FREE)
BY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 64}
NOTE: Final[Schema] = {"type": "string", "maxLength": 500}
_VERDICT: Final[Schema] = {"enum": list(VERDICTS)}
_PART: Final[Schema] = {"type": "string", "maxLength": MAX_PART}
_SHORT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 256}

LIVE: Final = object_of("live", "reason", live=FLAG, reason=TEXT)
READY: Final = object_of("ready", ready=FLAG)
SUMMARY: Final = object_of("gateway", "commands", "client", gateway=TEXT, client=FREE)
MODELS: Final = list_of(object_of("name", "version", "mode", "state", name=TEXT, state=TEXT))
REPORT: Final = object_of("model", model=TEXT)
ASSET: Final = object_of(
    "id", "state", "health", "inputs", id=TEXT, state=TEXT, health=MAYBE, inputs=_ROWS
)
ASSETS: Final = list_of(ASSET)
ALARM: Final = object_of("alarm_id", "asset", "state", alarm_id=TEXT, asset=TEXT, state=TEXT)
ALARMS: Final = list_of(ALARM)
GUIDANCE: Final = object_of("guidance", "last_time")
HISTORY: Final = list_of(object_of("alarm_id", "transition", transition=TEXT))
AUDIT: Final = list_of(object_of("at_ms", "actor", "action", actor=TEXT, action=TEXT))
FEEDBACK: Final = object_of("alarm_id", "verdict", verdict=_VERDICT)
ASSET_COMMANDED: Final = object_of("asset", asset=TEXT)
COMMAND: Final = object_of("by", by=BY, comment=NOTE, duration_s=NUMBER)
SELECTION: Final = object_of(
    "by",
    by=BY,
    comment=NOTE,
    duration_s=NUMBER,
    pattern=_SHORT,
    asset=_SHORT,
    state=TEXT,
    ids=list_of(_SHORT),
    all=FLAG,
)
CALLED: Final = object_of("by", "verdict", by=BY, comment=NOTE, verdict=_VERDICT, part=_PART)
ASSET_COMMAND: Final = object_of("by", by=BY, comment=NOTE, at_ms=NUMBER)
