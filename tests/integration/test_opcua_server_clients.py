"""The daemon's OPC UA server with clients of other makers: node-opcua, and open62541 (`o6`)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asyncua.ua.status_codes import StatusCodes
from opcua_plants import ServedPlant, serving

from edge_agent.config.settings import AnonymousMay
from edge_agent.messages import AlarmState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.integration

ID = "P-1.vibration"
CONDITION = f"ns=2;s=alarm:{ID}"
ANSWER_S = 60


@pytest.fixture(scope="module")
def o6_python(clients_python: Path) -> Path:
    command = [str(clients_python), "-c", "import o6"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("requirements/clients.txt has o6: ./scripts/test installs it")
    return clients_python


class Program:
    """A client in a process: one command a line, one answer a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        while line := await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S):
            if line.startswith((b"{", b'"READY"')):
                return json.loads(line)
        pytest.fail("the client has ended")

    async def ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        return await self.answer()


@asynccontextmanager
async def program(*command: str, **environment: str) -> AsyncIterator[Program]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=pipe,
        stdout=pipe,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        made = Program(process)
        assert await made.answer() == "READY"
        yield made
    finally:
        process.kill()
        await process.wait()


async def test_node_opcua_lists_acknowledges_and_shelves(node_modules: Path) -> None:
    """A SCADA's alarm list: events, a refresh after a reconnect, and each command."""
    plant = ServedPlant()
    script = Path(__file__).with_name("opcua_scada.js")
    async with serving(plant, anonymous=AnonymousMay.COMMAND) as server:
        url = f"opc.tcp://127.0.0.1:{server.port}"
        async with program("node", str(script), url, NODE_PATH=str(node_modules)) as scada:
            assert await scada.ask(connect=True) == {"ok": True}
            plant.see(ID, 2.0, failure_mode="bearing")
            (raised,) = await events(scada, 1)
            assert (raised["SourceName"], raised["ConditionName"]) == ("P-1", "vibration")
            assert (raised["ActiveState.Id"], raised["AckedState.Id"]) == (True, False)
            assert raised["ConditionId"] == CONDITION
            assert await scada.ask(disconnect=True) == {"ok": True}
            assert await scada.ask(connect=True) == {"ok": True}
            assert await scada.ask(refresh=True) == {"status": "Good"}
            first, again, last = await events(scada, 3)
            assert (first["EventType"], last["EventType"]) == ("ns=0;i=2787", "ns=0;i=2788")
            assert again["EventId"] == raised["EventId"]
            await commands(scada, raised["EventId"])
    alarm = plant.table.get(ID)
    assert alarm is not None
    assert (alarm.state, alarm.active) == (AlarmState.UNACK, True)
    kinds = [command[0] for command in plant.commands]
    assert kinds == ["ack", "confirm", "comment", "shelve", "unshelve"]
    assert plant.commands[0][4] == "seen"


async def test_open62541_refreshes_acknowledges_and_shelves(o6_python: Path) -> None:
    """The stack of many SCADA and devices: the same nodes, events and methods."""
    plant = ServedPlant()
    plant.see(ID, 2.0)
    script = str(Path(__file__).with_name("opcua_o6.py"))
    async with serving(plant, anonymous=AnonymousMay.COMMAND) as server:
        url = f"opc.tcp://127.0.0.1:{server.port}"
        process = await asyncio.create_subprocess_exec(
            o6_python, script, url, CONDITION, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await asyncio.wait_for(process.communicate(), ANSWER_S)
    (line,) = [one for one in printed.splitlines() if one.startswith(b"{")]
    found = json.loads(line)
    assert found["codes"] == [0, 0, StatusCodes.BadConditionBranchAlreadyAcked, 0, 0]
    assert (found["acked"], found["health"]) == (True, 0.75)
    assert [one for one in found["types"] if "2915" in one]
    assert [command[0] for command in plant.commands] == ["ack", "shelve", "unshelve"]


async def commands(scada: Program, event: str) -> None:
    """Each one, and what is shown after it."""
    marked = {"event": event, "text": "seen"}
    assert (await scada.ask(acknowledge=CONDITION, **marked))["status"] == "Good"
    assert (await scada.ask(read=f"{CONDITION}/AckedState/Id"))["value"] is True
    assert (await scada.ask(read=f"{CONDITION}/Comment"))["value"] == "seen"
    twice = await scada.ask(acknowledge=CONDITION, **marked)
    assert twice["status"] == "BadConditionBranchAlreadyAcked"
    unknown = await scada.ask(acknowledge=CONDITION, event="00ff", text="")
    assert unknown["status"] == "BadEventIdUnknown"
    assert (await scada.ask(confirm=CONDITION, **marked))["status"] == "Good"
    assert (await scada.ask(comment=CONDITION, **marked))["status"] == "Good"
    assert (await scada.ask(shelve=CONDITION, ms=60_000))["status"] == "Good"
    state = await scada.ask(read=f"{CONDITION}/ShelvingState/CurrentState")
    assert state["value"] == "TimedShelved"
    assert (await scada.ask(unshelve=CONDITION))["status"] == "Good"
    assert (await scada.ask(read=f"{CONDITION}/AckedState/Id"))["value"] is False


async def events(scada: Program, count: int) -> list[dict[str, Any]]:
    """The next events of alarms and of refreshes, at least so many."""
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        found.extend((await scada.ask(events=True))["events"])
        return len(found) >= count

    for _ in range(600):
        if await enough():
            return found
        await asyncio.sleep(0.05)
    pytest.fail(f"{len(found)} of {count} events")
