"""The routes by which people see what is installed of a model, and choose its versions.

docs/http.md shows each. What scores for other programs is `oip`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from edge_agent.ops.routes import MODELS, READ, Request, Route, text
from edge_agent.service import schemas
from edge_agent.service.command_body import parse_model_command

if TYPE_CHECKING:
    from edge_agent.service.command_body import ModelCommand

KINDS: Final = ("activate", "rollback", "shadow", "stop_shadow")
_MODEL: Final = "/api/models/{name}"
_ROWS: Final = schemas.list_of(schemas.FREE)
_ANSWER: Final = schemas.object_of(
    "name",
    "versions",
    "card",
    "drift",
    name=schemas.TEXT,
    versions=_ROWS,
    card={"type": ["object", "null"]},
    drift=_ROWS,
    drift_limit=schemas.NUMBER,
)
_TAKES: Final = schemas.object_of(
    "by", by=schemas.BY, comment=schemas.NOTE, version={"type": "string", "maxLength": 128}
)
_DONE: Final = schemas.object_of("name", "version", "done", name=schemas.TEXT, done=schemas.TEXT)


class ModelRequest(NamedTuple):
    """Somebody's choice for a model; kind: one of KINDS; version: as installed, or empty."""

    kind: str
    name: str
    version: str
    actor: str
    comment: str


class ModelsProvider(Protocol):
    """What knows the installed versions."""

    async def installed(self, name: str, version: str) -> dict[str, Any]:
        """Versions, drift, and the card of one version, the active one unless it is named.

        NotFoundError if there is no such model or version.
        """

    async def choose(self, request: ModelRequest) -> dict[str, Any]:
        """Carry it out on the disk, which the daemon follows; EdgeAgentError if it is refused."""


def model_routes(models: ModelsProvider) -> list[Route]:
    """The table of installed models."""

    async def installed(request: Request) -> dict[str, Any]:
        return await models.installed(request.parts["name"], request.query["version"] or "")

    async def choose(request: Request) -> dict[str, Any]:
        wanted: ModelCommand = request.body
        kind, name = request.parts["kind"], request.parts["name"]
        actor = request.client.actor(wanted.by)
        return await models.choose(ModelRequest(kind, name, wanted.version, actor, wanted.comment))

    return [
        Route(
            "GET",
            _MODEL,
            installed,
            READ,
            query={"version": text()},
            summary="What is installed of a model: versions, card, drift",
            answer=_ANSWER,
        ),
        Route(
            "POST",
            f"{_MODEL}/{{kind:{'|'.join(KINDS)}}}",
            choose,
            MODELS,
            parse=lambda body, parts: parse_model_command(body, parts["kind"]),
            summary="Activate a version, roll back, or let one score in parallel",
            takes=_TAKES,
            answer=_DONE,
        ),
    ]
