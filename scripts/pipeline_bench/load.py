"""The load of a benchmark: a publisher in its own process, which also receives the scores."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SIGNALS = 8
_MAX_WAITING = 2000  # packets


@dataclass
class Done:
    """The measurements of a load."""

    values: int
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Values per second."""
        return self.values / self.seconds

    def latency_ms(self, quantile: float) -> float:
        """A quantile of the latencies."""
        found = sorted(self.latencies_ms)
        return found[int((len(found) - 1) * quantile)] if found else float("nan")


class Load:
    """Publishes values of many assets from its own process, and receives their scores."""

    def __init__(self, port: int, shape: str, *, assets: int, rate: float) -> None:
        self._args = (port, shape, assets, rate)
        self._ticks = 0

    def warm_up(self) -> None:
        """Make the daemon discover the assets."""
        self.run(2.0)

    def run(self, seconds: float) -> Done:
        """Publish for this time; returns the measurements."""
        here, there = multiprocessing.Pipe()
        work = (*self._args, seconds, self._ticks, there)
        process = multiprocessing.Process(target=_publish, args=work)
        process.start()
        done: Done
        done, self._ticks = here.recv()
        process.join()
        return done


def _publish(
    port: int, shape: str, assets: int, rate: float, seconds: float, tick: int, out: Connection
) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
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
    """Time stamps at the pace of the load; at full speed, 10 ms per row from the past on."""
    if rate:
        return _BEGAN_MS + round(tick * 1000 * assets * SIGNALS / rate)
    return _BEGAN_MS - 3_600_000 + tick * 10


def payloads(topic: str, ts: int, number: int, shape: str) -> list[tuple[str, bytes]]:
    """Topics and payloads of one row of an asset."""
    row = {f"s{i}": 20 + i + ((number * 7919 + i * 104_729) % 1000) / 1000 for i in range(SIGNALS)}
    if shape == "asset":
        return [(topic, orjson.dumps({"ts": ts, **row}))]
    return [(f"{topic}/{k}", orjson.dumps({"ts": ts, "value": v})) for k, v in row.items()]
