"""Broken links between the daemon and its broker; the subscriber and the plant have whole ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sqlite3
import struct
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import orjson

from edge_agent.sinks.mqtt_config import MAX_WINDOW
from edge_agent.testing import find_free_port, wait_until
from scripts.crash_test.crash import assets_of, broker_of, write_config
from scripts.crash_test.peers import Daemon, Plant, Subscriber
from scripts.rigs.faults.flow import PatchedDaemon
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.testing import Mosquitto
    from scripts.rigs.faults.promises import Run

ALL_LOST: Final = ("unmarked_events", "sent_is_delivered")
PAIRS: Final = 20  # half the number of assets
HEALTHY_S: Final = 5.0
SETTLE_S: Final = 90.0
CALM_S: Final = 3.0
ACKS_LOST: Final = 0.2
_PUBACK: Final = 4
_CHUNK: Final = 65_536


@dataclass
class Weather:
    """What the link does now; up: from the daemon to the broker."""

    up: bool = True
    down: bool = True
    acks_lost: float = 0.0


class Break(NamedTuple):
    """A fault of the link. resets: how often all connections are reset meanwhile."""

    name: str
    weather: Weather
    seconds: float
    resets: int = 0


BREAKS: Final = (
    Break("a fifth of the PUBACKs lost", Weather(acks_lost=ACKS_LOST), 30.0),
    Break("nothing comes back", Weather(down=False), 20.0),
    Break("nothing goes out", Weather(up=False), 20.0),
    Break("half open", Weather(up=False, down=False), 20.0),
    Break("resets", Weather(), 15.0, resets=15),
)
QUICK_BREAKS: Final = (
    Break("nothing comes back", Weather(down=False), 12.0),
    Break("resets", Weather(), 5.0, resets=5),
)


class Cutter:
    """Cuts a broker's bytes into packets, and takes some confirmations away."""

    def __init__(self, weather: Weather, choose: random.Random) -> None:
        self._weather, self._choose = weather, choose
        self._rest = b""

    def pass_on(self, data: bytes) -> bytes:
        """Return the whole packets that are not lost."""
        self._rest += data
        passed = bytearray()
        while (size := _size_of(self._rest)) and len(self._rest) >= size:
            packet, self._rest = self._rest[:size], self._rest[size:]
            is_ack = packet[0] >> 4 == _PUBACK
            if not is_ack or self._choose.random() >= self._weather.acks_lost:
                passed += packet
        return bytes(passed)


def _size_of(data: bytes) -> int:
    """Length of the first packet (MQTT 5, 1.5.5); 0 if it is not known yet."""
    size = 0
    for number, byte in enumerate(data[1:5]):
        size |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:  # noqa: PLR2004 (the last byte of the length)
            return number + 2 + size
    return 0


class Link:
    """A proxy before a broker, in a thread of its own. What it does not pass on waits, as in TCP.

    connections: how many there were.
    """

    def __init__(self, port: int) -> None:
        self.port = find_free_port()
        self.weather = Weather()
        self.connections = 0
        self._broker = port
        self._choose = random.Random(1)  # noqa: S311 (a plan, not a secret)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        serve = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(serve, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def change(self, weather: Weather) -> None:
        """From now on the link does this."""
        vars(self.weather).update(vars(weather))

    def reset(self) -> None:
        """End all connections with RST."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            broker = await asyncio.open_connection("127.0.0.1", self._broker)
            self._writers |= {writer, broker[1]}
            cutter = Cutter(self.weather, self._choose)
            ways = (
                self._pump(reader, broker[1], lambda: self.weather.up, bytes),
                self._pump(broker[0], writer, lambda: self.weather.down, cutter.pass_on),
            )
            await asyncio.gather(*ways)
            self._writers -= {writer, broker[1]}

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_open: Callable[[], bool],
        passed: Callable[[bytes], bytes],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await _wait_for(is_open)
                writer.write(passed(data))
                await writer.drain()
        await _wait_for(is_open)  # also the end of a connection is not seen beyond
        writer.close()


async def _wait_for(is_open: Callable[[], bool]) -> None:
    while not is_open():  # noqa: ASYNC110 (another thread changes it)
        await asyncio.sleep(0.05)


class LinkedDaemon(PatchedDaemon, Daemon):
    """The daemon of the crash test, with protections switched off in the control."""


@dataclass
class Site:
    """All programs."""

    broker: Mosquitto
    link: Link
    daemon: LinkedDaemon
    plant: Plant
    heard: Subscriber


class Heard(NamedTuple):
    """What became of a break; again: events that were heard again, connections: made meanwhile."""

    name: str
    again: int
    connections: int

    @property
    def is_bounded(self) -> bool:
        """True if only what was in flight on a connection that ended was sent again."""
        return self.again <= MAX_WINDOW * self.connections

    def __str__(self) -> str:
        return f"{self.again} ({self.name}, connections {self.connections})"


def broken_links(run: Run) -> Measured:
    """Break the link in every way; the control has no marks, and what is sent is delivered."""
    breaks = QUICK_BREAKS if run.quick else BREAKS
    with ExitStack() as stack:
        site = _start(run.folder, () if run.protected else ALL_LOST, stack)
        found = [_break(site, one, run) for one in breaks]
        site.plant.frozen = True
        _settle(site)
        site.daemon.stop()
        missing, total = _missing(run.folder / "store.db", site.heard)
    ordered = all(numbers == sorted(numbers) for numbers in site.heard.order.values())
    figure = (
        f"{total} transitions, {missing} missing, order {'kept' if ordered else 'LOST'}; heard "
        f"again: {', '.join(map(str, found))}"
    )
    bounded = all(one.is_bounded for one in found)
    return Measured(figure, missing == 0 and ordered and bounded)


def _start(folder: Path, patches: tuple[str, ...], stack: ExitStack) -> Site:
    broker = broker_of(folder, persistence=True)
    broker.start()
    stack.callback(broker.stop)
    link = stack.enter_context(Link(broker.port))
    config = write_config(folder, broker.port, PAIRS)
    direct = f'bus: {{type: mqtt, url: "mqtt://127.0.0.1:{broker.port}"}}'
    ours = f'bus: {{type: mqtt, url: "mqtt://127.0.0.1:{link.port}", keepalive: 5s}}'
    text = config.read_text()
    if direct not in text:
        raise ValueError("the config has no such sink")
    config.write_text(text.replace(direct, ours))
    heard = stack.enter_context(Subscriber(broker.port))
    plant = stack.enter_context(Plant(broker.port, assets_of(PAIRS), 1, heard))
    daemon = LinkedDaemon(config, patches)
    daemon.start()
    stack.callback(daemon.kill)
    return Site(broker, link, daemon, plant, heard)


def _break(site: Site, one: Break, run: Run) -> Heard:
    """Some healthy seconds, the fault, and all that follows from it."""
    _settle(site)
    time.sleep(HEALTHY_S)
    again, connections = site.heard.duplicates, site.link.connections
    run.tell(one.name)
    site.link.change(one.weather)
    for _ in range(max(1, one.resets)):
        time.sleep(one.seconds / max(1, one.resets))
        if one.resets:
            site.link.reset()
    site.link.change(Weather())
    _settle(site)
    return Heard(one.name, site.heard.duplicates - again, site.link.connections - connections)


def _settle(site: Site) -> None:
    """Wait until nothing waits, with a plant that stands still meanwhile."""
    was_frozen, site.plant.frozen = site.plant.frozen, True
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: _is_calm(site), SETTLE_S)
    site.plant.frozen = was_frozen


def _is_calm(site: Site) -> bool:
    return time.monotonic() - site.heard.received_s > CALM_S and site.daemon.quiet()


def _missing(store: Path, heard: Subscriber) -> tuple[int, int]:
    """(Transitions that were not heard, all)."""
    with closing(sqlite3.connect(store)) as db:
        rows = db.execute("SELECT alarm_id, body FROM history").fetchall()
    committed = {f"{name}:{orjson.loads(body)['seq']}" for name, body in rows}
    return len(committed - set(heard.events)), len(committed)
