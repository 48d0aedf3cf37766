"""The feed of changes: what each listener is sent, and after which event it goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from status_support import ListStatus, alarm_row, asset_row, serving

from edge_agent.clock import FakeClock
from edge_agent.service import events_api
from edge_agent.service.live_feed import LiveFeed, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


def told(event: bytes) -> tuple[str, dict[str, Any]]:
    """The id and the body of an event."""
    lines = dict(line.split(": ", 1) for line in event.decode().strip().splitlines())
    return lines.get("id", ""), json.loads(lines["data"])


def feed_of(status: ListStatus, clock: FakeClock | None = None) -> LiveFeed:
    """A feed that takes no time."""
    return LiveFeed(status, clock or FakeClock(), lambda: 0.0)


class Listener:
    """Refreshes a feed by hand, and takes what a listener is sent."""

    def __init__(self, feed: LiveFeed) -> None:
        self.feed, self.cursor, self.id = feed, 0, ""
        feed._task = asyncio.create_task(asyncio.sleep(0))  # it is refreshed by hand

    async def next(self) -> dict[str, Any]:
        await self.feed.refresh()
        self.cursor, event = await self.feed.changes_after(self.cursor, 0.0)
        if not event:
            return {}
        self.id, body = told(event)
        return body


async def test_the_first_event_has_all_and_the_next_what_changed() -> None:
    status = ListStatus([asset_row("P-1"), asset_row("P-2")], [alarm_row("P-1.model")])
    listener = Listener(feed_of(status))
    first = await listener.next()
    assert first["alarms"]["all"]
    assert [row["id"] for row in first["assets"]["rows"]] == ["P-1", "P-2"]
    assert first["summary"]["rows"][0]["gateway"] == "gw-07"
    assert await listener.next() == {}
    status.asset_rows[1]["health"] = 0.5
    second = await listener.next()
    assert [row["health"] for row in second["assets"]["rows"]] == [0.5]
    assert "alarms" not in second
    status.alarm_rows.clear()
    assert (await listener.next())["alarms"] == {"rows": [], "gone": ["P-1.model"]}


async def test_an_alarm_renews_the_row_of_its_asset() -> None:
    """Its number of alarms, although nothing else of the asset has changed."""
    status = ListStatus([asset_row("P-1")], [])
    status.asset_marks = lambda: {"P-1": 0}  # type: ignore[method-assign]
    listener = Listener(feed_of(status))
    await listener.next()
    status.alarm_rows.append(alarm_row("P-1.model"))
    status.asset_rows[0]["alarms"] = 1
    assert (await listener.next())["assets"]["rows"][0]["alarms"] == 1


async def test_what_depends_on_time_is_read_in_turns() -> None:
    """A change without a mark is found all the same, within fifty reads."""
    status = ListStatus([asset_row(f"P-{n}") for n in range(120)], [])
    marks = status.asset_marks()
    status.asset_marks = lambda: marks  # type: ignore[method-assign]
    listener = Listener(feed_of(status))
    await listener.next()
    for row in status.asset_rows:
        row["note"] = "no score for 70 s"
    found = [
        row for _ in range(50) for row in (await listener.next()).get("assets", {}).get("rows", [])
    ]
    assert {row["id"] for row in found} == {row["id"] for row in status.asset_rows}
    assert all(row["note"] for row in found)


async def test_a_listener_goes_on_after_its_last_event() -> None:
    """And gets all from a feed that does not know the event."""
    status = ListStatus([asset_row("P-1"), asset_row("P-2")], [])
    feed = feed_of(status)
    listener = Listener(feed)
    await listener.next()
    seen = listener.id
    status.asset_rows[0]["health"] = 0.1
    await feed.refresh()
    assert feed.cursor_of(seen) == 1
    assert feed.cursor_of(seen.replace("-1", "-99")) == feed.version
    for strange in ("", "x", "0-0", "deadbeef-1", f"{seen}x", f"{seen}²"):
        assert feed.cursor_of(strange) == 0
    _, event = await feed.changes_after(feed.cursor_of(seen), 0.0)
    assert [row["id"] for row in told(event)[1]["assets"]["rows"]] == ["P-1"]


def test_rows_that_went_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who missed them gets all rows, so that none stays on a screen."""
    monkeypatch.setattr("edge_agent.service.live_feed._MAX_GONE", 2)
    rows = Rows()
    for number in range(1, 5):
        rows.put(str(number), {"n": number}, number)
    for number in range(1, 4):
        rows.drop(str(number), 10 + number)
    assert rows.since(10) == {"all": True, "rows": [{"n": 4}], "gone": []}
    assert rows.since(11) == {"rows": [], "gone": ["2", "3"]}


async def test_a_large_plant_is_read_less_often_and_alarms_at_once() -> None:
    """Assets rest forty times as long as reading them took; those with new alarms do not."""
    status = ListStatus([asset_row("P-1"), asset_row("P-2")], [])
    clock, used_s = FakeClock(), iter(0.03 * n for n in range(100))
    listener = Listener(LiveFeed(status, clock, lambda: next(used_s)))
    await listener.next()
    status.asset_rows[0]["health"] = 0.5
    status.asset_rows[1] |= {"health": 0.5, "alarms": 1}
    status.alarm_rows.append(alarm_row("P-2.model"))
    clock.advance(1.1)
    assert [row["id"] for row in (await listener.next())["assets"]["rows"]] == ["P-2"]
    clock.advance(0.2)
    assert [row["id"] for row in (await listener.next())["assets"]["rows"]] == ["P-1"]


async def test_a_summary_that_only_grew_older_is_no_change() -> None:
    status, clock = ListStatus(), FakeClock()
    listener = Listener(feed_of(status, clock))
    assert "uptime_s" not in (await listener.next())["summary"]["rows"][0]
    clock.advance(2.5)
    assert await listener.next() == {}
    status.troubles = ["plc: gone"]
    assert await listener.next() == {}, "it is not read again so soon"
    clock.advance(2.5)
    assert (await listener.next())["summary"]["rows"][0]["troubles"] == ["plc: gone"]


# -- over HTTP --------------------------------------------------------------------------------


@asynccontextmanager
async def listening(port: int, last: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Last-Event-ID": last} if last else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/api/events", headers=headers) as answer,
    ):
        yield answer


async def next_event(answer: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """The next event that is no beat."""
    async with asyncio.timeout(20):
        while True:
            event = await answer.content.readuntil(b"\n\n")
            if b"event: change" in event:
                return told(event)


async def test_changes_are_streamed_and_resumed() -> None:
    status = ListStatus([asset_row("P-1"), asset_row("P-2")], [])
    async with serving(status) as server:
        async with listening(server.port) as answer:
            assert answer.content_type == "text/event-stream"
            seen, first = await next_event(answer)
            assert len(first["assets"]["rows"]) == 2
            status.asset_rows[0]["health"] = 0.25
            _, second = await next_event(answer)
            assert [row["health"] for row in second["assets"]["rows"]] == [0.25]
        async with listening(server.port, seen) as answer:
            _, missed = await next_event(answer)
            assert [row["id"] for row in missed["assets"]["rows"]] == ["P-1"]


async def test_listeners_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to ask instead; when one leaves there is room again."""
    monkeypatch.setattr(events_api, "MAX_LISTENERS", 1)
    async with serving(ListStatus()) as server:
        async with listening(server.port) as first:
            await next_event(first)
            async with listening(server.port) as second:
                assert second.status == 503
                assert second.headers["Retry-After"] == "30"
        async with asyncio.timeout(20):
            while True:
                async with listening(server.port) as again:
                    if again.status == 200:
                        return
                await asyncio.sleep(0.1)


async def test_a_feed_that_fails_ends_its_streams(caplog: pytest.LogCaptureFixture) -> None:
    """Pages then ask by themselves, and nobody waits for ever."""
    status = ListStatus([asset_row("P-1")], [])
    async with serving(status) as server, listening(server.port) as answer:
        await next_event(answer)
        status.asset_marks = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]
        async with asyncio.timeout(20):
            await answer.content.read()
    assert "live feed failed" in caplog.text
