"""The maintenance plan of the running daemon: from a remaining life to the maintenance system."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import insight_models
import orjson
import pytest
from aiohttp import web
from daemon_support import Running, fed_config, now_ms
from jsonschema import validate
from support import until, value_of
from test_daemon_outcome import tell

from edge_agent.cli import main
from edge_agent.client import Client, NotFoundError
from edge_agent.service.plan_api import PLAN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000
WITHOUT = """
import sys
from edge_agent.clock import SystemClock
from edge_agent.config.maintenance import Crew, Maintenance
from edge_agent.config.schema import Config
from edge_agent.daemon.build import Parts
section = Maintenance(crews={"all": Crew()}) if sys.argv[1] == "on" else None
Parts(Config(maintenance=section), None, SystemClock())
print(*(name for name in sys.modules if "maintenance_" in name or "insight" in name))
"""
STOPS = """\
BEGIN:VCALENDAR\r
BEGIN:VEVENT\r
UID:weekly\r
SUMMARY:Shutdown of the line\r
DTSTART:20260101T000000Z\r
DURATION:PT12H\r
RRULE:FREQ=DAILY\r
LOCATION:T-1\\, T-2\r
END:VEVENT\r
END:VCALENDAR\r
"""


@asynccontextmanager
async def cmms() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A maintenance system, which also has the calendar of stops; what it was sent."""
    sent: list[dict[str, Any]] = []

    async def accept(request: web.Request) -> web.Response:
        sent.append(orjson.loads(await request.read()))
        return web.Response(status=201)

    async def calendar(_: web.Request) -> web.Response:
        return web.Response(text=STOPS)

    app = web.Application()
    app.router.add_post("/orders", accept)
    app.router.add_get("/stops.ics", calendar)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", sent
    finally:
        await runner.cleanup()


def write_config(folder: Path, url: str) -> Path:
    """Two turbines whose remaining life is their flow, in hours."""
    insight_models.hours(folder / "models")
    struct = {
        "signals": {name: {"stale_after": "10d"} for name in insight_models.NAMES},
        "models": [{"bundle": "hours"}],
    }
    section = {
        "timezone": "UTC",
        "crews": {"all": {}},
        "jobs": {"default": {"duration": "1h"}},
        "calendars": {"plant": {"url": f"{url}/stops.ics", "place": "location"}},
        "sink": "orders",
        "solver": False,
    }
    sinks = {
        "lines": {"type": "log"},
        "orders": {"type": "webhook", "url": f"{url}/orders", "template": "work_order"},
    }
    return fed_config(folder, ("turbine", struct), "T-{1..2}", maintenance=section, sinks=sinks)


async def planned(running: Running) -> dict[str, Any]:
    """The plan as of now."""
    planner = running.daemon.parts.optional.maintenance
    assert planner is not None
    await planner.replan(running.daemon.runtime.config)
    assert planner.faults() == []
    assert planner.plan is not None
    return planner.plan


@pytest.mark.parametrize("state", ["off", "on"])
def test_a_gateway_without_the_section_imports_nothing_of_it(state: str) -> None:
    """Start time and memory of other gateways stay; one with the section is the control."""
    command = [sys.executable, "-c", WITHOUT, state]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert bool(found) is (state == "on")


async def test_from_a_remaining_life_to_a_proposal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """API, SDK, command and webhook tell the same; a restart repeats nothing."""
    async with cmms() as (url, sent):
        path = write_config(tmp_path, url)
        async with Running(path) as running:
            client = Client(running.url)
            with pytest.raises(NotFoundError, match="no plan yet"):
                await asyncio.to_thread(client.plan)
            await tell(running, "T-1", now_ms() - HOUR_MS, [100.0])
            plan = await planned(running)
            validate(plan, PLAN)
            (line,) = plan["lines"]
            assert (line["asset"], line["status"]) == ("T-1", "planned")
            assert line["stop"]["name"] == "Shutdown of the line"
            assert line["stop"]["start_ms"] <= line["start_ms"] <= line["due_ms"]
            told = await asyncio.to_thread(client.plan)
            assert told.lines[0].why == line["why"]
            assert told.lines[0].stop_name == "Shutdown of the line"
            assert await asyncio.to_thread(main, ["plan", "--url", running.url, "--ics"]) == 0
            assert "SUMMARY:T-1" in capsys.readouterr().out
            await until(lambda: bool(sent), "a proposal")
            assert sent[0]["kind"] == "proposal"
            assert sent[0]["asset"] == "T-1"
            assert line["why"]["en"] in sent[0]["description"]
            metrics = running.daemon.parts.metrics
            assert value_of(metrics.maintenance_jobs.labels("planned")) == 1
            await planned(running)
        async with Running(path) as running:
            await tell(running, "T-1", now_ms() - HOUR_MS // 2, [99.6])
            again = await planned(running)
            assert again["changes"] == []
            assert again["lines"][0]["stop"]["id"] == line["stop"]["id"]
            await tell(running, "T-2", now_ms() - HOUR_MS, [30.0])
            assert [one["kind"] for one in (await planned(running))["changes"]] == ["new"]
            assert (
                await asyncio.to_thread(
                    main, ["assets", "overhauled", "T-1", "--url", running.url, "--by", "a"]
                )
                == 0
            )
            assert [one["asset"] for one in (await planned(running))["lines"]] == ["T-2"]
            await until(lambda: len(sent) > 1, "the proposal of T-2")
        assert [one["asset"] for one in sent] == ["T-1", "T-2"], "each once"


async def test_a_calendar_that_is_away_is_told_and_the_old_plan_stays(tmp_path: Path) -> None:
    async with cmms() as (url, _):
        path = write_config(tmp_path, url)
    async with Running(path) as running:
        planner = running.daemon.parts.optional.maintenance
        assert planner is not None
        await tell(running, "T-1", now_ms() - HOUR_MS, [100.0])
        await planner.replan(running.daemon.runtime.config)
        (fault,) = planner.faults()
        assert fault.what == "maintenance"
        assert "plant: http://127.0.0.1" in fault.text
        assert planner.plan is not None
        (line,) = planner.plan["lines"]
        assert (line["status"], line["bound"]) == ("impossible", "no_stop")
