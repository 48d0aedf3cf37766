"""Composition of what the page shows beside the plant: models, sources, outbox, config, doctor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.daemon.config_view import ConfigView
from edge_agent.daemon.gateway_checks import GatewayChecks
from edge_agent.daemon.model_choice import ModelChoice
from edge_agent.daemon.outbox_status import outbox_rows
from edge_agent.daemon.source_status import SourceStatus
from edge_agent.service import SideCommands, gateway_routes, model_routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.daemon.commands import Commands
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.delivery import Publisher
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.routes import Route
    from edge_agent.ops.service_loop import ServiceLoop
    from edge_agent.service import ConfigQuestion, TagQuestion

    Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Gateway:
    """`service.GatewayProvider`."""

    sources: Callable[[], list[Answer]]
    outbox: Callable[[], list[Answer]]
    config: Callable[[ConfigQuestion], Awaitable[Answer]]
    tags: Callable[[TagQuestion], Awaitable[Answer]]
    doctor: Callable[[str], Awaitable[Answer]]


def view_routes(  # noqa: PLR0913 (the parts of the daemon that they show)
    runtime: Callable[[], Runtime],
    publisher: Publisher,
    commands: Commands,
    *,
    values: SavedValues,
    metrics: Metrics,
    clock: Clock,
    apart: ServiceLoop,
    path: Path | None,
) -> list[Route]:
    """The routes of these views; apart: the loop of the server; path: of the config."""
    config = lambda: runtime().config  # noqa: E731
    audit = lambda *entry: apart.at_home(values.audit(*entry))  # noqa: E731
    checks = GatewayChecks(config, path, SideCommands(), audit)
    gateway = _Gateway(
        SourceStatus(runtime, metrics, clock).rows,
        partial(outbox_rows, publisher),
        ConfigView(config, path).listed,
        checks.tags,
        checks.doctor,
    )
    choice = ModelChoice(runtime, values, commands.record_refusal)
    return [*model_routes(choice), *gateway_routes(gateway)]
