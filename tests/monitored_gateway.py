"""A gateway with something of everything, for what watches it.

Its scrape has a series of nearly every metric. `PYTHONPATH=tests:. python -m monitored_gateway`
writes one to deploy/prometheus/tests/scrape.txt, on which promtool runs every query.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import paho.mqtt.client as paho
from certificates import write_certificate
from cryptography.hazmat.primitives.asymmetric import ec
from daemon_support import STEP_MS, Site, unused_url, write_bundle
from insight_models import hours
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.models.repository import ModelRepository
from edge_agent.testing import DaemonProcess, Mosquitto, find_free_port, wait_until
from scripts.rigs import ROOT
from scripts.rigs.oip_server import OipServer, served_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

SCRAPE: Final = ROOT / "deploy" / "prometheus" / "tests" / "scrape.txt"
WAIT_S: Final = 60.0
ROWS: Final = 700
HEALTHY: Final = {"flow": 10.0, "pressure": 4.0, "temp": 50.0, "current": 20.0, "on": 1.0}
_SIGNALS: Final = {"flow": "m3/h", "pressure": "bar", "current": "A", "on": ""}
_MODEL: Final = {"lateness": "200ms", "alarm": {"off_delay": "300ms"}}
_FAULT_MS: Final = 8_000
_KEY: Final = "correct-horse-battery"


class MonitoredGateway:
    """A daemon in its own process with pumps, a life, a learner, a shadow and a model server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._noise = Random(1)  # noqa: S311 (the same each time)
        self._next_ms = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS - ROWS * STEP_MS - 10_000

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._broker = stack.enter_context(
                Mosquitto(self._folder, "max_queued_messages 0")  # a slow machine loses none
            )
            self._server = self._start_server(stack)
            path = self._write_config()
            self._client = paho.Client(CallbackAPIVersion.VERSION2, "plant")
            self._client.connect("127.0.0.1", self._broker.port)
            self._client.loop_start()
            stack.callback(self._client.loop_stop)
            self.daemon = stack.enter_context(DaemonProcess(path))
            wait_until(self._is_up, WAIT_S, "sources and sinks")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def port(self) -> int:
        """Of its HTTP server."""
        return int(self.daemon.url.rpartition(":")[2])

    def _start_server(self, stack: ExitStack) -> OipServer:
        """An inference server for the model of remaining life."""
        hours(self._folder / "models")
        server = OipServer(served_bundle(self._folder / "models" / "hours"))
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        return server

    def _write_config(self) -> Path:
        """Also the bundles of a baseline and of its shadow."""
        folder = self._folder
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(_KEY)
        files = (folder / "gateway.pem", folder / "gateway.key")
        write_certificate(
            files, "gateway", ec.generate_private_key(ec.SECP256R1()), (), days=(-1, 90)
        )
        site = Site(folder, self._broker.url, **self._changes(token, files))
        shelf = ModelRepository(folder / "models")
        write_bundle(folder / "next" / "watch", version=2)
        shelf.set_shadow("watch", shelf.install(folder / "next" / "watch").version)
        return site.path

    def _changes(self, token: Path, files: tuple[Path, Path]) -> dict[str, Any]:
        subscribe = [
            {"topic": f"{kind}/{{asset}}", "template": kind, "payload": {"time": "ts"}}
            for kind in ("plant", "turbine", "fan")
        ]
        subscribe[0]["template"] = "pump"
        secure = unused_url().replace("mqtt:", "mqtts:")
        cert, key = files
        return {
            "http": {"port": find_free_port(), "token": {"file": str(token)}},
            "drift": {"memory": "60s"},
            "sources": {
                "plant": {"subscribe": subscribe, "stale_after": "1h"},
                "hall": {
                    "type": "mqtt",
                    "url": secure,
                    "tls": {"cert": str(cert), "key": str(key)},
                    "subscribe": [{"topic": "hall/{asset}", "template": "fan"}],
                },
            },
            "sinks": {
                "cmms": {"type": "webhook", "url": f"http://127.0.0.1:{find_free_port()}/alarms"}
            },
            "remote": {"triton": {"urls": [self._server.url], "bundles": ["hours"]}},
            "templates": {
                "pump": {
                    "signals": {**_of_plant(), "temp": {"source": "plant"}},
                    "when": "on > 0",
                },
                "turbine": {"signals": _of_plant(), "models": [{"bundle": "hours", **_MODEL}]},
                "fan": {"signals": _of_plant(), "learn": {"auto": True, "first_after": "26s"}},
            },
            "assets": {
                "T-1": {"template": "turbine"},
                "F-1": {"template": "fan"},
            },
        }

    def _is_up(self) -> bool:
        ups = (("source_up", 'source="plant"'), ("sink_up", 'sink="bus"'))
        return all(self.daemon.metric(*up) == 1 for up in ups)

    def live(self) -> None:
        """Let everything happen once: values, faults, an alarm, feedback, the end of a life."""
        wait_until(lambda: self._row("/api/models", mode="shadow", state="running"), WAIT_S)
        self.send(ROWS)
        self._client.publish("plant/P-1", b"no json at all", 1)
        self.send(60, flow=14.0)
        alarm = {"alarm_id": "P-1.watch", "state": "unack"}
        wait_until(lambda: self._row("/api/alarms", **alarm), WAIT_S, "an alarm")
        self.post("/api/alarms/P-1.watch/feedback", verdict="false")
        self.post("/api/assets/P-2/healthy")
        self.post("/api/assets/T-1/failed")
        self.send(20)

    def _row(self, path: str, **fields: str) -> bool:
        """True if one of the rows has these fields."""
        rows = json.loads(self.daemon.ask(path))
        return any(fields.items() <= row.items() for row in rows)

    def go_on(self) -> None:
        """Publish a few rows, if they would not be from the future; alarms come and go."""
        if self._next_ms < time.time_ns() // 1_000_000 - 1_000:
            self.send(2, flow=10.0 if self._next_ms // _FAULT_MS % 2 else 40.0)

    def send(self, rows: int, **row: float) -> None:
        """Publish rows of all machines."""
        for _ in range(rows):
            self._next_ms += STEP_MS
            noise = {name: value + self._noise.gauss(0, 0.05) for name, value in HEALTHY.items()}
            body = orjson.dumps({"ts": self._next_ms, **noise, **row})
            for topic in ("plant/P-1", "plant/P-2", "turbine/T-1", "fan/F-1"):
                self._client.publish(topic, body, 1)

    def post(self, path: str, **body: Any) -> Any:
        """Give a command as `anna`."""
        asked = urllib.request.Request(  # noqa: S310 (ours)
            self.daemon.url + path,
            json.dumps({"by": "anna", **body}).encode(),
            {"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 (ours)
            return json.loads(answer.read())


def _of_plant() -> dict[str, Any]:
    return {name: {"source": "plant", "unit": unit} for name, unit in _SIGNALS.items()}


def families(text: str) -> Iterable[str]:
    """The names of the metrics that have a series."""
    return {
        line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if line[0] != "#"
    }


def record() -> None:
    """Write a scrape."""
    with tempfile.TemporaryDirectory() as name, MonitoredGateway(Path(name)) as gateway:
        gateway.live()
        time.sleep(6)  # a baseline is learned
        SCRAPE.write_bytes(gateway.daemon.ask("/metrics"))


if __name__ == "__main__":
    record()
