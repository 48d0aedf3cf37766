"""What a benchmark needs beside the daemon: a broker, a load, and the daemon in its own process."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import orjson
import paho.mqtt.client as mqtt
import psutil

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = 8
_MAX_WAITING = 2000  # packets


def free_port() -> int:
    """A TCP port of the loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto of our own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nlog_type error\n"
            "max_queued_messages 0\nset_tcp_nodelay true\nuser root\n"
        )

    def __enter__(self) -> Self:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            sys.exit("mosquitto is not installed (apt-get install mosquitto)")
        self._process = subprocess.Popen([program, "-c", str(self._config)])
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        sys.exit("mosquitto did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


class DaemonProcess:
    """`edge-agent run` as a child; entered when it is ready."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._url = f"http://127.0.0.1:{_http_port(config)}"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "edge_agent", "run", "-c", str(self._config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, env=environment)
        self._ps = psutil.Process(self._process.pid)
        for _ in range(600):
            if self._process.poll() is not None:
                sys.exit("the daemon ended at once")
            try:
                with urllib.request.urlopen(f"{self._url}/health/ready", timeout=1):
                    return self
            except OSError:
                time.sleep(0.05)
        sys.exit("the daemon did not become ready")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def cpu_s(self) -> float:
        """User and system time so far."""
        times = self._ps.cpu_times()
        return times.user + times.system

    def peak_mib(self) -> float:
        """The largest resident set so far."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def windows(self) -> float:
        """Windows scored so far."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        scored = [x for x in lines if x.startswith("edge_agent_windows_total") and '"scored"' in x]
        return sum(float(line.rsplit(" ", 1)[1]) for line in scored)


def _http_port(config: Path) -> str:
    line = next(x for x in config.read_text().splitlines() if x.startswith("http:"))
    return line.split("port:")[1].strip(" }")


@dataclass
class Done:
    """What a load measured."""

    values: int
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Values a second."""
        return self.values / self.seconds

    def latency_ms(self, quantile: float) -> float:
        """A quantile of the latencies."""
        found = sorted(self.latencies_ms)
        return found[int((len(found) - 1) * quantile)] if found else float("nan")


class Load:
    """Publishes values of many assets from a process of its own, and listens to their scores."""

    def __init__(self, port: int, shape: str, *, assets: int, rate: float) -> None:
        self._args = (port, shape, assets, rate)
        self._ticks = 0

    def warm_up(self) -> None:
        """Make the daemon discover the assets."""
        self.run(2.0)

    def run(self, seconds: float) -> Done:
        """Publish for so long; gives what was measured."""
        here, there = multiprocessing.Pipe()
        work = (*self._args, seconds, self._ticks, there)
        process = multiprocessing.Process(target=_publish, args=work)
        process.start()
        done, self._ticks = here.recv()
        process.join()
        return done


def _publish(
    port: int, shape: str, assets: int, rate: float, seconds: float, tick: int, out: Connection
) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_queued_messages_set(0)
    sent: dict[tuple[str, int], float] = {}
    latencies: list[float] = []

    def heard(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        score = orjson.loads(message.payload)
        begin = sent.pop((score["asset"], score["ts"]), None)
        if begin is not None:
            latencies.append((time.perf_counter() - begin) * 1e3)

    client.on_message = heard
    client.connect("127.0.0.1", port)
    client.subscribe("edge/+/+/+/+/+/_pdm/score/#")
    client.loop_start()
    time.sleep(0.3)
    topics = [f"plant/line1/a{number:03d}" for number in range(assets)]
    begin = time.perf_counter()
    values = 0
    while (now := time.perf_counter() - begin) < seconds:
        if rate and values > rate * now:
            time.sleep(0.0005)
            continue
        if not rate and len(client._out_packet) > _MAX_WAITING:  # noqa: SLF001 - paho's own queue
            time.sleep(0.0005)
            continue
        asset = (values // SIGNALS) % assets
        ts = _time_of(tick + values // SIGNALS // assets, rate, assets)
        for topic, payload in payloads(topics[asset], ts, values, shape):
            client.publish(topic, payload)
        sent[f"a{asset:03d}", ts] = time.perf_counter()
        values += SIGNALS
    took = time.perf_counter() - begin
    time.sleep(1.0)
    client.loop_stop()
    client.disconnect()
    ticks = tick + values // SIGNALS // assets + 1
    out.send((Done(values, took, latencies), ticks))


_BEGAN_MS = int(time.time() * 1000)


def _time_of(tick: int, rate: float, assets: int) -> int:
    """Time stamps at the pace of the load; flat out they advance 10 ms a row, from the past."""
    if rate:
        return _BEGAN_MS + round(tick * 1000 * assets * SIGNALS / rate)
    return _BEGAN_MS - 3_600_000 + tick * 10


def payloads(topic: str, ts: int, number: int, shape: str) -> list[tuple[str, bytes]]:
    """Topics and payloads of one row of an asset."""
    row = {f"s{i}": 20 + i + ((number * 7919 + i * 104_729) % 1000) / 1000 for i in range(SIGNALS)}
    if shape == "asset":
        return [(topic, orjson.dumps({"ts": ts, **row}))]
    return [(f"{topic}/{k}", orjson.dumps({"ts": ts, "value": v})) for k, v in row.items()]
