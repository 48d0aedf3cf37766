"""A daemon and an inference server that fails: whether a window is lost, doubled or wrong.

Two models score the same assets: `remote` runs on the server, `local` on the gateway.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import (
    DaemonProcess,
    Mosquitto,
    Program,
    find_free_port,
    is_listening,
    mean_bundle,
    wait_until,
)
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STEP_MS: Final = 100
LENGTH: Final = 8
ASSETS: Final = ("P-1", "P-2")
INPUTS: Final = ("flow", "pressure")
REMOTE, LOCAL = "remote", "local"
CLOSE: Final = 1e-3
WAIT_S: Final = 90.0


class ProcessHost:
    """A server in a process of its own: stopped, killed, or (that of `oip_server`) wrong."""

    def __init__(self, program: Program, url: str) -> None:
        self.url = url
        self._program = program
        self._fault = ""

    def fail(self, fault: str) -> None:
        """`sigkill`, `sigstop`, or a key of `oip_server.MODES`."""
        self._fault = fault
        if fault == "sigkill":
            self._program.kill()
        elif fault == "sigstop":
            self._program.process.send_signal(signal.SIGSTOP)
        else:
            self._set_mode(fault)

    def mend(self) -> None:
        """SIGCONT, a new process, or right answers."""
        if self._fault == "sigkill":
            self._program.start()
        elif self._fault == "sigstop":
            self._program.process.send_signal(signal.SIGCONT)
        else:
            self._set_mode("good")

    def _set_mode(self, mode: str) -> None:
        with urllib.request.urlopen(f"{self.url}/mode", mode.encode(), timeout=10):
            pass


class FakeProgram(Program):
    """`oip_server` as a process."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.port = find_free_port()
        command = [sys.executable, "-m", "scripts.rigs.oip_server", str(bundle), str(self.port)]
        super().__init__(command, folder / "oip_server.log", PYTHONPATH=str(ROOT))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        """True if it accepts connections."""
        return is_listening(self.port)


def level(asset: int, row: int) -> float:
    """What both signals of an asset are in a row: every window has another mean."""
    return round(3 + asset + float(np.sin(row / 7)) + row % 5 / 10, 4)


@dataclass(slots=True)
class Told:
    """What the gateway published. scores: by model, asset and row; delays_ms: by model."""

    scores: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    delays_ms: dict[str, list[float]] = field(default_factory=dict)

    def problems(self, rows: int) -> list[str]:
        """Windows that were lost or told twice, or have another score than their mean."""
        found: Counter[str] = Counter()
        for model in (REMOTE, LOCAL):
            for number, asset in enumerate(ASSETS):
                for row in range(LENGTH - 1, rows):
                    told = self.scores.get((model, asset, row), [])
                    wanted = np.mean([level(number, n) for n in range(row - LENGTH + 1, row + 1)])
                    found[f"{model}: lost"] += not told
                    found[f"{model}: told twice"] += len(told) > 1
                    wrong = any(abs(one - wanted) > CLOSE for one in told)
                    found[f"{model}: wrong"] += wrong
        return [f"{what} {n}" for what, n in found.items() if n]


class RemotePlant:
    """The daemon with its broker, fed in real time from `__enter__` on; blocking.

    remote: entries of the config's `remote`, by name.
    """

    def __init__(self, folder: Path, remote: dict[str, Any]) -> None:
        self.folder = folder
        self.told = Told()
        self.rows = 0
        self._broker = Mosquitto(folder)
        self._remote = remote
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self._broker.start()
        path = self.folder / "edge-agent.yaml"
        path.write_text(yaml.safe_dump(self._config()))
        self.daemon = DaemonProcess(path)
        self.daemon.start()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", int(self._broker.url.rsplit(":", 1)[1]))
        self._client.subscribe("edge/#")
        self._client.loop_start()
        wait_until(lambda: self.daemon.metric("source_up") == 1, WAIT_S, "the source")
        self._begin_ms = time.time_ns() // 1_000_000 // STEP_MS * STEP_MS
        self._feeding = threading.Thread(target=self._feed, daemon=True)
        self._feeding.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._feeding.join()
        self._client.loop_stop()
        self.daemon.stop()
        self._broker.stop()

    def finish(self) -> list[str]:
        """Stop the feed, wait for the last windows; the problems of all of them."""
        self._is_over.set()
        self._feeding.join()
        deadline_s = time.monotonic() + 10
        while self.told.problems(self.rows) and time.monotonic() < deadline_s:
            time.sleep(0.2)
        return self.told.problems(self.rows)

    def windows(self, place: str) -> float:
        """Windows of `remote` that were scored there."""
        return self.daemon.metric("model_remote_windows_total", f'place="{place}"')

    def is_alarm(self) -> bool:
        """True if the service alarm of the server is active."""
        rows = json.loads(self.daemon.ask("/api/alarms") or b"[]")
        rows = rows if isinstance(rows, list) else rows.get("alarms", rows.get("rows", []))
        mine = [one for one in rows if ".service.model_remote." in one["alarm_id"]]
        return any(one["state"] in {"unack", "acked"} for one in mine)

    def live_through(
        self, host: ProcessHost, fault: str, settle_s: float = 0.0, *, is_alone: bool = False
    ) -> dict[str, float]:
        """One fault: seconds until the first local window, the alarm and the first remote one.

        settle_s: before it; is_alone: also wait for the end of the alarm of the fault before.
        """
        time.sleep(settle_s)
        if is_alone:
            wait_until(lambda: not self.is_alarm(), WAIT_S, "the end of the alarm before it")
        before, begin_s = self.windows("local"), time.monotonic()
        host.fail(fault)
        wait_until(lambda: self.windows("local") > before, WAIT_S, f"{fault}: a local window")
        local_s = time.monotonic() - begin_s
        wait_until(self.is_alarm, WAIT_S, f"{fault}: the alarm")
        alarm_s = time.monotonic() - begin_s
        before, begin_s = self.windows("remote"), time.monotonic()
        host.mend()
        wait_until(lambda: self.windows("remote") > before, WAIT_S, f"{fault}: the return")
        return {"local": local_s, "alarm": alarm_s, "return": time.monotonic() - begin_s}

    def wait_used(self) -> None:
        """Wait until the server scores windows."""
        wait_until(lambda: self.windows("remote") > 0, WAIT_S, "windows at the server")

    def _config(self) -> dict[str, Any]:
        return {
            "gateway": {"id": "gateway"},
            "models_dir": str(self.folder / "models"),
            "store": {"path": str(self.folder / "store.db")},
            "http": {"port": find_free_port()},
            "tuning": {"score_interval": "0s"},
            "remote": self._remote,
            "sources": {
                "plant": {
                    "type": "mqtt",
                    "url": self._broker.url,
                    "subscribe": [
                        {"topic": "plant/{asset}", "template": "pump", "payload": {"time": "ts"}}
                    ],
                }
            },
            "sinks": {"bus": {"type": "mqtt", "url": self._broker.url}},
            "templates": {
                "pump": {
                    "signals": {name: {} for name in INPUTS},
                    "models": [{"bundle": name} for name in (REMOTE, LOCAL)],
                }
            },
            "assets": {asset: {"template": "pump"} for asset in ASSETS},
        }

    def _feed(self) -> None:
        while not self._is_over.is_set():
            due_ms = self._begin_ms + self.rows * STEP_MS
            time.sleep(max(0.0, due_ms / 1e3 - time.time()))
            for number, asset in enumerate(ASSETS):
                row = dict.fromkeys(INPUTS, level(number, self.rows))
                self._client.publish(f"plant/{asset}", json.dumps({"ts": due_ms, **row}), qos=1)
            self.rows += 1

    def _heard(self, _: object, __: object, message: mqtt.MQTTMessage) -> None:
        *_, kind, model = message.topic.split("/")
        if kind != "score":
            return
        row = json.loads(message.payload)
        number = round((row["ts"] - self._begin_ms) / STEP_MS)
        with self._lock:
            self.told.scores.setdefault((model, row["asset"], number), []).append(row["score"])
            delay_ms = time.time_ns() / 1e6 - row["ts"]
            self.told.delays_ms.setdefault(model, []).append(delay_ms)


def write_models(folder: Path) -> Path:
    """The bundles `remote` and `local`; returns the first."""
    for name in (REMOTE, LOCAL):
        mean_bundle(folder / "models" / name, INPUTS, length=LENGTH, step_s=STEP_MS / 1000)
    return folder / "models" / REMOTE


def site_of(urls: Sequence[str], **more: Any) -> dict[str, Any]:  # noqa: ANN401 (of the config)
    """The config's `remote` for these URLs."""
    return {"site": {"urls": [*urls], "bundles": [REMOTE], **more}}
