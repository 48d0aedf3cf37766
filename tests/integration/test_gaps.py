"""A broken link to a real broker: what the session delivers late is scored, and told as late."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import pytest
from daemon_support import STEP_MS, WAIT_S, Site, healthy, now_ms, until_drawn_as_replayed
from sink_support import Subscriber
from support import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

ALARM = "P-1.watch"
KEEPALIVE_S = 5


class Cable:
    """A TCP relay to a port: it can be cut (both sides see the end) or be dead (nobody does)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.is_cut = self.is_dead = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self.is_dead:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        """End all connections, and refuse new ones until `mend`."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def die(self) -> None:
        """Swallow everything on the present connections without a word."""
        self.is_dead = True

    def mend(self) -> None:
        self.is_cut = self.is_dead = False


class Machine:
    """Publishes a row each step, as a PLC does whether or not anybody listens."""

    def __init__(self, bus: Subscriber) -> None:
        self._bus = bus
        self.flow = 10.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        next_ms = now_ms() // STEP_MS * STEP_MS
        while True:
            next_ms += STEP_MS
            await asyncio.sleep(max(0.0, next_ms - now_ms()) / 1e3)
            row = {"ts": next_ms, **healthy(flow=self.flow)}
            self._bus.publish("plant/P-1", json.dumps(row).encode())

    async def fault(self, seconds: float) -> tuple[int, int]:
        """Begin and end (ms) of a fault of that length."""
        begin_ms, self.flow = now_ms(), 14.0
        await asyncio.sleep(seconds)
        self.flow = 10.0
        return begin_ms, now_ms()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def raised(bus: Subscriber) -> list[dict[str, Any]]:
    """The windows of the raise events of the model's alarm."""
    events = [json.loads(body)["data"] for body in bus.bodies("/event") if body]
    return [e["window"] for e in events if e["transition"] == "raise" and e["alarm_id"] == ALARM]


def scores_within(bus: Subscriber, begin_ms: int, end_ms: int) -> list[dict[str, Any]]:
    found = [json.loads(body) for body in bus.bodies("/score/")]
    return [one for one in found if begin_ms + 500 < one["ts"] < end_ms - 200]


@pytest.mark.parametrize("how", ["cut", "dead"])
async def test_a_fault_within_an_outage_of_the_broker_is_told_late(
    tmp_path: Path, broker: Mosquitto, how: str
) -> None:
    """It comes and goes while the source is cut off; the broker keeps the values (QoS 1)."""
    async with Cable(broker.port) as cable:
        source = {"url": cable.url, "keepalive": f"{KEEPALIVE_S}s"}
        site = Site(tmp_path, broker.url, sources={"plant": source})
        bus = await Subscriber(broker.port, "edge/#").ready()
        machine = Machine(bus)
        async with site.daemon() as running:
            await until(lambda: running.windows() > LEARNED, "scored", WAIT_S)
            source_link = running.daemon.runtime.sources["plant"].link
            (cable.cut if how == "cut" else cable.die)()
            await asyncio.sleep(1.0)
            begin_ms, end_ms = await machine.fault(2.0)
            if how == "dead":
                await until(lambda: source_link.state != "up", "noticed", 3 * KEEPALIVE_S)
            await asyncio.sleep(0.5)
            assert not raised(bus)
            calm = scores_within(bus, begin_ms, end_ms)
            assert not [one for one in calm if one["quality"] == "good"]
            cable.mend()
            await until(lambda: bool(raised(bus)), "told late", WAIT_S)
            await until(is_beyond(bus, end_ms), "scored up to now", WAIT_S)
            await until_drawn_as_replayed(running, "P-1", begin_ms, end_ms)
        await machine.stop()
        await asyncio.to_thread(bus.stop)
    (window,) = raised(bus)
    assert window["replayed"] is True
    assert window["quality"] == "good"


LEARNED = 10


def is_beyond(bus: Subscriber, at_ms: int) -> Callable[[], bool]:
    return lambda: any(json.loads(body)["ts"] > at_ms for body in bus.bodies("/score/"))
