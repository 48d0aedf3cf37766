"""What the OPC UA server sees of the daemon: rows, alarms and commands, on the daemon's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.opcua_server.server import PlantAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.status import Status
    from edge_agent.messages import Alarm


def access_of(
    config: Config, runtime: Callable[[], Runtime], status: Status, at_home: Callable[..., Any]
) -> PlantAccess:
    """What the server may do; at_home: runs a coroutine on the daemon's loop."""

    async def assets() -> list[dict[str, Any]]:
        return status.assets()

    async def changes(known: Mapping[str, int]) -> tuple[list[Alarm], list[str]]:
        table = runtime().alarms
        numbers = table.last_numbers()
        found = [table.get(one) for one, seq in numbers.items() if known.get(one) != seq]
        return [alarm for alarm in found if alarm], [one for one in known if one not in numbers]

    async def command(
        kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> dict[str, Any]:
        return await status.command(kind, alarm_id, actor, duration_s, comment, "opcua")

    return PlantAccess(
        config.gateway.id,
        config.alarms.languages,
        lambda: runtime().config.alarms.shelve_max,
        lambda: at_home(assets()),
        lambda known: at_home(changes(known)),
        status.publisher.texts_of,
        lambda *given: at_home(command(*given)),
    )
