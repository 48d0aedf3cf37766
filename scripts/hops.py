"""Count calls and files that one MQTT value that raises an alarm passes inside `edge_agent`.

    scripts/hops [--json]    # the table
    scripts/hops --files     # and each file in the order of its first call, with its calls
    scripts/hops --calls     # and the chain of calls

The real daemon runs in this process with its own mosquitto, and a tiny real ONNX model
that scores the last 8 values of one signal. Each asset gets 20 healthy values, then one that
raises its alarm: a run. Each row shows its run with the fewest moves, because the daemon's timers
only add calls. A run is traced by `sys.setprofile` in all threads, from the message's arrival on:

calls      functions of the package that are entered; a coroutine or generator counts each time
           that it is resumed, comprehensions and lambdas count as functions
files      different files of these functions
moves      successive calls, in the order of time, whose files differ
committed  the COMMIT of the transaction that fills the outbox
delivered  the COMMIT of the transaction that deletes the last confirmed message from it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

import edge_agent
from edge_agent.daemon import Daemon, load_config
from edge_agent.testing import Mosquitto, mean_bundle
from edge_agent.values import BoundedIntake

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = f"{Path(edge_agent.__file__).parent}/"
CONFIG = """
gateway: {id: hops}
store: {path: store.db}
models_dir: models
http: {port: 0}
log: {level: warning}
tuning: {score_interval: 0s}
sources:
  plant:
    type: mqtt
    url: mqtt://127.0.0.1:PORT
    subscribe: [{topic: "plant/{asset}/{signal}", template: pump, payload: {time: ts}}]
sinks: {bus: {type: mqtt, url: "mqtt://127.0.0.1:PORT"}}
templates: {pump: {signals: {flow: {}}, models: [{bundle: watch}]}}
assets: {"P-{0..9}": {template: pump}}
"""
MANIFEST = """
{name: watch, version: "1", task: anomaly, inputs: [{name: flow, valid: [0, 10000]}], threshold: 50,
 outputs: {score: score}, window: {step_s: 0, length: 8, hop: 1}}
"""
ROWS = 20  # more than it takes to find after how long a signal is stale
ASSETS = [f"P-{n}" for n in range(10)]
PACK = "pack watch.onnx -o ."
INSTALL = "install watch-1.eab --activate --wait 1 --models-dir models --allow-unsigned watch"


class Event(NamedTuple):
    """A call of ours, or an SQL statement, which has no file. task: empty outside a task."""

    thread: int
    file: str
    name: str
    task: str = ""


events: list[Event] = []
sqlite_connect = sqlite3.connect


def count_call(frame: FrameType, event: str, _arg: object) -> None:
    """A profile function."""
    path = frame.f_code.co_filename
    if event == "call" and path.startswith(PACKAGE):
        file, name = path.removeprefix(PACKAGE), frame.f_code.co_qualname
        events.append(Event(threading.get_ident(), file, name, task_name()))


def task_name() -> str:
    """The name of the asyncio task that runs in this thread; empty if none does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # this thread has no event loop
        return ""
    return task.get_name() if task else ""


def connect(*args: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 (any of sqlite3's)
    """Replaces `sqlite3.connect`: statements become events."""
    db: sqlite3.Connection = sqlite_connect(*args, **options)
    db.set_trace_callback(lambda sql: events.append(Event(0, "", sql)))
    return db


def calls_until(statement: str, run: list[Event]) -> list[Event]:
    """The calls before the COMMIT that follows the last such statement; none if it is absent."""
    sql = [n for n, event in enumerate(run) if not event.file]
    last = max((n for n in sql if run[n].name.startswith(statement)), default=len(run))
    end = next((n for n in sql if n > last and run[n].name.startswith("COMMIT")), 0)
    return [event for event in run[:end] if event.file]


def without_next_reads(calls: list[Event]) -> list[Event]:
    """The calls without those of the source's reader after the value was taken from its intake.

    On a slow machine the event loop calls the reader for the next message meanwhile; from the
    intake on, all that follows the value runs in tasks.
    """
    taken = next(n for n, call in enumerate(calls) if call.name == BoundedIntake.drain.__qualname__)
    return calls[:taken] + [call for call in calls[taken:] if call.task]


def count(calls: list[Event]) -> dict[str, int]:
    """The table's counts of some calls."""
    moves = sum(a.file != b.file for a, b in pairwise(calls))
    return {"files": len({call.file for call in calls}), "moves": moves, "calls": len(calls)}


def write_site(port: int) -> None:
    """Write a config and its model, the mean of a window, to the working directory."""
    mean_bundle(Path("models/watch"), ["flow"], length=8, step_s=0.0, threshold=50.0)
    Path("edge-agent.yaml").write_text(CONFIG.replace("PORT", str(port)))


async def trace(port: int) -> list[list[Event]]:
    """The events of each run."""
    ready, config = asyncio.Event(), Path("edge-agent.yaml")
    daemon = Daemon(load_config(config), path=config)
    serving = asyncio.create_task(daemon.run(on_ready=ready))
    await ready.wait()
    bus = mqtt.Client(CallbackAPIVersion.VERSION2)
    bus.connect("127.0.0.1", port)
    bus.subscribe("edge/#")  # the daemon repeats an event without a subscriber
    bus.loop_start()
    begin_ms = time.time_ns() // 1_000_000 - 60_000

    async def run(asset: str, row: int, value: int, seconds: float) -> list[Event]:
        start = len(events)
        value_and_time = {"ts": begin_ms + 100 * row, "value": value}
        bus.publish(f"plant/{asset}/flow", json.dumps(value_and_time))
        await asyncio.sleep(seconds)
        return events[start:]

    await asyncio.sleep(2)  # until all are connected
    for row in range(ROWS):
        for asset in ASSETS:
            await run(asset, row, 10, 0.02)
    runs = [await run(asset, ROWS, 1000, 1.0) for asset in ASSETS]
    bus.loop_stop()
    daemon.stop()
    await serving
    return runs[1:]  # the first alarm is the warm-up


def measure() -> list[list[Event]]:
    """The events of each run, with a broker, in a fresh working directory."""
    with Mosquitto(Path.cwd()) as broker:
        try:
            write_site(broker.port)
            threading.setprofile(count_call)
            sys.setprofile(count_call)
            sqlite3.connect = connect  # type: ignore[assignment]  # it has overloads
            return asyncio.run(trace(broker.port))
        finally:
            sys.setprofile(None)


def main() -> int:
    """Print the selected tables; 1 if no alarm was delivered."""
    parser = argparse.ArgumentParser(
        prog="scripts/hops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for what in ("json", "files", "calls"):
        parser.add_argument(f"--{what}", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-hops.") as folder:
        os.chdir(folder)
        runs = [(calls_until("DELETE FROM outbox", run), run) for run in measure()]
    runs = [each for each in runs if each[0]]
    if not runs:
        sys.exit("no alarm was delivered")
    committed = [calls_until("INSERT INTO outbox", run) for _, run in runs]
    here = threading.get_ident()
    loop = [without_next_reads([call for call in run if call.thread == here]) for run in committed]
    delivered = [run for run, _ in runs]
    rows = {
        "until committed, on the event loop": loop,
        "until committed": committed,
        "until delivered": delivered,
    }
    table = {name: min(map(count, of), key=itemgetter("moves")) for name, of in rows.items()}
    if args.json:
        print(json.dumps(table))
        return 0
    print("| | files | moves | calls |\n| --- | --- | --- | --- |")
    for name, counts in table.items():
        print(f"| {name} | " + " | ".join(map(str, counts.values())) + " |")
    shortest = min(delivered, key=lambda run: count(run)["moves"])
    for file in dict.fromkeys(call.file for call in shortest) if args.files else ():
        print(f"{sum(call.file == file for call in shortest):5} {file}")
    for call in shortest if args.calls else ():
        print(f"{call.file}: {call.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
