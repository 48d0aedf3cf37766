"""Composition of what the page shows beside the plant: models, sources, outbox, config, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.daemon.model_choice import ModelChoice
from edge_agent.daemon.outbox_status import outbox_rows
from edge_agent.daemon.source_status import SourceStatus
from edge_agent.service import gateway_routes, model_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.daemon.commands import Commands
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.delivery import Publisher
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.routes import Route


@dataclass(frozen=True, slots=True)
class _Gateway:
    """`service.GatewayProvider`."""

    sources: Callable[[], list[dict[str, Any]]]
    outbox: Callable[[], list[dict[str, Any]]]


def view_routes(  # noqa: PLR0913, PLR0917 (the parts of the daemon that they show)
    runtime: Callable[[], Runtime],
    publisher: Publisher,
    values: SavedValues,
    commands: Commands,
    metrics: Metrics,
    clock: Clock,
) -> list[Route]:
    """The routes of these views."""
    choice = ModelChoice(runtime, values, commands.record_refusal)
    gateway = _Gateway(SourceStatus(runtime, metrics, clock).rows, partial(outbox_rows, publisher))
    return [*model_routes(choice), *gateway_routes(gateway)]
