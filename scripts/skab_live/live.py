"""SKAB through real servers: the live run of `scripts/skab-live`.

Every recording becomes an asset. Four of its channels go through a node-opcua server, four through
mosquitto, each value with its time stamp in the recording, all recordings in parallel.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.skab_live.plant import MQTT, OPCUA
from scripts.skab_live.rig import Daemon, Listener, OpcUaServer, Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto, Program
    from scripts.skab_live.plant import Options, Plant, Recorded

SETTLE_S = 60.0
HALT_EVERY_S = 10.0
TROUBLES = ("values_rejected", "values_dropped", "values_late", "source_reconnects")


@dataclass(frozen=True)
class Live:
    """The results of a live run.

    speed: recorded seconds per second, up to the last value; wanted, received: values
    by source; troubles: the daemon's metrics of lost, late and refused values.
    """

    events: list[bytes]
    scores: list[bytes]
    speed: float
    written: int
    wanted: dict[str, int]
    received: dict[str, int]
    troubles: dict[str, int]
    cpu_s: dict[str, float]


def live(plant: Plant, modules: Path, broker: Mosquitto, options: Options) -> Live:
    """Play the recordings through server, broker and daemon; returns the results."""
    listener, publisher = Listener(broker.port), Publisher(broker.port)
    first = {
        f"{one.asset}.{name}": (one.rows[0][1][name], one.first_ms)
        for one in plant.recordings
        for name in OPCUA
    }
    with OpcUaServer(modules, plant.folder, plant.opcua_port, first) as server:
        with Daemon(plant.config) as daemon:
            programs = {"daemon": daemon, "node-opcua": server, "mosquitto": broker}
            begin_s, own_s = time.monotonic(), time.process_time()
            with halting(programs.get(options.halted), options.halt_s):
                written = Counter(play(plant.recordings, options.speed, server, publisher))
            publisher.close()
            wanted = {"plc": server.changes(), "bus": written["bus"]}
            received = settled(daemon, wanted)
            seconds = time.monotonic() - begin_s
            cpu_s = {name: program.cpu_s() for name, program in programs.items()}
            cpu_s["player"] = time.process_time() - own_s
            troubles = {name: int(daemon.metric(f"{name}_total")) for name in TROUBLES}
        listener.close()
    span_s = max(one.span_ms for one in plant.recordings) / 1000
    return Live(
        listener.events,
        listener.scores,
        span_s / seconds,
        written.total(),
        wanted,
        received,
        {name: n for name, n in troubles.items() if n},
        cpu_s,
    )


def play(
    recordings: list[Recorded], speed: float, server: OpcUaServer, publisher: Publisher
) -> Iterator[str]:
    """Play all recordings in parallel, aligned at their middles; yields each value's source.

    So the shorter ones begin and end at most 16 s from the longest at 20 times their speed:
    less than the stale time of an MQTT signal. A row's values are sent one by one in
    a changing order, each in its own packet.
    """
    longest_ms = max(one.span_ms for one in recordings)
    due = [
        (at_ms - one.first_ms + (longest_ms - one.span_ms) / 2, one.asset, at_ms, values)
        for one in recordings
        for at_ms, values in one.rows
    ]
    due.sort(key=lambda row: row[0])
    order = random.Random(0)  # noqa: S311 - the same every time
    begin_s = time.monotonic()
    for offset_ms, asset, at_ms, values in due:
        wait_s = begin_s + offset_ms / 1000 / speed - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        for name in order.sample(list(values), len(values)):
            if name in MQTT:
                body = json.dumps({"value": values[name], "ts": at_ms}).encode()
                publisher.publish(f"skab/{asset}/{name}", body)
                yield "bus"
            else:
                server.write(f"{asset}.{name}", values[name], at_ms)
                yield "plc"


@contextmanager
def halting(program: Program | None, seconds: float) -> Iterator[None]:
    """Suspend the program for some seconds, every ten seconds."""
    over = threading.Event()

    def halt() -> None:
        while program is not None and not over.wait(HALT_EVERY_S):
            program.halt(seconds)

    thread = threading.Thread(target=halt)
    thread.start()
    yield
    over.set()
    thread.join()


def settled(daemon: Daemon, wanted: dict[str, int]) -> dict[str, int]:
    """Wait until the daemon has all values; returns their number by source."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        has = {one: int(daemon.metric("values_received_total", one)) for one in wanted}
        if time.monotonic() > deadline_s or all(has[one] >= n for one, n in wanted.items()):
            return has
        time.sleep(0.05)
