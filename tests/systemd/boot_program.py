"""Stands in for `edge-agent` under a booted systemd: all that the daemon asks of its sandbox.

Imports everything, runs a model, writes the store's file, forks a child with a memory limit, serves
HTTP, then notifies. A file `exit` in the state directory holds the code to leave with.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import aiohttp.web
import asyncua
import numpy as np
import onnx
import onnxruntime
import orjson
import paho.mqtt.client
import yaml
from status_support import plant_of, serving

from edge_agent.config.settings import Runtime
from edge_agent.learning import Recipe
from edge_agent.learning.fit_child import run_recipe
from edge_agent.models import InputSpec, Isolation, SessionRegistry
from edge_agent.ops import logs, notify
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import mean_bundle, tiny_graph

NOW_US = 1_767_225_600_000_000
COMMAND = """
import http.client, socket
one = http.client.HTTPConnection("localhost")
one.sock = socket.socket(socket.AF_UNIX)
one.sock.connect("/run/edge-agent/http-9460.sock")
head = {"Content-Type": "application/json"}
one.request("POST", "/api/alarms/P-042.model/shelve", '{"by": "x", "duration_s": 1}', head)
print(one.getresponse().status)
"""
LIBRARIES = (aiohttp, asyncua, onnxruntime, orjson, paho, yaml)


def run_model() -> float:
    """One matrix product in ONNX Runtime, on two threads so that it sets affinities."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = {"w": np.ones((64, 64), np.float32)}
    model = tiny_graph([node], {"x": ("n", 64)}, {"y": ("n", 64)}, weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return float(session.run(None, {"x": np.ones((3, 64), np.float32)})[0].sum())


def run_isolated_model() -> None:
    """In a process of its own, which is killed first if memory is short."""
    mean_bundle(Path("models/watch"), ["flow"], length=4)
    metrics = Metrics()
    isolation = Isolation(metrics)
    model = SessionRegistry(Path("models"), Runtime(), metrics, isolation=isolation).load("watch")
    assert model.is_isolated
    assert model.infer({"x": np.ones((1, 4, 1), np.float32)}).score.tolist() == [1.0]
    isolation.close()


async def learn() -> None:
    """A baseline, in the child process that lowers its own priority."""
    rows = {"P-1": np.random.default_rng(0).standard_normal((600, 2)).astype(np.float32)}
    inputs = InputSpec("flow"), InputSpec("pressure")
    manifest, refused = await run_recipe(rows, Recipe("learned", inputs), Path("models"), NOW_US)
    assert (manifest.units, refused) == (("P-1",), {})


def use_the_sandbox() -> None:
    """Everything but the network; an exception ends the program with 1."""
    assert run_model() == 3 * 64 * 64
    with sqlite3.connect("probe.db") as store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE IF NOT EXISTS t (a)")
    limit = "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 30, 1 << 30))"
    subprocess.run([sys.executable, "-c", limit], check=True)
    assert socket.getaddrinfo("127.0.0.1", 1883)
    run_isolated_model()
    asyncio.run(learn())
    for forbidden in ("/etc/edge-agent.probe", "/usr/edge-agent.probe"):
        try:
            Path(forbidden).write_text("x")
        except OSError:
            continue
        raise AssertionError(forbidden)


async def serve() -> None:
    """Like the daemon: ready, a reload at each SIGHUP, an end at SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    async with serving(plant_of(50), port=9460, group=grp.getgrgid(os.getgid()).gr_name):
        notify.status(f"uid {os.getuid()}, watchdog every {notify.watchdog_interval_s()} s")
        notify.ready()
        while not stop.is_set():  # on a busy machine the probe takes longer than the watchdog
            notify.watchdog()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
    notify.stopping()


def reload() -> None:
    """Tell systemd, and leave a trace."""
    notify.reloading()
    Path("reloaded").touch()
    notify.ready()


def command_as(uid: int, gid: int, groups: list[int]) -> str:
    """The status of a command over the unit's socket, given by this user."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        user=uid,
        group=gid,
        extra_groups=groups,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr[-200:]


def command_as_each() -> str:
    """Root, the service's user, a member of its group, and somebody else."""
    service = pwd.getpwnam("edge-agent")
    users = {
        "root": (0, 0, []),
        "service": (service.pw_uid, service.pw_gid, []),
        "member": (4000, 4000, [service.pw_gid]),
        "other": (4001, 4001, []),
    }
    return " ".join(f"{name} {command_as(*ids)}" for name, ids in users.items())


if __name__ == "__main__":
    if sys.argv[1] == "command":
        sys.stdout.write(command_as_each())
        sys.exit(0)
    if sys.argv[1] == "check":
        sys.exit(78 if Path("broken").exists() else 0)
    if Path("exit").exists():
        sys.exit(int(Path("exit").read_text()))
    logs.setup("info")
    use_the_sandbox()
    asyncio.run(serve())
