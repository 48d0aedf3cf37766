"""The programs of `scripts/skab-live`: OPC UA server, daemon, and their clients."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import DaemonProcess, Program, ProgramError

START_S = 60.0


class OpcUaServer(Program):
    """server.js of this folder; its variables start with `first` (value and epoch ms by name)."""

    pipes = True

    def __init__(
        self, modules: Path, folder: Path, port: int, first: dict[str, tuple[float, int]]
    ) -> None:
        options = {"port": port, "folder": str(folder / "pki"), "first": first}
        script = str(Path(__file__).with_name("server.js"))
        (folder / "server.json").write_text(json.dumps(options))
        command = ["node", script, str(folder / "server.json")]
        super().__init__(command, folder / "server.log", NODE_PATH=str(modules))

    def is_ready(self) -> bool:
        """True if it listens."""
        return self._line() == "READY"

    def write(self, name: str, value: float, at_ms: int) -> None:
        """Set a variable's value and source time stamp, in its own packet."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.write(json.dumps([name, value, at_ms]).encode() + b"\n")

    def changes(self) -> int:
        """End the writing; the number of values that differed from the previous, to be reported."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.close()
        while not (line := self._line()).startswith("{"):  # the library prints other lines
            if not line:
                raise ProgramError(f"ended:\n{self.log()}", where="node-opcua")
        return int(json.loads(line)["changed"])

    def _line(self) -> str:
        assert self.process.stdout is not None  # noqa: S101
        return self.process.stdout.readline().decode().strip()


class Daemon(DaemonProcess):
    """`edge-agent run`; ready when both sources are up."""

    def is_ready(self) -> bool:
        """True if OPC UA and MQTT are connected."""
        return self.metric("source_up") == 2  # noqa: PLR2004


class Publisher:
    """Publishes with QoS 1 (MQTT 3.1.1), without waiting for the broker.

    Not paho: once its window is full, every message takes longer than the one before: the
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
        """Publish one message in its own packet."""
        self._sent += 1
        number = (1 + self._sent % 65_535).to_bytes(2, "big")
        rest = len(topic).to_bytes(2, "big") + topic.encode() + number + body
        low, high = len(rest) % 128, len(rest) // 128
        length = bytes([low | 128, high]) if high else bytes([low])
        self._socket.sendall(b"\x32" + length + rest)

    def close(self) -> None:
        """Wait for every confirmation, and disconnect."""
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
    """A paho client that keeps the events and scores that the daemon publishes."""

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
        """Wait for everything published so far, and disconnect."""
        self._client.publish(self.END, b"", 1)
        if not self._ended.wait(START_S):
            sys.exit("mosquitto lost the end")
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _c: object, _u: object, one: paho.MQTTMessage) -> None:
        if one.topic == self.END:
            self._ended.set()
        else:
            (self.events if one.topic.endswith("/event") else self.scores).append(
                bytes(one.payload)
            )
