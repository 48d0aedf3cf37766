"""What tests of the whole daemon need: configs, a model, the daemon in process or as a child."""

from __future__ import annotations

import asyncio
import copy
import socket
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson
import yaml
from support import value_of

from edge_agent.client import Client
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.testing import find_free_port
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sink_support import Subscriber

    from edge_agent.values import Columns

WAIT_S = 20.0
STEP_MS = 100
LENGTH = 8
PLACE = "edge/enterprise/site/area/line"
STATUS = "edge/_svc/gateway/status"

BASE: dict[str, Any] = {
    "gateway": {"id": "gateway"},
    "models_dir": "models",
    "store": {"path": "store.db"},
    "http": {"port": 0},
    "tuning": {"drain_deadline": "3s", "score_interval": "0s"},
    "sources": {
        "plant": {
            "type": "mqtt",
            "subscribe": [
                {"topic": "plant/{asset}", "template": "pump", "payload": {"time": "ts"}}
            ],
        }
    },
    "sinks": {"bus": {"type": "mqtt"}},
    "templates": {
        "pump": {
            "signals": {"flow": {}, "pressure": {}, "temp": {"valid": [0, 100]}},
            "quality_alarm": {"off_delay": "300ms"},
            "models": [{"bundle": "watch", "lateness": "200ms", "alarm": {"off_delay": "300ms"}}],
        }
    },
    "assets": {"P-{1..2}": {"template": "pump"}},
}


def fed_config(
    folder: Path, template: tuple[str, dict[str, Any]], assets: str, **more: Any
) -> Path:
    """A config whose values come from the test alone: its broker is not there."""
    name, struct = template
    subscribe = [{"topic": "plant/{asset}/{signal}"}]
    config = {
        "gateway": {"id": "gateway"},
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"port": 0},
        "sources": {"plant": {"type": "mqtt", "url": unused_url(), "subscribe": subscribe}},
        "sinks": {"lines": {"type": "log"}},
        "templates": {name: struct},
        "assets": {assets: {"template": name}},
        **more,
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with changes: dicts are merged, None takes a key away, all else replaces it."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def write_bundle(folder: Path, assets: Iterable[str] = ("P-1", "P-2"), *, version: int = 1) -> None:
    """A baseline of flow 10 +- 0.1 and pressure 4 +- 0.1; another version has another spread.

    Half of the time nothing moves, since the tests send the same values again and again.
    """
    numbers = np.random.default_rng(version)
    rows = {asset: numbers.normal([10, 4], 0.1 * version, (400, 2)) for asset in assets}
    for values in rows.values():
        values[np.arange(400) // 16 % 2 == 0] = [10, 4]
    inputs = (InputSpec("flow"), InputSpec("pressure"))
    recipe = Recipe(folder.name, inputs, step_s=STEP_MS / 1000, length=LENGTH, hop=1)
    learn(rows, recipe, now_us=version * 1_000_000).write(folder)


class Site:
    """A folder with a config, which may be changed, and the models it names."""

    def __init__(self, folder: Path, broker_url: str, **changes: Any) -> None:
        self.folder = folder
        self.path = folder / "edge-agent.yaml"
        url = {"url": broker_url}
        places = {
            "models_dir": str(folder / "models"),
            "store": {"path": str(folder / "store.db")},
            "sources": {"plant": url},
            "sinks": {"bus": url},
        }
        self.config = merged(merged(BASE, places), changes)
        write_bundle(folder / "models" / "watch")
        self.change()

    def change(self, **changes: Any) -> None:
        """Write the config with these changes."""
        self.config = merged(self.config, changes)
        self.path.write_text(yaml.safe_dump(self.config))

    def daemon(self) -> Running:
        """A daemon in this process, not yet started."""
        return Running(self.path)


class Running:
    """The daemon on this event loop; entered when it is ready, and stopped at the end."""

    def __init__(self, path: Path) -> None:
        self.daemon = Daemon(load_config(path), path=path)
        self.took_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        ready = asyncio.Event()
        self._task = asyncio.create_task(self.daemon.run(on_ready=ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            await self._task
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """As SIGTERM does."""
        task, self._task = self._task, None
        if task is not None:
            begin = time.monotonic()
            self.daemon.stop()
            await task
            self.took_s = time.monotonic() - begin

    @property
    def url(self) -> str:
        """Where its HTTP server is."""
        return f"http://127.0.0.1:{self.daemon.parts.http.port}"

    def states(self) -> dict[str, str]:
        """State by alarm id."""
        return {alarm.alarm_id: str(alarm.state) for alarm in self.daemon.runtime.alarms.all()}

    def windows(self, model: str = "watch", outcome: str = "scored") -> int:
        """How many windows had that outcome."""
        return int(value_of(self.daemon.parts.metrics.windows.labels(model, outcome)))

    def up(self) -> bool:
        """Whether every source and sink is connected."""
        links = [*self.daemon.runtime.sources.values(), *self.daemon.parts.publisher.sinks.values()]
        return all(one.link.state == "up" for one in links)

    def values(self, asset: str, rows: Iterable[tuple[int, dict[str, float]]]) -> Columns:
        """Rows (time in ms, value by signal) as a source would decode them."""
        signals = self.daemon.runtime.plant.assets[asset].signals
        cells = [
            (signals[name].index, ts * 1000, value)
            for ts, row in rows
            for name, value in row.items()
        ]
        index, time_us, value = zip(*cells, strict=True)
        return columns(index, time_us, value)


def healthy(temp: float = 50.0, flow: float = 10.0) -> dict[str, float]:
    """A row of a pump; another flow is a fault, another temperature may be out of range."""
    return {"flow": flow, "pressure": 4.0, "temp": temp}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Feed:
    """Publishes rows on the model's grid, whose times go on from one call to the next."""

    def __init__(self, bus: Subscriber, begin_ms: int | None = None) -> None:
        self._bus = bus
        self._next_ms: dict[str, int] = {}
        begin_ms = now_ms() - 60_000 if begin_ms is None else begin_ms
        self._begin_ms = begin_ms // STEP_MS * STEP_MS
        self.sent: dict[str, int] = {}

    def send(self, asset: str, n: int = 1, **row: float) -> None:
        """Publish `n` rows of an asset."""
        for _ in range(n):
            ts = self._next_ms.get(asset, self._begin_ms)
            self._next_ms[asset] = ts + STEP_MS
            self.sent[asset] = self.sent.get(asset, 0) + 1
            self._bus.publish(f"plant/{asset}", orjson.dumps({"ts": ts, **healthy(**row)}))


class NotifySocket:
    """Stands in for systemd: receives what the daemon notifies."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)  # noqa: FBT003
        self._heard: list[str] = []

    def heard(self) -> list[str]:
        """Everything so far, one assignment each."""
        while True:
            try:
                self._heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._heard

    def close(self) -> None:
        self._socket.close()


async def until_drawn_as_replayed(running: Running, asset: str, begin_ms: int, end_ms: int) -> None:
    """Wait until the trend has the values, scores and the alarm of that time, marked as late."""

    def read() -> bool:
        found = Client(running.url).trend(asset, start=begin_ms / 1e3, end=end_ms / 1e3)
        kinds = {
            one.kind
            for one in found.series
            if any(marks & found.marks["replayed"] for marks in one.marks)
        }
        return {"input", "score"} <= kinds and any(one.replayed for one in found.alarms)

    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(read):
            await asyncio.sleep(0.2)


def unused_url() -> str:
    """Of a broker that is not there."""
    return f"mqtt://127.0.0.1:{find_free_port()}"
