"""The programs of `scripts/skab-live`: broker, OPC UA server, daemon, and what talks to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0


def free_port() -> int:
    """A TCP port of the loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """That of this process, with the package in it."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


class Program:
    """A program of our own; it ends with the `with` block."""

    def __init__(self, command: list[str], log: Path, **more: str) -> None:
        self._command = command
        self._log = log
        self._environment = environment(**more)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # Unbuffered: what is written to it may reach it value by value.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )
        try:
            self.wait_until_ready(time.monotonic() + START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self, deadline_s: float) -> None:
        """Return when it can be worked with."""

    def give_up_if(self, hopeless: bool, what: str) -> None:  # noqa: FBT001 - it is the question
        """End the whole script where the program is no more, or it is hopeless."""
        if hopeless or self._process.poll() is not None:
            sys.exit(f"{what}:\n{self._log.read_text()}")

    def halt(self, seconds: float) -> None:
        """Stop it (SIGSTOP) for so long."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Broker(Program):
    """A mosquitto as it comes, but that it drops nothing where a subscriber is slow."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            "user root\n"
        )
        super().__init__([find_mosquitto() or "", "-c", str(config)], folder / "mosquitto.log")

    def wait_until_ready(self, deadline_s: float) -> None:
        """It listens."""
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            self.give_up_if(time.monotonic() > deadline_s, "mosquitto did not start")
            time.sleep(0.05)


def find_mosquitto() -> str | None:
    """The path of mosquitto, which Debian keeps outside a user's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class OpcUaServer(Program):
    """scripts/_skab_server.js; its variables hold `first` (value and epoch ms by name)."""

    def __init__(
        self, modules: Path, folder: Path, port: int, first: dict[str, tuple[float, int]]
    ) -> None:
        options = {"port": port, "folder": str(folder / "pki"), "first": first}
        script = str(Path(__file__).with_name("_skab_server.js"))
        (folder / "server.json").write_text(json.dumps(options))
        command = ["node", script, str(folder / "server.json")]
        super().__init__(command, folder / "server.log", NODE_PATH=str(modules))

    def wait_until_ready(self, deadline_s: float) -> None:
        """It listens."""
        while (line := self._line()) != "READY":
            self.give_up_if(not line or time.monotonic() > deadline_s, "node-opcua did not start")

    def write(self, name: str, value: float, at_ms: int) -> None:
        """Give a variable a value with its source time stamp; a packet of its own."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(json.dumps([name, value, at_ms]).encode() + b"\n")

    def changes(self) -> int:
        """End the writing; how many values were unlike the one before, and so to be reported."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        while not (line := self._line()).startswith("{"):  # the library says things of its own
            self.give_up_if(not line, "node-opcua ended")
        return int(json.loads(line)["changed"])

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdout.readline().decode().strip()


class DaemonProcess(Program):
    """`edge-agent run`."""

    def __init__(self, config: Path, http_port: int) -> None:
        command = [sys.executable, "-m", "edge_agent", "run", "-c", str(config)]
        super().__init__(command, config.with_name("daemon.log"))
        self._url = f"http://127.0.0.1:{http_port}/metrics"

    def wait_until_ready(self, deadline_s: float) -> None:
        """Both sources are up."""
        while self.metric("source_up") < 2:  # noqa: PLR2004 - OPC UA and MQTT
            self.give_up_if(time.monotonic() > deadline_s, "the daemon's sources are not up")
            time.sleep(0.1)

    def metric(self, name: str, label: str = "") -> float:
        """Sum of the metric's rows that have that label."""
        with contextlib.suppress(OSError), urllib.request.urlopen(self._url, timeout=30) as answer:
            rows = answer.read().decode().splitlines()
            mine = [row for row in rows if row.startswith(f"edge_agent_{name}") and label in row]
            return sum(float(row.rsplit(" ", 1)[1]) for row in mine)
        return 0.0


class Publisher:
    """Publishes with QoS 1 (MQTT 3.1.1), never waiting for the broker.

    paho would do, but once its window is full every message costs more than the one before: the
    rig would be late, not the daemon.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), START_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"\x10\x15\x00\x04MQTT\x04\x02\x00\x00\x00\x09skab-live")
        self._answers = self._socket.makefile("rb")
        if self._answers.read(4) != b"\x20\x02\x00\x00":  # CONNACK: accepted
            sys.exit("mosquitto does not let us in")
        self._socket.settimeout(None)
        self._sent = 0
        self._confirmed = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def publish(self, topic: str, body: bytes) -> None:
        """One message; a packet of its own."""
        self._sent += 1
        number = (1 + self._sent % 65_535).to_bytes(2, "big")
        rest = len(topic).to_bytes(2, "big") + topic.encode() + number + body
        low, high = len(rest) % 128, len(rest) // 128
        length = bytes([low | 128, high]) if high else bytes([low])
        self._socket.sendall(b"\x32" + length + rest)

    def close(self) -> None:
        """Wait for every confirmation, and leave."""
        deadline_s = time.monotonic() + START_S
        while self._confirmed < self._sent:
            if time.monotonic() > deadline_s:
                sys.exit(f"mosquitto confirmed {self._confirmed} of {self._sent} messages")
            time.sleep(0.01)
        self._socket.sendall(b"\xe0\x00")  # DISCONNECT
        self._reader.join()
        self._answers.close()
        self._socket.close()

    def _read(self) -> None:
        while len(self._answers.read(4)) == 4:  # noqa: PLR2004 - a PUBACK
            self._confirmed += 1


class Listener:
    """A client of paho's that keeps the events and scores that the daemon publishes."""

    END = "skab-live/end"

    def __init__(self, port: int) -> None:
        self.events: list[bytes] = []
        self.scores: list[bytes] = []
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        base = "edge/+/+/+/+/+/_pdm"
        self._client.subscribe([(f"{base}/event", 1), (f"{base}/score/+", 1), (self.END, 1)])
        if not self._ready.wait(START_S):
            sys.exit("mosquitto does not answer")

    def close(self) -> None:
        """Wait for all that was published so far, and leave."""
        self._client.publish(self.END, b"", 1)
        if not self._ended.wait(START_S):
            sys.exit("mosquitto lost the end")
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _c: object, _u: object, one: paho.MQTTMessage) -> None:
        if one.topic == self.END:
            self._ended.set()
        else:
            (self.events if one.topic.endswith("/event") else self.scores).append(one.payload)
