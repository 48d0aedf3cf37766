"""Runs inside the guest of `power_cut.py`: broker, daemon, plant and subscriber, until the cut.

Each event that the subscriber receives is written to the console as `E ID CRC`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import Mosquitto, find_free_port
from scripts.rigs.faults.flow import PatchedDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ASSETS: Final = 8
TOGGLE_S: Final = 0.01
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def main(folder: Path, disk: Path, patches: Sequence[str]) -> None:
    """Raise and end alarms until the power is cut."""
    bring_loopback_up()
    broker = Mosquitto(folder, "max_queued_messages 0\nlog_type error")
    broker.start()
    config = write_config(folder, disk, broker.port)
    daemon = PatchedDaemon(config, patches)
    plant = connect(broker.port, say_event)
    daemon.start()
    threading.Thread(target=tell_end, args=(daemon,), daemon=True).start()
    for number in range(10**9):
        asset, is_bad = number % ASSETS, number // ASSETS % 2
        body = orjson.dumps({"ts": time.time_ns() // 1_000_000, "x": 500 if is_bad else 50})
        plant.publish(f"plant/P-{asset}", body, 1)
        time.sleep(TOGGLE_S)


def bring_loopback_up() -> None:
    """As `ip link set lo up`."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def write_config(folder: Path, disk: Path, port: int) -> Path:
    """Machines with one signal each; the store is on the disk that loses its power."""
    url = f"mqtt://127.0.0.1:{port}"
    topic = {"topic": "plant/{asset}", "payload": {"time": "ts"}}
    config = {
        "gateway": {"id": "guest"},
        "models_dir": str(folder / "models"),
        "store": {"path": str(disk / "store.db")},
        "http": {"port": find_free_port()},
        "alarms": {"flood_limit": 10_000},
        "sources": {"plant": {"type": "mqtt", "url": url, "subscribe": [topic]}},
        "sinks": {"bus": {"type": "mqtt", "url": url}},
        "templates": {
            "machine": {
                "signals": {"x": {"valid": [0, 100]}},
                "quality_alarm": {"on_delay": "0s", "off_delay": "0s"},
            }
        },
        "assets": {f"P-{number}": {"template": "machine"} for number in range(ASSETS)},
    }
    (folder / "models").mkdir(exist_ok=True)
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def connect(port: int, heard: Callable[[bytes], None]) -> mqtt.Client:
    """A client that publishes, and receives all events."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: heard(bytes(message.payload))
    client.connect("127.0.0.1", port)
    client.subscribe("edge/+/+/+/+/+/_pdm/event", 1)
    client.loop_start()
    return client


def say_event(body: bytes) -> None:
    """Write it to the console, which the host reads."""
    say(f"E {orjson.loads(body)['id']} {zlib.crc32(body)}")


def say(text: str) -> None:
    """One line in one write, so that a cut leaves no half of it unnoticed."""
    os.write(1, f"{' | '.join(text.splitlines())}\n".encode())


def tell_end(daemon: PatchedDaemon) -> None:
    """A daemon that ends by itself is no power cut."""
    code = daemon.process.wait()
    say(f"X the daemon ended with {code}: {daemon.log()[-2000:]}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except BaseException as error:
        say(f"X {type(error).__name__}: {error}")
        raise
