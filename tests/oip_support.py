"""Served models of a folder with tiny bundles, with and without an HTTP server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tiny_versions

from edge_agent.clock import FakeClock
from edge_agent.config.schema import Config
from edge_agent.config.settings import Http, Inference, Runtime, Trust
from edge_agent.config.types import Duration, Secret, Size
from edge_agent.models import VerifiedBundles
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service.oip import Oip
from edge_agent.service.openapi import with_document
from edge_agent.service.served_models import ServedModels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.ops.routes import Route

VERIFIED = VerifiedBundles()  # the same bundles come again and again
NAME, LENGTH = tiny_versions.NAME, tiny_versions.LENGTH


@dataclass
class Served:
    """Models of a folder, and what they depend on."""

    models: ServedModels
    config: Config
    metrics: Metrics
    clock: FakeClock
    url: str = ""


@asynccontextmanager
async def served(
    folder: Path, *, is_busy: Callable[[], bool] = lambda: False, **changes: Any
) -> AsyncIterator[Served]:
    """The bundles of a folder; changes: of `inference`."""
    runtime = Runtime(model_memory=Size(1 << 30))
    config = Config(
        models_dir=folder,
        runtime=runtime,
        trust=Trust(allow_unsigned=("*",)),
        inference=Inference(**{"enabled": True, "deadline": Duration(60), **changes}),
    )
    metrics, clock = Metrics(), FakeClock()
    made = Served(None, config, metrics, clock)  # type: ignore[arg-type]
    made.models = ServedModels(lambda: made.config, VERIFIED, metrics, is_busy, clock)
    try:
        yield made
    finally:
        await made.models.stop()


@asynccontextmanager
async def serving(
    folder: Path,
    more: Sequence[Route] = (),
    *,
    has_token: bool = False,
    **changes: Any,
) -> AsyncIterator[Served]:
    """The same behind a server on a free port of the loopback."""
    async with served(folder, **changes) as made:
        routes = with_document([*more, *Oip(made.models, made.metrics).routes()])
        secret = Secret(env="EDGE_AGENT_TEST_TOKEN") if has_token else None
        server = HttpServer(Http(port=0, token=secret), routes, made.clock)
        await server.start()
        try:
            yield replace(made, url=f"http://127.0.0.1:{server.port}")
        finally:
            await server.stop()


def windows(*levels: float) -> NDArray[np.float32]:
    """A window of each level, [N, LENGTH, 2]."""
    shape = (len(levels), LENGTH, len(tiny_versions.INPUTS))
    return np.broadcast_to(np.reshape(levels, (-1, 1, 1)), shape).astype(np.float32)


def asking(x: NDArray[Any], **more: Any) -> dict[str, Any]:
    """A request in JSON."""
    rows = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return {"inputs": [rows], **more}
