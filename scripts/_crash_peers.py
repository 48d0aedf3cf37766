"""What the crash test needs around the daemon: a broker, a plant with faults, a subscriber."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 30.0
TICK_S = 0.1
PLACE = "edge/acme/north/water/{line}"
LOW, HIGH = 0.0, 100.0


def free_port() -> int:
    """A TCP port of the loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    """Poll until it is so; False where it never was."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Process:
    """A program that may be killed and started again, with its output in a file."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self._command = command
        self._log = log
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self.unexpected: list[int] = []  # exit codes of ends that nobody asked for

    @property
    def pid(self) -> int:
        """Of the running process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, cwd=self._log.parent
            )

    def kill(self) -> None:
        """As SIGKILL; an earlier end of its own is noted."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is not None:
            self.unexpected.append(process.returncode)
        process.kill()
        process.wait()

    def stop(self) -> tuple[int | None, float]:
        """SIGTERM; gives the exit code (None where it had to be killed) and how long it took."""
        begin = time.monotonic()
        process, self._process = self._process, None
        if process is None:
            return None, 0.0
        process.send_signal(signal.SIGTERM)
        try:
            code: int | None = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        return code, time.monotonic() - begin


class Broker(Process):
    """A mosquitto of our own; `persistence` is what its config says about it."""

    def __init__(self, folder: Path, persistence: str) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            sys.exit("mosquitto is not installed (apt-get install mosquitto)")
        self.port = free_port()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"max_queued_messages 0\npersistence_location {folder}/\n{persistence}\n"
        )
        super().__init__([program, "-c", str(config)], folder / "mosquitto.log")

    def start(self) -> None:
        """Start it and wait until it listens."""
        super().start()
        if not wait_until(self._listens, 10):
            sys.exit("mosquitto did not start")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Daemon(Process):
    """`edge-agent run` as a child."""

    def __init__(self, config: Path, http_port: int) -> None:
        command = [sys.executable, "-m", "edge_agent", "run", "-c", str(config)]
        super().__init__(command, config.parent / "daemon.log", PYTHONPATH=str(ROOT))
        self._url = f"http://127.0.0.1:{http_port}"

    def ask(self, path: str) -> bytes:
        """What its HTTP server says; nothing while it does not answer."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=2) as answer:
                body: bytes = answer.read()
                return body
        except (OSError, urllib.error.URLError):
            return b""

    def quiet(self) -> bool:
        """Whether all links are up and nothing waits in the outbox."""
        found = orjson.loads(self.ask("/api/summary") or b"null")
        if found is None:
            return False
        links = [*found["sources"], *found["sinks"]]
        return all(link["ok"] for link in links) and not any(o["rows"] for o in found["outbox"])


class _Client:
    """A paho client in a thread, which finds its broker again by itself."""

    def __init__(self, port: int, name: str) -> None:
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._port = port

    def __enter__(self) -> Self:
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", self._port, 5, clean_start=False, properties=kept)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, *_: object) -> None: ...

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None: ...


class Subscriber(_Client):
    """Hears everything with QoS 1 and a session that the broker keeps.

    events: body by CloudEvents id, as first heard; alerts: the newest by topic.
    """

    def __init__(self, port: int, name: str = "subscriber") -> None:
        super().__init__(port, name)
        self.events: dict[str, bytes] = {}
        self.alerts: dict[str, dict[str, Any]] = {}
        self.alert_ids: set[str] = set()
        self.order: dict[str, list[int]] = {}
        self.duplicates = 0
        self.differing: set[str] = set()
        self.statuses: list[str] = []
        self.heard_s = time.monotonic()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe("edge/#", 1)

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        topic, body = message.topic, bytes(message.payload)
        if "/_pdm/event" in topic:
            self._note_event(body)
        elif "/_pdm/alert/" in topic:
            self._note_alert(topic, body)
        elif topic.endswith("/status"):
            self.statuses.append(body.decode())

    def _note_event(self, body: bytes) -> None:
        self.heard_s = time.monotonic()
        name = orjson.loads(body)["id"]
        if name in self.events:
            self.duplicates += 1
            if self.events[name] != body:
                self.differing.add(name)
            return
        self.events[name] = body
        alarm_id, _, seq = name.rpartition(":")
        self.order.setdefault(alarm_id, []).append(int(seq))

    def _note_alert(self, topic: str, body: bytes) -> None:
        self.heard_s = time.monotonic()
        if not body:
            self.alerts.pop(topic, None)
            return
        self.alerts[topic] = orjson.loads(body)
        self.alert_ids.add(self.alerts[topic]["id"])


class Plant(_Client):
    """Machines whose values go wrong and right again at random, and an operator who acknowledges.

    A machine has two sensors that its model watches and one with a valid range.
    """

    def __init__(self, port: int, assets: list[str], seed: int, heard: Subscriber) -> None:
        super().__init__(port, "plant")
        self._random = random.Random(seed)  # noqa: S311 (a plan, not a secret)
        self._heard = heard
        self._until = dict.fromkeys(assets, 0.0)
        self.faults: dict[str, set[str]] = {asset: set() for asset in assets}
        self.frozen = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        super().__exit__()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(TICK_S):
            number += 1
            for asset in self.faults:
                self._turn(asset)
                self._client.publish(f"plant/line-1/{asset}", self._values(asset), 1)
            if number % 5 == 0:
                self._acknowledge()

    def _turn(self, asset: str) -> None:
        now = time.monotonic()
        if self.frozen or now < self._until[asset]:
            return
        self._until[asset] = now + self._random.uniform(0.8, 4.0)
        chosen = self._random.choice((set(), {"range"}, {"shift"}, {"range", "shift"}))
        self.faults[asset] = set(chosen)

    def _values(self, asset: str) -> bytes:
        faults, noise = self.faults[asset], self._random.gauss
        value = {
            "ts": time.time_ns() // 1_000_000,
            "flow": 10 + noise(0, 0.1) + (5 if "shift" in faults else 0),
            "pressure": 4 + noise(0, 0.1),
            "temperature": 250.0 if "range" in faults else 50 + noise(0, 1),
        }
        return orjson.dumps(value)

    def _acknowledge(self) -> None:
        """Acknowledge one of the alarms that the subscriber sees, as an operator would."""
        waiting = [
            (topic, alert["data"]["alarm_id"])
            for topic, alert in list(self._heard.alerts.items())
            if alert["data"]["state"] in {"unack", "rtn_unack"}
        ]
        if not waiting or self.frozen:
            return
        topic, alarm_id = self._random.choice(waiting)
        command = {
            "id": f"{self._random.getrandbits(64):x}",
            "alarm_id": alarm_id,
            "expires": time.time_ns() // 1_000_000 + 60_000,
            "by": "operator",
        }
        place = topic.partition("/alert/")[0]
        self._client.publish(f"{place}/cmd/ack", orjson.dumps(command), 1)
