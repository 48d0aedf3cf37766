"""The routes of the Open Inference Protocol v2 (KServe, Triton, MLServer): the models by REST.

docs/service.md describes them. Errors are `{"error": "..."}` with 400 for a request that does not
fit (and what was expected), 404 for an unknown model, 429 with Retry-After if too many wait, 503 if
a model is not ready, 504 after the deadline.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent import __version__
from edge_agent.errors import ModelError, NotFoundError
from edge_agent.ops.routes import (
    ANY_TYPE,
    INFER,
    MAX_BODY,
    MODELS,
    OPEN,
    READ,
    Refusal,
    Response,
    Route,
    as_json,
)
from edge_agent.service import oip_schemas as schemas
from edge_agent.service.oip_answers import (
    answer_head,
    config_of,
    metadata_of,
    statistics_of,
    write_answer,
)
from edge_agent.service.oip_bodies import HEADER_BYTES, MAX_INFER_BODY, asked_of, json_object
from edge_agent.service.oip_tensors import RequestError
from edge_agent.service.served_jobs import DeadlineError, GoneError, OverloadedError
from edge_agent.service.served_models import READY, BusyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from edge_agent.models import Manifest, Signature, Tensors
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.routes import Request
    from edge_agent.service.oip_tensors import InferRequest
    from edge_agent.service.schemas import Schema
    from edge_agent.service.served_bundles import Bundle
    from edge_agent.service.served_models import ServedModels

NAME: Final = "edge-agent"
EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
)
_BINARY: Final = "application/octet-stream"


def _routes_of(api: Oip) -> list[Route]:
    """The table of the protocol."""
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    rows = [
        _row("/v2", api.server, schemas.SERVER, "The server and its extensions", OPEN),
        _row("/v2/", api.server, schemas.SERVER, "The server and its extensions", OPEN),
        _row("/v2/health/live", api.live, schemas.HEALTH, "Is the server alive", OPEN),
        _row("/v2/health/ready", api.ready, schemas.HEALTH, "Can it answer for a model", OPEN),
        _row("/v2/models/stats", api.all_statistics, schemas.STATISTICS, "Statistics of all"),
    ]
    for path in (model, version):
        rows += [
            _row(path, api.metadata, schemas.METADATA, "Inputs and outputs of a model"),
            _row(f"{path}/ready", api.model_ready, schemas.MODEL_READY, "Can a model answer"),
            _row(f"{path}/config", api.config, schemas.CONFIG, "Triton's view of a model"),
            _row(f"{path}/stats", api.statistics, schemas.STATISTICS, "Statistics of a model"),
            _post(f"{path}/infer", api.infer, INFER, schemas.INFER, "Outputs of a model"),
        ]
    repository = "/v2/repository/models/{model}"
    return [
        *rows,
        _post("/v2/repository/index", api.index, READ, schemas.INDEX, "All models and versions"),
        _post(f"{repository}/load", api.load, MODELS, schemas.COMMAND, "Load a model"),
        _post(f"{repository}/unload", api.unload, MODELS, schemas.COMMAND, "Unload a model"),
    ]


def _row(
    path: str,
    handler: Callable[[Request], object],
    answer: Schema,
    summary: str,
    scope: str = READ,
) -> Route:
    return Route("GET", path, handler, scope, summary=summary, answer=answer, is_apart=True)


def _post(
    path: str, handler: Callable[[Request], object], scope: str, both: schemas.Both, summary: str
) -> Route:
    takes, answer = both
    return Route(
        "POST",
        path,
        handler,
        scope,
        content_type=ANY_TYPE,
        summary=summary,
        takes=takes,
        answer=answer,
        max_body=MAX_INFER_BODY if scope == INFER else MAX_BODY,
        is_apart=True,
    )


class Oip:
    """The handlers; each takes the name of a model, and perhaps a version, from `parts`.

    audit: records (actor, action, models) of what a client loads and unloads. extensions: those of
    the protocol that the server has.
    """

    def __init__(self, models: ServedModels, metrics: Metrics) -> None:
        self.models = models
        self._metrics = metrics
        self.extensions: Sequence[str] = EXTENSIONS
        self.audit: Callable[[str, str, Sequence[str]], Awaitable[None]] | None = None

    def routes(self) -> list[Route]:
        """The table of the protocol."""
        return _routes_of(self)

    # -- the server ---------------------------------------------------------------------------

    async def server(self, _: Request) -> dict[str, Any]:
        """Answer with the server's metadata."""
        return {"name": NAME, "version": __version__, "extensions": list(self.extensions)}

    async def live(self, _: Request) -> dict[str, Any]:
        """Answer 200: who answers is alive."""
        return {"live": True, "ready": await self._is_ready()}

    async def ready(self, _: Request) -> Response:
        """Answer 200, or 503 if there is no model."""
        is_ready = await self._is_ready()
        return as_json({"live": True, "ready": is_ready}, 200 if is_ready else 503)

    async def _is_ready(self) -> bool:
        return bool(await self.models.names())

    # -- a model ------------------------------------------------------------------------------

    async def metadata(self, request: Request) -> dict[str, Any]:
        """Answer with the inputs and outputs of a model."""
        bundle = await self._bundle(request)
        return metadata_of(bundle.manifest, await self.models.versions(bundle.name))

    async def model_ready(self, request: Request) -> Response:
        """Answer 200 if a request would be answered (the model is loaded then), else 503."""
        bundle = await self._bundle(request)
        is_ready = self.models.state(bundle)[0] == READY
        return as_json({"name": bundle.name, "ready": is_ready}, 200 if is_ready else 503)

    async def config(self, request: Request) -> dict[str, Any]:
        """Answer with Triton's view of a model."""
        return config_of((await self._bundle(request)).manifest)

    async def statistics(self, request: Request) -> dict[str, Any]:
        """Answer with what a model has answered since it was loaded."""
        bundle = await self._bundle(request)
        rows = [
            statistics_of(one)
            for one in self.models.loaded()
            if (one.model.manifest.name, one.model.manifest.version)
            == (bundle.name, bundle.version)
        ]
        return {"model_stats": rows}

    async def all_statistics(self, _: Request) -> dict[str, Any]:
        """Answer with those of all models in memory."""
        return {"model_stats": [statistics_of(one) for one in self.models.loaded()]}

    async def _bundle(self, request: Request) -> Bundle:
        parts = request.parts
        try:
            return await self.models.bundle(parts["model"], parts.get("version"))
        except ModelError as error:
            raise Refusal(503, f"the model is not ready: {error}") from error

    # -- inference ----------------------------------------------------------------------------

    async def infer(self, request: Request) -> Response:
        """Answer with the outputs of a model."""
        manifest, asked, found = await self.run(request.parts, partial(asked_of, request))
        body, header_bytes = write_answer(
            answer_head(manifest, asked), found, asked.wanted, manifest.classes
        )
        if header_bytes is None:
            return Response(body)
        return Response(body, _BINARY, headers={HEADER_BYTES: str(header_bytes)})

    async def run(
        self, parts: Mapping[str, str], read: Callable[[Signature], Awaitable[InferRequest]]
    ) -> tuple[Manifest, InferRequest, Tensors]:
        """The outputs of a model for what `read` makes of a request; Refusal says why not."""
        try:
            queue = await self._refusing(self.models.queue(parts["model"], parts.get("version")))
            manifest = queue.model.manifest
            asked = await read(queue.signature)
            found = await self._refusing(queue.infer(asked.feeds, asked.rows))
        except RequestError as error:
            self._count("refused")
            raise Refusal(400, str(error)) from None
        except NotFoundError:
            self._count("unknown")
            raise
        self._count("answered")
        return manifest, asked, found

    async def _refusing(self, work: Awaitable[Any]) -> Any:  # noqa: ANN401 (what `work` returns)
        """The result of `work`, or the refusal for why there is none."""
        outcome, status, text, headers = "failed", 400, "", {}
        try:
            return await work
        except OverloadedError as error:
            outcome, status, text = "busy", 429, str(error)
            headers = {"Retry-After": str(error.retry_s)}
        except (GoneError, BusyError) as error:
            outcome, status, text = "not_ready", 503, f"the model is not ready: {error}"
            headers = {"Retry-After": "1"}
        except DeadlineError as error:
            outcome, status, text = "late", 504, str(error)
        except ModelError as error:
            text = f"the model refused: {error}"
        self._count(outcome)
        raise Refusal(status, text, headers=headers)

    def _count(self, outcome: str) -> None:
        self._metrics.served_requests.labels(outcome).inc()

    # -- the repository -----------------------------------------------------------------------

    async def index(self, request: Request) -> list[dict[str, Any]]:
        """Answer with all versions and their state."""
        only_ready = json_object(request.body).get("ready") is True
        rows = [
            await self._index_row(name, version)
            for name in await self.models.names()
            for version in await self.models.versions(name)
        ]
        return [row for row in rows if not only_ready or row["state"] == READY]

    async def _index_row(self, name: str, version: str) -> dict[str, Any]:
        try:
            state, reason = self.models.state(await self.models.bundle(name, version))
        except (ModelError, NotFoundError) as error:
            state, reason = "UNAVAILABLE", str(error)
        return {"name": name, "version": version, "state": state, "reason": reason}

    async def load(self, request: Request) -> dict[str, Any]:
        """Load the active version of a model, or another one again."""
        json_object(request.body)
        await self._refusing(self.models.load(request.parts["model"]))
        await self._record(request, "load")
        return {}

    async def unload(self, request: Request) -> dict[str, Any]:
        """Let a model leave memory; it is not loaded by a request until it is loaded again."""
        json_object(request.body)
        await self.models.unload(request.parts["model"])
        await self._record(request, "unload")
        return {}

    async def _record(self, request: Request, action: str) -> None:
        """In the audit, with the name of the client's key."""
        if self.audit is not None:
            await self.audit(request.client.actor() or "socket", action, [request.parts["model"]])
