"""Clients that load the status server, in one run with pauses: scrapes, alarms and memory.

Alarms are measured in turns of a few seconds, with the load and without, so that other work on the
machine meets both. What counts is the ratio of the medians.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import multiprocessing
import socket
import threading
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import orjson
import paho.mqtt.client as mqtt
import psutil
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import Mosquitto, find_free_port, wait_until
from scripts.rigs.faults.flow import PatchedDaemon
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event
    from pathlib import Path

    from scripts.rigs.faults.promises import Run

    Client = Callable[[int, Event, Event], None]

ASSETS: Final = 40
ROWS: Final = 4000  # of the history, before the readers begin
SLOW, READERS, FLOODERS = 400, 90, 8
TURN_S: Final = 6.0
TURNS: Final = 6  # each with and without the load
QUICK_TURNS: Final = 2
SCRAPE_S: Final = 1.0
ALARM_RATIO: Final = 1.05
MEMORY_MIB: Final = 60.0
_SAMPLE_S: Final = 0.1
_HELD: Final = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-a: ",
    b"POST /api/alarms/x/ack HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000\r\n\r\n{",
    b"GET /api/assets HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
    b"",
)


@dataclass
class Found:
    """Seconds of alarms without and with a load, and of scrapes with it; MiB more at most."""

    quiet_s: list[float] = field(default_factory=list)
    loaded_s: list[float] = field(default_factory=list)
    scrapes_s: list[float] = field(default_factory=list)
    more_mib: float = 0.0

    @property
    def ratio(self) -> float:
        """Of the medians, with the load to without."""
        return median(self.loaded_s) / median(self.quiet_s)

    def __str__(self) -> str:
        return (
            f"scrape {max(self.scrapes_s):.2f} s at most of {len(self.scrapes_s)}, alarms "
            f"{median(self.loaded_s) * 1000:.0f} ms ({median(self.quiet_s) * 1000:.0f} without: "
            f"{self.ratio - 1:+.0%}), memory {self.more_mib:+.0f} MiB"
        )


def http_load(run: Run) -> Measured:
    """Slow clients, readers and floods; the control has neither limits nor rests."""
    patches = [] if run.protected else ["unlimited_clients"]
    broker = Mosquitto(run.folder, "log_type error\nmax_queued_messages 0")
    broker.start()
    daemon = PatchedDaemon(write_config(run.folder, broker.port), patches)
    loads: dict[str, tuple[Client, int]] = {
        f"{SLOW} slow clients": (be_slow, 1),
        f"{READERS} readers of the history": (read_history, READERS),
        f"{FLOODERS} floods of connections": (flood, FLOODERS),
    }
    found: dict[str, Found] = {}
    try:
        daemon.start()
        machine = Machine(broker.port)
        machine.fill_history(daemon)
        for name, load in loads.items():
            run.tell(name)
            turns = QUICK_TURNS if run.quick else TURNS
            found[name] = measure(machine, daemon, load, turns)
    finally:
        daemon.kill()
        broker.kill()
    holds = all(
        max(one.scrapes_s) < SCRAPE_S and one.ratio <= ALARM_RATIO and one.more_mib <= MEMORY_MIB
        for one in found.values()
    )
    return Measured("; ".join(f"{name}: {one}" for name, one in found.items()), holds=holds)


def write_config(folder: Path, port: int) -> Path:
    """Machines with one signal each."""
    url = f"mqtt://127.0.0.1:{port}"
    config = {
        "gateway": {"id": "loaded"},
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"port": find_free_port()},
        "alarms": {"flood_limit": 10_000},
        "sources": {
            "plant": {
                "type": "mqtt",
                "url": url,
                "subscribe": [{"topic": "plant/{asset}", "payload": {"time": "ts"}}],
            }
        },
        "sinks": {"bus": {"type": "mqtt", "url": url}},
        "templates": {
            "machine": {
                "signals": {"x": {"valid": [0, 100]}},
                "quality_alarm": {"on_delay": "0s", "off_delay": "0s"},
            }
        },
        "assets": {f"P-{number}": {"template": "machine"} for number in range(ASSETS)},
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Machine:
    """Lets values leave their range, and hears the alarms."""

    def __init__(self, port: int) -> None:
        self._heard = threading.Semaphore(0)
        self._bad = [False] * ASSETS
        self._next = itertools.cycle(range(ASSETS))
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda *_: self._heard.release()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("edge/+/+/+/+/+/_pdm/event", 1)
        self._client.loop_start()

    def toggle(self) -> None:
        """The next machine's value leaves its range, or comes back."""
        number = next(self._next)
        self._bad[number] = not self._bad[number]
        value = 500 if self._bad[number] else 50
        body = orjson.dumps({"ts": time.time_ns() // 1_000_000, "x": value})
        self._client.publish(f"plant/P-{number}", body, 1)

    def alarm_s(self) -> float:
        """Seconds from a value to the event of its alarm, as a subscriber hears it."""
        begun_s = time.monotonic()
        self.toggle()
        self._heard.acquire(timeout=30)
        return time.monotonic() - begun_s

    def fill_history(self, daemon: PatchedDaemon) -> None:
        """As many transitions as the readers want."""
        wait_until(lambda: "source up" in daemon.log(), 30, "the source")
        for number in range(ROWS):
            self.toggle()
            if number % ASSETS == ASSETS - 1:
                for _ in range(ASSETS):
                    self._heard.acquire(timeout=30)


def measure(
    machine: Machine,
    daemon: PatchedDaemon,
    load: tuple[Client, int],
    turns: int,
) -> Found:
    """Turns with and without a load; its clients are processes of their own."""
    found, port = Found(), int(daemon.url.rpartition(":")[2])
    rss = psutil.Process(daemon.process.pid).memory_info
    before = rss().rss
    is_on, over = multiprocessing.Event(), multiprocessing.Event()
    client, number = load
    process = multiprocessing.Process(target=_run_clients, args=(client, number, port, is_on, over))
    process.start()
    scraper = threading.Thread(target=_scrape, args=(found, port, is_on, over))
    scraper.start()
    try:
        for is_loaded in [False, True] * turns:
            (is_on.set if is_loaded else is_on.clear)()
            time.sleep(1.0)
            until_s = time.monotonic() + TURN_S
            while time.monotonic() < until_s:
                (found.loaded_s if is_loaded else found.quiet_s).append(machine.alarm_s())
                found.more_mib = max(found.more_mib, (rss().rss - before) / (1 << 20))
                time.sleep(_SAMPLE_S)
    finally:
        over.set()
        is_on.set()
        process.join(20)
        scraper.join(20)
    return found


def _scrape(found: Found, port: int, is_on: Event, over: Event) -> None:
    while not over.wait(0.5):
        if is_on.is_set():
            begun_s = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                _get(port, "/metrics")
            found.scrapes_s.append(time.monotonic() - begun_s)


def _get(port: int, path: str) -> int:
    one = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        one.request("GET", path)
        return len(one.getresponse().read())
    finally:
        one.close()


# Clients, in a process of their own ---------------------------------------------------------------


def _run_clients(client: Callable[..., None], number: int, *args: Any) -> None:  # noqa: ANN401
    threads = [threading.Thread(target=client, args=args, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    args[-1].wait()


def be_slow(port: int, is_on: Event, over: Event) -> None:
    """Half a head, a body without end, answers that nobody reads, nothing at all."""
    held: list[socket.socket] = []
    while is_on.wait() and not over.is_set():
        while len(held) < SLOW and is_on.is_set():
            with contextlib.suppress(OSError):
                one = socket.create_connection(("127.0.0.1", port), 2)
                one.setblocking(False)  # noqa: FBT003 (the standard library's own)
                one.send(_HELD[len(held) % len(_HELD)])
                held.append(one)
        for one in held:
            with contextlib.suppress(OSError):
                one.send(b"a")
        time.sleep(1.0)
        if not is_on.is_set():
            for one in held:
                one.close()
        held = [one for one in held if is_on.is_set() and _is_open(one)]


def _is_open(one: socket.socket) -> bool:
    try:
        return one.recv(1 << 16) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def read_history(port: int, is_on: Event, over: Event) -> None:
    """Page after page, without an end."""
    while is_on.wait() and not over.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException):
            _get(port, "/api/alarms/history?limit=10000")


def flood(port: int, is_on: Event, over: Event) -> None:
    """Connections that are opened and closed."""
    while is_on.wait() and not over.is_set():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 2).close()
