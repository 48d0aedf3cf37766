"""A bundle on inference servers: the same alarms as here, its times, and every way to fail.

    scripts/remote-engines                                  # against our own small server
    scripts/remote-engines --triton VENV --mlserver VENV --kserve VENV
    scripts/remote-engines --only faults --kills 50         # one part alone

replay   recordings of SKAB by the graph here and on each server: the transitions must be equal, and
         every window be scored there. Control: a server with another model, unchecked, must differ.
times    runs on the server and here in turns: the median that a server adds (at most 2 ms by REST
         with raw tensors).
faults   a daemon with two models, one of them on the server, fed in real time: SIGSTOP, SIGKILL,
         and each wrong answer of `scripts/rigs/oip_server.py`. No window may be lost, doubled or
         have another score than its own; the alarm must come, and the server return by itself.
         Control: a lost, a doubled and a wrong window must be found.

The environments: see `scripts/foreign-servers --help`, and for KServe

    python3 -m venv K; K/bin/pip install kserve==0.21.0 onnxruntime

Exit code 1 if a promise is broken, or a control finds nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import mock

import numpy as np
import yaml

from edge_agent.cli import main as edge_agent
from edge_agent.config.settings import RemoteServer, Runtime, Trust
from edge_agent.config.types import Duration
from edge_agent.daemon import Replay
from edge_agent.daemon.tables import load_config
from edge_agent.models import RemoteAccess, SessionRegistry
from edge_agent.models.runtime import remote_server
from edge_agent.ops.metrics import Metrics
from edge_agent.sources.replay import Playback, ReplayConfig
from edge_agent.testing import wait_until
from scripts.foreign_servers import START_S, Server
from scripts.rigs import find_data
from scripts.rigs.oip_server import MODES, OipServer, served_bundle
from scripts.rigs.remote_plant import (
    LOCAL,
    REMOTE,
    FakeProgram,
    ProcessHost,
    RemotePlant,
    site_of,
    write_models,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.testing import Program

    Transitions = list[tuple[str, str, int]]

RECORDINGS: Final = ("valve1/0", "valve1/3", "valve2/0", "other/1", "other/9", "other/13")
HEALTHY_ROWS: Final = 400
ADDED_MS: Final = 2.0
RUNS: Final = 400
TIMEOUT: Final = "500ms"  # JSON on a busy machine takes longer than the default of 40 ms
SETTLE_S: Final = 11.0  # a server that fails again sooner is probed less often
_BINARY: Final = ("triton", "ours")  # they list raw tensors; JSON and Python's gRPC take longer
_ALONE: Final = ("nan", "hang")  # their alarms are awaited from the beginning to the end
SHARE: Final = 0.99  # of the windows that a server must score
_SIGNAL: Final = re.compile(r"\W")


# -- servers --------------------------------------------------------------------------------------


def servers_of(args: argparse.Namespace, folder: Path, stack: ExitStack) -> dict[str, Program]:
    """The servers of the bundles in `folder / "models"`, started; by name."""
    bundles = list((folder / "models").iterdir())
    found: dict[str, Program] = {}
    for name in ("triton", "mlserver", "kserve"):
        if getattr(args, name):
            os.environ[f"{name.upper()}_VENV"] = str(Path(getattr(args, name)).absolute())
            found[name] = Server(name, folder / name, core=1)
    for bundle in bundles[:1]:
        found["ours"] = FakeProgram(bundle, folder)
    for server in found.values():
        server.start(wait=False)
        stack.callback(server.kill)
        wait_until(server.is_ready, START_S, "the server")
    return found


def urls_of(server: Program) -> list[str]:
    """Its URLs of REST and, of a foreign server, of gRPC."""
    if isinstance(server, FakeProgram):
        return [server.url]
    if not isinstance(server, Server):
        raise TypeError(server)
    return [f"http://127.0.0.1:{server.http}", f"grpc://127.0.0.1:{server.grpc}"]


# -- replay ---------------------------------------------------------------------------------------


def check_replay(args: argparse.Namespace) -> list[str]:
    """SKAB on each server; the problems."""
    data = find_data("skab")
    if data is None:
        print("replay: no recordings of SKAB: left out")
        return []
    problems: list[str] = []
    for name in RECORDINGS:
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
            folder = Path(scratch)
            recording = data / f"{name}.csv"
            path = learned_site(folder, recording)
            wanted, _, windows = replayed(path, recording, [])
            for kind, server in servers_of(args, folder, stack).items():
                for url in urls_of(server):
                    found, there, _ = replayed(path, recording, [url])
                    form = url.partition(":")[0]
                    is_equal = found == wanted and there >= SHARE * windows
                    print(
                        f"replay {name} {kind} {form}: {len(found)} transitions, "
                        f"{'equal' if found == wanted else 'OTHERS THAN HERE'}; "
                        f"{there:.0f} of {windows:.0f} windows there",
                        flush=True,
                    )
                    if not is_equal:
                        problems.append(f"replay {name} {kind} {form}")
            problems += control_of_replay(path, folder, recording, wanted)
    return problems


def control_of_replay(path: Path, folder: Path, recording: Path, wanted: Transitions) -> list[str]:
    """Another model on the server, without our checks: the transitions must differ."""
    (bundle,) = (folder / "models").iterdir()
    server = OipServer(served_bundle(bundle))
    server.served.mode = "wrong_values"
    with mock.patch.object(remote_server.Checks, "_compare", return_value=None):
        found, _, _ = replayed(path, recording, [server.url])
    checked, there, _ = replayed(path, recording, [server.url])
    server.stop()
    print(
        f"control: another model, unchecked: differs {found != wanted}; checked: {there:.0f} used"
    )
    return [] if found != wanted and checked == wanted and not there else ["control of replay"]


def learned_site(folder: Path, recording: Path) -> Path:
    """A config whose one asset has learned the healthy beginning of a recording."""
    names = recording.read_text().splitlines()[0].split(";")[1:-2]
    signals = {_SIGNAL.sub("_", name): {"address": name} for name in names}
    learn = {"step": "1s", "follow": {"budget": 0}}
    config = {
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "sources": {"files": {"type": "replay", "path": str(recording)}},
        "sinks": {"lines": {"type": "log"}},
        "templates": {"skab": {"signals": signals, "learn": learn}},
        "assets": {"S-1": {"template": "skab"}},
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    healthy = folder / "healthy.csv"
    lines = recording.read_text().splitlines(keepends=True)
    healthy.write_text("".join(lines[: 1 + HEALTHY_ROWS]))
    words = ["learn", "-c", str(path), "--asset", "S-1", "--input", str(healthy)]
    if edge_agent(words):
        raise SystemExit(f"{recording} cannot be learned")
    return path


def replayed(path: Path, recording: Path, urls: list[str]) -> tuple[Transitions, float, float]:
    """The transitions of a recording; its windows that a server scored, and all of them."""
    config = load_config(path)
    if urls:
        raw = yaml.safe_load(path.read_text())
        raw["remote"] = {"site": {"urls": urls, "bundles": ["*"], "timeout": "500ms"}}
        changed = path.with_name("remote.yaml")
        changed.write_text(yaml.safe_dump(raw))
        config = load_config(changed)
    replay = asyncio.run(Replay.load(config, remote=bool(urls)))
    source = ReplayConfig(path=recording, asset="S-1")
    playback = Playback(source, replay.runtime.plant, quiet=True, sources=config.sources)
    found: Transitions = []
    windows = 0
    for step in replay.walk(playback.readings()):
        windows += step.windows
        found += [(str(one.kind), one.alarm.alarm_id, one.at_us) for one in step.transitions]
    replay.close()
    return found, windows_there(replay.metrics), windows


def windows_there(metrics: Metrics) -> float:
    """The windows that servers scored."""
    rows = next(iter(metrics.model_remote_windows.collect())).samples
    return sum(one.value for one in rows if one.labels.get("place") == "remote")


# -- times ----------------------------------------------------------------------------------------


def check_times(args: argparse.Namespace) -> list[str]:
    """The median time of a run of one window here and on each server, in turns."""
    problems = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        bundle = folder / "models" / "demo-pump"
        shutil.copytree(Path("models") / "demo-pump", bundle)
        for kind, server in servers_of(args, folder, stack).items():
            for url in urls_of(server):
                here_ms, there_ms = times_of(folder / "models", url)
                added, form = there_ms - here_ms, url.partition(":")[0]
                print(
                    f"times {kind} {form}: here {here_ms:.2f} ms, there {there_ms:.2f} ms "
                    f"(median of {RUNS}): {added:.2f} ms more, {there_ms / here_ms:.1f} x",
                    flush=True,
                )
                if added > ADDED_MS and kind in _BINARY and form == "http":
                    problems.append(f"times {kind} {form}: {added:.2f} ms")
    return problems


def times_of(models: Path, url: str) -> tuple[float, float]:
    """Median milliseconds of a run here, in a process of its own as is usual, and there."""
    server = RemoteServer((url,), ("*",), timeout=Duration(1.0))
    access = RemoteAccess((server,), is_patient=True)
    trust = Trust(allow_unsigned=("*",))
    metrics = Metrics()
    registry = SessionRegistry(models, Runtime(), metrics, trust, remote=access)
    model = registry.load("demo-pump")
    remote = model.remote
    if remote is None:
        raise SystemExit(f"{url} is not used")
    wait_until(lambda: not remote.trouble, 30, f"{url}: {remote.trouble}")
    shape = (1, *model.manifest.tensors()["x"][1])
    x = {"x": np.random.default_rng(0).random(shape, np.float32)}
    took: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(RUNS):
        for there in (True, False):
            begin_s = time.perf_counter()
            if there:
                model.infer(x)
            else:
                model.infer_here(x)
            took[there].append((time.perf_counter() - begin_s) * 1e3)
            time.sleep(0.002)
    remote.close()
    if windows_there(metrics) < RUNS:
        raise SystemExit(f"{url}: some runs were not scored there")
    return statistics.median(took[False]), statistics.median(took[True])


# -- faults ---------------------------------------------------------------------------------------


def check_faults(args: argparse.Namespace) -> list[str]:
    """Every fault; the problems."""
    problems: list[str] = []
    for kind in ("ours", "triton", "mlserver", "kserve"):
        if kind == "ours" or getattr(args, kind):
            with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
                folder = Path(scratch)
                write_models(folder)
                server = only(args, kind, folder, stack)
                problems += faults_of(args, kind, server, folder)
    return problems


def only(args: argparse.Namespace, kind: str, folder: Path, stack: ExitStack) -> Program:
    """One of the servers, with the bundle `remote` alone."""
    there = folder / "there"
    shutil.copytree(folder / "models" / REMOTE, there / "models" / REMOTE)
    wished = argparse.Namespace(
        **{name: getattr(args, name) * (name == kind) for name in ("triton", "mlserver", "kserve")}
    )
    return servers_of(wished, there, stack)[kind]


def faults_of(args: argparse.Namespace, kind: str, server: Program, folder: Path) -> list[str]:
    """The faults of one server, one after the other, while windows flow."""
    host = ProcessHost(server, urls_of(server)[0])
    modes = [one for one in MODES if one != "wrong_values"] if kind == "ours" else []
    kills = args.kills if kind == args.killed else min(args.kills, 2)
    faults = ["sigstop", *modes, *["sigkill"] * kills]
    returns: list[float] = []
    with RemotePlant(folder, site_of([host.url], timeout=TIMEOUT)) as plant:
        plant.wait_used()
        for fault in faults:
            took = plant.live_through(host, fault, SETTLE_S, is_alone=fault in _ALONE)
            returns.append(took["return"])
            if fault != "sigkill" or len(returns) == len(faults):
                shown = ", ".join(f"{what} {s:.1f} s" for what, s in took.items())
                print(f"faults {kind} {fault}: {shown}", flush=True)
        problems = plant.finish()
        for model in (REMOTE, LOCAL):
            p50, p99, most = np.percentile(plant.told.delays_ms[model], (50, 99, 100))
            told = len(plant.told.delays_ms[model])
            print(
                f"faults {kind} {model}: {told} windows, told after {p50:.0f} ms (p50), "
                f"{p99:.0f} (p99), {most:.0f} (max)"
            )
        print(
            f"faults {kind}: {len(faults)} faults ({kills} SIGKILL), return after "
            f"{statistics.median(returns):.1f} s (median), {max(returns):.1f} (max); "
            f"{problems or 'no window lost, doubled or wrong'}",
            flush=True,
        )
        return [f"faults {kind}: {one}" for one in problems + control_of_faults(plant)]


def control_of_faults(plant: RemotePlant) -> list[str]:
    """A window that is lost, one that is doubled and one that is wrong must be found."""
    told = plant.told
    first, second, third = [key for key in told.scores if key[0] == REMOTE][:3]
    del told.scores[first]
    told.scores[second] *= 2
    told.scores[third][0] += 1
    found = told.problems(plant.rows)
    print(f"control: {', '.join(found)}")
    return [] if len(found) >= 3 else ["the control"]  # noqa: PLR2004 (one of each)


PARTS: Final[dict[str, Callable[[argparse.Namespace], list[str]]]] = {
    "replay": check_replay,
    "times": check_times,
    "faults": check_faults,
}


def main() -> int:
    """Run the parts; 1 if one of them finds a problem."""
    text, *_ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser("scripts/remote-engines", description=text)
    for name in ("triton", "mlserver", "kserve"):
        parser.add_argument(f"--{name}", default="", metavar="VENV")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--kills", type=int, default=3, help="SIGKILLs of the server --killed")
    parser.add_argument("--killed", default="ours", help="the others are killed twice")
    args = parser.parse_args()
    problems = [one for name in PARTS if args.only in {None, name} for one in PARTS[name](args)]
    for one in problems:
        print(f"NOT HELD: {one}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
