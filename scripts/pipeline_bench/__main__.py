"""Figures of the daemon on this machine, with its own mosquitto on the loopback.

    scripts/bench                 # everything, about three minutes
    scripts/bench --only fleet    # stages | models | broker | fleet | idle | inference | cameras |
                                  # predict

stages  CPU seconds per million values of each part of the path, in one process
models  cost of drift, explanations and a shadow, as ratios to the path without them
broker  values/s and CPU seconds per million values of the whole daemon, and the latency from a
        window's last value to its score on the bus
fleet   500 assets x 8 signals at 1 Hz: share of a core and memory
idle    start-up until ready, and CPU and memory without load
inference  the latency and CPU of the path with and without 100 requests/s of another program, and
           with questions and new manuals beside them, in
        turns: the medians of the ratios of neighbouring turns
cameras  the same for 500 assets with and without four cameras at five pictures a second
predict  how long the answers of POST /api/predict take, the first and the later ones
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.client import Client
from edge_agent.testing import DaemonProcess
from scripts.pipeline_bench.load import SIGNALS, Load
from scripts.pipeline_bench.model_costs import model_costs
from scripts.pipeline_bench.others import InferenceLoad, ManualLoad, OtherLoad, QuestionLoad
from scripts.pipeline_bench.site import (
    TABLE_INPUTS,
    TABLE_MODEL,
    broker,
    fleet_config,
    stages,
    table_config,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Print one table per section."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=sorted(SECTIONS), action="append")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of paced runs")
    args = parser.parse_args()
    for name in args.only or SECTIONS:
        print(f"\n## {name}")
        with tempfile.TemporaryDirectory(prefix="edge-agent-bench.") as folder:
            SECTIONS[name](Path(folder), args.seconds)
    return 0


def stages_section(folder: Path, _seconds: float) -> None:
    """CPU seconds per million values by stage."""
    print("| shape | stage | CPU s per million values |\n| --- | --- | --- |")
    for shape, stage, cost in stages(folder):
        print(f"| {shape} | {stage} | {cost:.2f} |")


def models_section(folder: Path, _seconds: float) -> None:
    """The cost of model functions beyond windows, inference and alarms."""
    print("| beside the bare path | CPU s per million values | ratio |\n| --- | --- | --- |")
    for case, cost, ratio in model_costs(folder):
        print(f"| {case} | {cost:.2f} | {ratio:.2f} |")


def broker_section(folder: Path, seconds: float) -> None:
    """The whole daemon behind a broker, at full speed and paced."""
    print("| shape | load | values/s | CPU s per million values | p50 ms | p95 ms | p99 ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for shape in ("signal", "asset"):
        for rate in (0.0, 5000.0):
            with broker(folder) as bus:
                config = fleet_config(folder, bus.port, shape, 50, hop=16, length=64, step_s=0.0)
                with DaemonProcess(config) as daemon:
                    load = Load(bus.port, shape, assets=50, rate=rate)
                    load.warm_up()
                    before = daemon.cpu_s()
                    done = load.run(seconds / 3)
                    cost = (daemon.cpu_s() - before) / done.values * 1e6
            p50, p95, p99 = (done.latency_ms(q) for q in (0.5, 0.95, 0.99))
            name = f"{rate:,.0f}/s" if rate else "flat out"
            latency = f"{p50:.1f} | {p95:.1f} | {p99:.1f}" if rate else "- | - | -"
            print(f"| {shape} | {name} | {done.rate:,.0f} | {cost:.1f} | {latency} |", flush=True)


def fleet_section(folder: Path, seconds: float) -> None:
    """500 equal assets, one value a second from each of their signals."""
    print("| shape | assets x signals | share of a core | RSS MiB (peak) | windows/s |")
    print("| --- | --- | --- | --- | --- |")
    for shape in ("signal", "asset"):
        with broker(folder) as bus:
            config = fleet_config(folder, bus.port, shape, 500, hop=1, length=64, step_s=1.0)
            with DaemonProcess(config) as daemon:
                load = Load(bus.port, shape, assets=500, rate=500.0 * SIGNALS)
                load.warm_up()
                load.run(70.0)  # until every window is full
                before, scored = daemon.cpu_s(), windows(daemon)
                load.run(seconds)
                share = (daemon.cpu_s() - before) / seconds
                rate = (windows(daemon) - scored) / seconds
                memory = daemon.peak_mib()
        print(f"| {shape} | 500 x {SIGNALS} | {share:.1%} | {memory:.0f} | {rate:.0f} |")


def windows(daemon: DaemonProcess) -> float:
    """Windows scored so far."""
    return daemon.metric("windows_total", '"scored"')


def idle_section(folder: Path, seconds: float) -> None:
    """A daemon with 500 assets and no data."""
    starts = []
    with broker(folder) as bus:
        config = fleet_config(folder, bus.port, "asset", 500, hop=1, length=64, step_s=1.0)
        for _ in range(3):
            begin = time.monotonic()
            with DaemonProcess(config):
                starts.append(time.monotonic() - begin)
        with DaemonProcess(config) as daemon:
            before = daemon.cpu_s()
            time.sleep(seconds)
            share = (daemon.cpu_s() - before) / seconds
            memory = daemon.peak_mib()
    print("| start-up until ready, s (median of 3) | idle share of a core | RSS MiB (peak) |")
    print("| --- | --- | --- |")
    print(f"| {statistics.median(starts):.2f} | {share:.2%} | {memory:.0f} |")


def inference_section(folder: Path, seconds: float) -> None:
    """The plant's windows while others use the same model, ask questions and add manuals."""
    print("| others | p50 ms | p99 ms | CPU s per million values | of all | its own p50 ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows: dict[str, list[tuple[float, ...]]] = {case: [] for case in _OTHERS}
    with broker(folder) as bus:
        config = fleet_config(folder, bus.port, "asset", 50, hop=16, length=64, step_s=0.0)
        config.write_text(config.read_text() + _SERVES.format(folder=folder))
        (folder / "manuals").mkdir()
        with DaemonProcess(config) as daemon:
            load = Load(bus.port, "asset", assets=50, rate=5000.0)
            load.warm_up()
            for case in tuple(_OTHERS) * _TURNS:
                before, all_before = daemon.thread_cpu_s(*_OF_OTHERS), daemon.cpu_s()
                with ExitStack() as others:
                    loads = [others.enter_context(one(daemon.url, folder)) for one in _OTHERS[case]]
                    done = load.run(seconds / 3)
                used = daemon.thread_cpu_s(*_OF_OTHERS) - before, daemon.cpu_s() - all_before
                costs = [one / done.values * 1e6 for one in used]
                row = (done.latency_ms(0.5), done.latency_ms(0.99), *costs)
                rows[case].append(row)
                own = ", ".join(f"{one.p50_ms:.2f}" for one in loads if one.p50_ms) or "-"
                print(f"| {case} | {' | '.join(f'{one:.1f}' for one in row)} | {own} |", flush=True)
    alone, *beside = _OTHERS
    for case in beside:
        pairs = zip(rows[alone], rows[case], strict=True)
        ratios = [[b / a for a, b in zip(*pair, strict=True)] for pair in pairs]
        medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
        print(f"| ratio: {case} | {' | '.join(f'{one:.2f}' for one in medians)} | - |")


def cameras_section(folder: Path, seconds: float) -> None:
    """The windows of 500 assets with and without four cameras at five pictures a second."""
    from scripts.pipeline_bench import cameras  # noqa: PLC0415 (only this section needs Pillow)

    print("| cameras | p50 ms | p99 ms | CPU s per million values | pictures judged, dropped |")
    print("| --- | --- | --- | --- | --- |")
    rows: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    with broker(folder) as bus:
        config = fleet_config(folder, bus.port, "asset", 500, hop=1, length=8, step_s=0.0)
        cameras.add_cameras(config, folder)
        with DaemonProcess(config) as daemon:
            load = Load(bus.port, "asset", assets=500, rate=500.0 * SIGNALS)
            load.run(10.0)  # its windows are full then
            for is_on in (False, True) * _TURNS:
                before, seen = daemon.cpu_s(), _pictures(daemon.url)
                with ExitStack() as others:
                    if is_on:
                        others.enter_context(cameras.CameraLoad(str(bus.port), folder))
                    done = load.run(seconds / 2)
                cost = (daemon.cpu_s() - before) / done.values * 1e6
                row = (done.latency_ms(0.5), done.latency_ms(0.99), cost)
                rows[is_on].append(row)
                judged = [b - a for a, b in zip(seen, _pictures(daemon.url), strict=True)]
                shown = " | ".join(f"{one:.1f}" for one in row)
                print(f"| {'4 x 5/s' if is_on else 'none'} | {shown} | {judged} |", flush=True)
    pairs = zip(rows[False], rows[True], strict=True)
    ratios = [[b / a for a, b in zip(*pair, strict=True)] for pair in pairs]
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"| ratio | {' | '.join(f'{one:.2f}' for one in medians)} | - |")


def _pictures(url: str) -> tuple[int, int]:
    """Pictures of all cameras that were judged, and dropped."""
    with urllib.request.urlopen(f"{url}/api/cameras", timeout=30) as answer:
        found = json.load(answer)
    return sum(row["inspected"] for row in found), sum(row["dropped"] for row in found)


def predict_section(folder: Path, _seconds: float) -> None:
    """Tables of two inputs, each with another number of rows, to one process after the other."""
    print("| rows | first answer of the process, s | later ones, s (median of 3) |")
    print("| --- | --- | --- |")
    with DaemonProcess(table_config(folder)) as daemon:
        client = Client(daemon.url, timeout_s=120.0)
        for rows in (300, 20_000, 400_000):
            table = {name: [float(row % 17) for row in range(rows)] for name in TABLE_INPUTS}
            took = []
            for _ in range(4):
                begin = time.monotonic()
                client.predict_failure(table, model=TABLE_MODEL)
                took.append(time.monotonic() - begin)
            first = f"{took[0]:.2f}" if rows == 300 else "-"  # noqa: PLR2004 (the process is new)
            print(f"| {rows} | {first} | {statistics.median(took[1:]):.2f} |", flush=True)


_TURNS = 5
_OF_OTHERS = ("service", "inference")  # threads of the daemon that serve other programs
_SERVES = "inference: {{enabled: true}}\nmanuals: {{folder: {folder}/manuals, every: 10s}}\n"
_OTHERS: dict[str, tuple[type[OtherLoad], ...]] = {
    "none": (),
    "100 infer/s": (InferenceLoad,),
    "and answers, and an index": (InferenceLoad, QuestionLoad, ManualLoad),
}

SECTIONS: dict[str, Callable[[Path, float], None]] = {
    "stages": stages_section,
    "models": models_section,
    "broker": broker_section,
    "fleet": fleet_section,
    "idle": idle_section,
    "inference": inference_section,
    "cameras": cameras_section,
    "predict": predict_section,
}

if __name__ == "__main__":
    sys.exit(main())
