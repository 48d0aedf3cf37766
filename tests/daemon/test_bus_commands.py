"""Commands from the bus that come faster than they are executed."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from edge_agent.daemon.commands import Commands
from edge_agent.sinks import Command

if TYPE_CHECKING:
    from edge_agent.clock import FakeClock
    from edge_agent.ops.metrics import Metrics

PLACE = "e/s/a/l/gateway"


class Store:
    """Notes the calls, and finishes none before it is told to."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[bool]] = []

    def run(self, *_: Any) -> asyncio.Future[bool]:
        self.calls.append(asyncio.get_running_loop().create_future())
        return self.calls[-1]


def commands_of(store: Store, metrics: Metrics, clock: FakeClock) -> Commands:
    async def done(_: Command) -> dict[str, Any]:
        return {}

    config = SimpleNamespace(gateway=SimpleNamespace(path=PLACE))
    runtime: Any = SimpleNamespace(plant=SimpleNamespace(assets={}), config=config)
    publisher: Any = SimpleNamespace(store=store)
    return Commands(lambda: runtime, publisher, {"healthy": done}, metrics, clock)


def command(number: int, answers: list[dict[str, Any]]) -> Command:
    reply = lambda body: answers.append(json.loads(body))  # noqa: E731
    return Command("healthy", "", "anna", 0.0, f"c-{number}", PLACE, sink="bus", reply=reply)


async def test_an_alarm_waits_for_one_command_and_not_for_all(
    metrics: Metrics, clock: FakeClock
) -> None:
    """The store executes its calls in order: a hundred claims before a commit take a second."""
    store, answers = Store(), list[dict[str, Any]]()
    commands = commands_of(store, metrics, clock)
    tasks = [asyncio.create_task(commands.from_bus(command(n, answers))) for n in range(100)]
    for finished in range(100):
        await asyncio.sleep(0)
        assert len(store.calls) == finished + 1
        store.calls[-1].set_result(True)
        await tasks[finished]
    assert [one["id"] for one in answers] == [f"c-{n}" for n in range(100)]


async def test_too_many_are_refused_with_an_answer(metrics: Metrics, clock: FakeClock) -> None:
    """So that a panel sends them again."""
    store, answers = Store(), list[dict[str, Any]]()
    commands = commands_of(store, metrics, clock)
    tasks = [asyncio.create_task(commands.from_bus(command(n, answers))) for n in range(201)]
    await asyncio.wait(tasks[200:])
    assert [(one["id"], one["reason"]) for one in answers] == [("c-200", "busy")]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
