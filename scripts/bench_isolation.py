"""What a process of its own for each model costs: processor time of the whole service.

    scripts/bench-isolation                    # two shapes of windows, about five minutes
    scripts/bench-isolation --turns 6 --seconds 5

Two daemons on one broker receive the same values at the same time, 50 assets x 8 signals. One runs
its model itself (`isolation: never`), the other in a process of its own (`always`). For each turn
the processor time of the second with all its processes is divided by that of the first; the figure
is the median of these ratios, with their quartiles. Other load of the machine meets both alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from edge_agent.testing import DaemonProcess
from scripts.pipeline_bench.load import Load
from scripts.pipeline_bench.site import broker, fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSETS: Final = 50
_MODES: Final = ("never", "always")


class Windows(NamedTuple):
    """How often a model runs: rows of a window, rows between two windows."""

    name: str
    length: int
    hop: int


SHAPES: Final = (
    Windows("a run in nearly every turn", 1, 1),
    Windows("a run in every third turn", 16, 4),
)


class Cost(NamedTuple):
    """Processor time for one turn's values, in seconds, of each daemon with all its processes."""

    here_s: float
    isolated_s: float

    @property
    def ratio(self) -> float:
        """The second as a multiple of the first."""
        return self.isolated_s / self.here_s


def main() -> int:
    """Print one row per shape; 1 if a median is above the limit."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench-isolation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--turns", type=int, default=12, help="ratios per shape (default 12)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a turn (default 10)")
    parser.add_argument("--rate", type=float, default=5000.0, help="values/s (default 5000)")
    parser.add_argument("--limit", type=float, help="fail if a median ratio is larger than this")
    args = parser.parse_args()
    print("| windows | CPU s, in the daemon | isolated | ratio (quartiles) |\n|" + " --- |" * 4)
    worst = 0.0
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(prefix="edge-agent-bench.") as folder:
            costs = list(measure(Path(folder), shape, args.turns, args.seconds, args.rate))
        low, middle, high = statistics.quantiles([one.ratio for one in costs], n=4)
        worst = max(worst, middle)
        here_s, isolated_s = (statistics.median(column) for column in zip(*costs, strict=True))
        figures = f"{here_s:.2f} | {isolated_s:.2f} | {middle:.3f} ({low:.3f} to {high:.3f})"
        print(f"| {shape.name} | {figures} |", flush=True)
    return int(args.limit is not None and worst > args.limit)


def measure(
    folder: Path, shape: Windows, turns: int, seconds: float, rate: float
) -> Iterator[Cost]:
    """The costs of each turn, in which both daemons receive the same values."""
    with ExitStack() as stack:
        bus = stack.enter_context(broker(folder))
        daemons = [stack.enter_context(_daemon(folder, bus.port, shape, mode)) for mode in _MODES]
        load = Load(bus.port, "asset", assets=ASSETS, rate=rate)
        load.warm_up()
        for number in range(turns):
            before = [_cpu_s(daemon.pid) for daemon in daemons]
            load.run(seconds)
            costs = [_cpu_s(daemon.pid) - was for daemon, was in zip(daemons, before, strict=True)]
            _tell(number + 1, turns)
            yield Cost(*costs)


def _daemon(folder: Path, port: int, shape: Windows, mode: str) -> DaemonProcess:
    """A daemon whose models run as `runtime.isolation` says."""
    place = folder / mode
    place.mkdir()
    config = fleet_config(
        place, port, "asset", ASSETS, hop=shape.hop, length=shape.length, step_s=0.0
    )
    text = config.read_text("utf-8").replace("{id: bench}", f"{{id: bench-{mode}}}")
    config.write_text(f"{text}runtime: {{isolation: {mode}}}\n", "utf-8")
    return DaemonProcess(config)


def _cpu_s(pid: int) -> float:
    """Processor time so far of a process and of all that descend from it."""
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    # The kernel's clock of the processor time of another process: clock_getcpuclockid(3).
    return sum(time.clock_gettime((~one << 3) | 2) for one in family)


def _tell(number: int, turns: int) -> None:
    if sys.stderr.isatty():
        print(f"\rturn {number} of {turns} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
