"""Questions to a running daemon, and what they cost a gateway that nobody asks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from daemon_support import Feed, Running, Site
from sink_support import Subscriber
from support import until

from edge_agent.cli import main
from edge_agent.clock import FakeClock
from edge_agent.ops.routes import Refusal
from edge_agent.service import Question, Questions
from edge_agent.service.questions import MAX_WAITING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Never

    from edge_agent.daemon.status import Status
    from edge_agent.testing import Mosquitto

ALARM = "P-1.temp.quality"
MANUAL = """# KP 200

Revision 7

## 1 Lubrication

DANGER: The shaft turns.

Press 15 g of lithium grease into the bearings.

## 2 Storage

Keep the pump dry.
"""


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


@pytest.fixture
async def alarmed(tmp_path: Path, broker: Mosquitto, bus: Subscriber) -> AsyncIterator[Running]:
    """A daemon with one alarm, which somebody has acknowledged with a comment."""
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        Feed(bus).send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {ALARM: "unack"}, "raised")
        words = ["alarms", "ack", ALARM, "--by", "anna", "--comment", "cable was loose"]
        assert await asyncio.to_thread(main, [*words, "--url", running.url]) == 0
        yield running


async def ask(running: Running, *words: str) -> int:
    return await asyncio.to_thread(main, ["ask", "--url", running.url, *words])


@pytest.mark.integration
async def test_an_alarm_is_explained(alarmed: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """With no manuals: what it is, who did what, in the language of the question."""
    capsys.readouterr()
    assert await ask(alarmed, f"Warum ist {ALARM} im Alarm?") == 0
    said = capsys.readouterr().out
    assert "quittiert, steht noch an" in said
    assert "anna (ack): «cable was loose»" in said
    assert "keine Handbücher" in said
    assert await ask(alarmed, "为什么报警", "--asset", "P-1", "--json") == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (answer["language"], answer["found"], answer["passages"]) == ("zh", False, [])
    assert "已确认" in answer["answer"]
    assert await ask(alarmed, "why?", "--alarm", "P-9.none") == 1
    assert "no such alarm" in capsys.readouterr().err
    assert alarmed.states() == {ALARM: "acked"}


@pytest.mark.integration
async def test_the_manuals_are_quoted_with_a_link(
    tmp_path: Path, broker: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the folder of the config to the page behind the link; no key is needed to read."""
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(MANUAL)
    manuals = {"folder": str(folder), "encoder": "none"}
    async with Site(tmp_path, broker.url, manuals=manuals).daemon() as running:
        await running.daemon.parts.questions.tend()
        capsys.readouterr()
        assert await ask(running, "Which grease do the bearings of P-1 need?", "--json") == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert [one["text"] for one in answer["passages"]] == [
            "DANGER: The shaft turns.",
            "Press 15 g of lithium grease into the bearings.",
        ]
        assert "P-1: " in answer["answer"]
        async with (
            aiohttp.ClientSession() as session,
            session.get(running.url + answer["passages"][1]["url"]) as page,
        ):
            assert answer["passages"][1]["text"] in await page.text()
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{running.url}/api/ask", json={"question": "Who is the king of France?"}
            ) as reply,
        ):
            said = await reply.json()
        assert (reply.status, said["found"]) == (200, False)
    assert running.daemon.parts.questions._search._child is None  # type: ignore[union-attr]


async def test_more_questions_than_can_wait_are_refused() -> None:
    """429 with a time to try again, and nothing is queued without a bound."""
    questions = Questions(unused, unused, cast("Status", None), FakeClock())
    async with questions._turn:
        waiting = [asyncio.create_task(questions.ask(Question("x"))) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await questions.ask(Question("x"))
        for task in waiting:
            task.cancel()
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "2"})
    await asyncio.gather(*waiting, return_exceptions=True)
    assert questions._waiting == 0


def unused() -> Never:
    raise AssertionError


def test_a_gateway_that_nobody_asks_imports_nothing_for_it() -> None:
    """Start and memory stay what they are: the room is imported with the first question."""
    code = (
        "import sys, edge_agent.daemon.daemon; "
        "found = [m for m in sys.modules if m.startswith('edge_agent.language')]; "
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
