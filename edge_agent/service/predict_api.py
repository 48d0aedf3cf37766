"""`POST /api/predict`: what the models of an asset say of a recording.

The body is a table: JSON (`{"time": [...], "flow": [...]}`, or a list of rows) or CSV. The daemon
hands it to a `Predictor`, which runs it through the pipeline of that asset, in another process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.ops.routes import (
    ANY_TYPE,
    INFER,
    JSON,
    Parameter,
    Refusal,
    Request,
    Response,
    Route,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CSV: Final = "text/csv"
READING: Final = (
    "time",
    "time_format",
    "timezone",
    "separator",
    "decimal",
    "quality",
    "quality_codes",
)
MAX_TABLE: Final = 16 << 20  # bytes of a body
PREDICT_S: Final = 60.0  # for an answer, the wait for other tables included
MOST_WAITING: Final = 4  # clients, behind the one whose table is being read
_RETRY_S: Final = 2
_CELLS: Final = {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}}
_TAKES: Final = {  # or CSV
    "oneOf": [
        {"type": "object", "additionalProperties": _CELLS},
        {"type": "array", "items": _CELLS},
    ]
}


@dataclass(frozen=True, slots=True)
class SentTable:
    """A recording and what is asked of it.

    asset, model: one of them is empty. body: JSON if `is_json`, else CSV. reading: how a CSV is
    written, by key of a replay source. with_windows: every window is wanted, not only the last.
    """

    asset: str
    model: str
    body: bytes = field(repr=False)
    is_json: bool = True
    reading: Mapping[str, str] = field(default_factory=dict)
    with_windows: bool = False


class Predictor(Protocol):
    """Runs recordings through the pipeline."""

    async def predict(self, table: SentTable) -> tuple[int, bytes]:
        """The HTTP status and the JSON of the answer; it may take a minute.

        Raises NotFoundError if the asset does not exist, and other EdgeAgentErrors.
        """


def predict_routes(predictor: Predictor) -> list[Route]:
    """The table of this interface."""
    queue = _Queue(predictor)
    names = ("asset", "model", *READING)
    query = {name: text() for name in names} | {
        "windows": Parameter(_flag, default=False, schema={"type": "boolean"})
    }
    path, answer = "/api/predict", queue.predict
    return [
        Route(
            "POST",
            path,
            answer,
            INFER,
            query,
            ANY_TYPE,
            MAX_TABLE,
            summary="What the models say of a table of data",
            takes=_TAKES,
            answer={"type": "object", "required": ["prediction", "models", "alarms"]},
            is_apart=True,
        )
    ]


class _Queue:
    """Lets the tables in one after the other, and of each client one at a time."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._turn = asyncio.Lock()
        self._clients: set[str] = set()

    async def predict(self, request: Request) -> Response:
        """Answer, or refuse with 429 or 504."""
        table = _table_of(request)
        client = request.client.name
        if client in self._clients or len(self._clients) > MOST_WAITING:
            what = "a table of this client" if client in self._clients else "too many tables"
            hint = "one at a time: wait for the answer before the next one"
            raise Refusal(429, f"{what} is being read", hint, {"Retry-After": str(_RETRY_S)})
        self._clients.add(client)
        try:
            async with asyncio.timeout(PREDICT_S), self._turn:
                status, body = await self._predictor.predict(table)
        except TimeoutError:
            hint = "send fewer rows, or try again when the gateway has less to do"
            raise Refusal(504, f"no answer within {PREDICT_S:g} s", hint) from None
        finally:
            self._clients.discard(client)
        return Response(body, status=status)


def _table_of(request: Request) -> SentTable:
    query = request.query
    asset, model = query["asset"] or "", query["model"] or ""
    if bool(asset) == bool(model):
        raise Refusal(
            400, "which asset, or which model?", "?asset=P-101 or ?model=NAME, one of them"
        )
    kind = request.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()
    if kind not in {JSON, CSV}:
        raise Refusal(415, "the body is neither JSON nor CSV", f"Content-Type: {JSON}, or {CSV}")
    reading = {key: query[key] for key in READING if query[key]}
    return SentTable(asset, model, request.body, kind == JSON, reading, query["windows"])


def _flag(name: str, value: str) -> bool:
    if value not in {"true", "false", "1", "0"}:
        raise Refusal(400, f"{name}: true or false")
    return value in {"true", "1"}
