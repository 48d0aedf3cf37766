"""What the lines of a gateway cost: processor time for each second of a plant.

    python -m scripts.lines_bench --machines 30 --seconds 1800

A clock that only this program moves gives each machine six values a second: its state, which turns
every twenty seconds, three counters, a product and a current. One value of a hundred comes late, by
up to a minute. Measured is all that runs on the thread of the lines, with its file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_agent.config.lines import Line, LineMachine
from edge_agent.config.schema import Config
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.daemon.line_work import LineWork, PlantSignals, Sample
from edge_agent.insight import LineFile
from edge_agent.values import Columns, columns

SIGNALS: Final = ("State", "Parts", "Rejects", "Rework", "Product", "Current")
BEGIN_US: Final = 1_772_431_200_000_000
S: Final = 1_000_000
MACHINE: Final = """\
states:
  - {state: down, when: State == 2}
  - {state: setup, when: State == 3}
  - {state: blocked, when: State == 4 and Current < 90}
  - {state: starved, when: State == 5}
  - {state: running, when: State == 1 and Current > 2}
parts: Parts
rejects: Rejects
rework: Rework
product: Product
products: {"7": {ideal_cycle: 4s}}
ideal_cycle: 5s
"""


def plant_of(machines: int) -> PlantSignals:
    """The signals of lines of ten machines."""
    machine = parse_struct(MACHINE, Path(__file__), LineMachine)
    names = [f"M{n:03d}" for n in range(machines)]
    lines = {
        Name(f"line{n // 10}"): Line(dict.fromkeys(names[n : n + 10], machine))
        for n in range(0, machines, 10)
    }
    k = len(SIGNALS)
    numbers = {a: {s: k * n + i for i, s in enumerate(SIGNALS)} for n, a in enumerate(names)}
    no = np.zeros(k * machines, np.bool_)
    return PlantSignals(Config(lines=lines), numbers, no, no, no, columns((), (), ()))


class Values:
    """The values of each second."""

    def __init__(self, machines: int) -> None:
        self._lot = np.random.default_rng(1)
        self._n = machines
        self._state = np.ones(machines)
        self._counts = np.zeros((machines, 3))
        self._late: list[Columns] = []

    def of(self, second: int) -> Columns:
        """Of all signals; some of earlier seconds."""
        n, lot = self._n, self._lot
        turns = lot.random(n) < 0.05  # noqa: PLR2004 (every twenty seconds)
        self._state[turns] = lot.integers(1, 6, turns.sum())
        self._counts[:, 0] += lot.random(n) < 0.25 * (self._state == 1)
        self._counts[:, 1] += lot.random(n) < 0.005  # noqa: PLR2004
        current = lot.normal(20, 1, n)
        made = np.column_stack([self._state, self._counts, np.full(n, 7.0), current]).ravel()
        at_us = np.full(made.size, BEGIN_US + second * S)
        found = columns(np.arange(made.size), at_us, made)
        is_late = lot.random(made.size) < 0.01  # noqa: PLR2004 (one of a hundred)
        self._late.append(found.where(is_late))
        due = self._late.pop(0) if len(self._late) > lot.integers(1, 60) else columns((), (), ())
        return Columns.concat([found.where(~is_late), due])


def measure(machines: int, seconds: int) -> dict[str, Any]:
    """Processor time of a run; share: of one core, if the plant runs in real time."""
    plant, values = plant_of(machines), Values(machines)
    none = np.zeros(0, np.intp)
    stale_us = np.full(len(plant.holds), 120 * S)
    with tempfile.TemporaryDirectory() as folder:
        work = LineWork(LineFile(Path(folder) / "plant.lines"))
        used_s = 0.0
        for second in range(seconds):
            given = [values.of(second)]
            first = plant if second == 0 else None
            now_us = BEGIN_US + second * S
            one = Sample(now_us, float(second), given, stale_us, none, none, {}, first)
            begin_s = time.thread_time()
            work.step(one)
            used_s += time.thread_time() - begin_s
        work.close()
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    share = used_s / seconds
    return {"machines": machines, "seconds": seconds, "core_percent": 100 * share, "bytes": size}


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--machines", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=1800)
    args = parser.parse_args()
    print(json.dumps(measure(args.machines, args.seconds)))


if __name__ == "__main__":
    main()
