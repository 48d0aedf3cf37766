"""Composition of what the page shows beside the plant: models, sources, outbox, config, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.daemon.model_choice import ModelChoice
from edge_agent.service import model_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.daemon.commands import Commands
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.ops.routes import Route


def view_routes(
    runtime: Callable[[], Runtime], values: SavedValues, commands: Commands
) -> list[Route]:
    """The routes of these views."""
    choice = ModelChoice(runtime, values, commands.record_refusal)
    return [*model_routes(choice)]
