"""A plant for rigs: assets with many signals, sent by a process of its own at a steady rate."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import DaemonProcess, Mosquitto, find_free_port, mean_bundle
from scripts.pipeline_bench.site import make_baseline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIGNALS: Final = 20  # s0 to s7 have a learned baseline, s19 has a valid range
BROKER: Final = "log_type error\nmax_queued_messages 0\nmax_queued_bytes 0\nset_tcp_nodelay true"
WATCHED: Final = f"s{SIGNALS - 1}"
_FIRST_S: Final = 2.0  # for the connection


@dataclass(frozen=True, slots=True)
class Shape:
    """assets times SIGNALS values, hz times a second."""

    assets: int
    hz: float

    @property
    def rate(self) -> float:
        """Values per second."""
        return self.assets * SIGNALS * self.hz


def name_of(asset: int) -> str:
    """As the baseline and the topics have it."""
    return f"a{asset:03d}"


def alarm_of(asset: int) -> str:
    """The alarm of the valid range."""
    return f"{name_of(asset)}.{WATCHED}.quality"


def broker_of(folder: Path) -> Mosquitto:
    """A mosquitto that drops nothing if a subscriber is slow, not yet started."""
    return Mosquitto(folder, BROKER)


def write_config(
    folder: Path, port: int, assets: int, *, is_learned: bool = False, **tuning: object
) -> Path:
    """A config of this plant with a model for all assets; to learn a baseline takes a while."""
    bundle, modelled = folder / "models" / "bench", [f"s{number}" for number in range(8)]
    if is_learned:
        make_baseline(bundle, assets, hop=16, length=64, step_s=0.1)
    else:
        mean_bundle(bundle, modelled, length=16, step_s=0.1, threshold=1e6)
    signals: dict[str, dict[str, object]] = {f"s{number}": {} for number in range(SIGNALS)}
    signals[WATCHED] = {"valid": [0, 100]}
    topic = {"topic": "plant/{asset}", "qos": 0, "payload": {"time": "ts"}}
    url = f"mqtt://127.0.0.1:{port}"
    config = {
        "gateway": {"id": "flow"},
        "models_dir": "models",
        "store": {"path": "store.db"},
        "http": {"port": find_free_port()},
        "alarms": {"flood_limit": 10_000},
        "tuning": {"score_interval": "1s", **tuning},
        "sources": {"plant": {"type": "mqtt", "url": url, "subscribe": [topic]}},
        "sinks": {"bus": {"type": "mqtt", "url": url}},
        "templates": {
            "machine": {
                "signals": signals,
                "quality_alarm": {"on_delay": "0s", "off_delay": "0s"},
                "models": [{"bundle": "bench", "inputs": {name: name for name in modelled}}],
            }
        },
        "assets": {name_of(number): {"template": "machine"} for number in range(assets)},
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


class PatchedDaemon(DaemonProcess):
    """The daemon, changed by functions of `unprotected.py`."""

    def __init__(self, config: Path, patches: Sequence[str], **environment: str) -> None:
        super().__init__(config)
        self._environment |= environment
        if patches:
            at = self._command.index("run")
            self._command[1:at] = ["-m", "scripts.rigs.faults.unprotected", ",".join(patches)]


class Flow:
    """Sends values until the end of the `with`; `faulty` is the asset out of range, or -1."""

    def __init__(self, port: int, shape: Shape) -> None:
        self._rate = multiprocessing.Value("d", shape.hz)
        self._faulty = multiprocessing.Value("i", -1)
        self._sent = multiprocessing.Value("q", 0)
        self._over = multiprocessing.Event()
        self._process = multiprocessing.Process(
            target=_send,
            args=(port, shape.assets, self._rate, self._faulty, self._sent, self._over),
            daemon=True,
        )

    @property
    def sent(self) -> int:
        """Values so far."""
        return int(self._sent.value)

    def break_asset(self, asset: int) -> None:
        """Let the watched signal of this asset leave its range; -1: of none."""
        self._faulty.value = asset

    def set_hz(self, hz: float) -> None:
        """Send each asset's values so often a second from now on; 0 pauses."""
        self._rate.value = hz

    def __enter__(self) -> Self:
        self._process.start()
        time.sleep(_FIRST_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._process.join(10)


class _Shared:
    """What mypy needs to know of multiprocessing's values."""

    value: float


def _send(
    port: int,
    assets: int,
    hz: _Shared,
    faulty: _Shared,
    sent: _Shared,
    over: multiprocessing.synchronize.Event,
) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_queued_messages_set(0)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    tick, due_s = 0, time.monotonic()
    while not over.is_set():
        wait_s = due_s - time.monotonic()
        if hz.value <= 0 or wait_s > 0:
            time.sleep(min(max(wait_s, 0.001), 0.1))
            due_s = due_s if hz.value > 0 else time.monotonic()
            continue
        due_s = max(due_s + 1 / hz.value, time.monotonic() - 1.0)
        now_ms = time.time_ns() // 1_000_000
        for asset in range(assets):
            body = _body(now_ms, tick, asset, is_faulty=asset == int(faulty.value))
            if client.publish(f"plant/{name_of(asset)}", body).rc == mqtt.MQTT_ERR_SUCCESS:
                sent.value += SIGNALS
        tick += 1
    time.sleep(1.0)
    client.loop_stop()
    client.disconnect()


def _body(now_ms: int, tick: int, asset: int, *, is_faulty: bool) -> str:
    """JSON; each signal moves by half a unit around its level."""
    moved = ((tick * 7919 + asset * 104_729) % 1000) / 1000 - 0.5
    values = (f'"s{n}":{20.5 + n + moved:.3f}' for n in range(SIGNALS - 1))
    watched = 250 if is_faulty else 50 + moved
    return f'{{"ts":{now_ms},{",".join(values)},"{WATCHED}":{watched}}}'
