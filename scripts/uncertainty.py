"""Simulations for docs/diagnostics.md: false alarms of drift, and adaptation of an interval.

    scripts/uncertainty                  # both tables; some minutes
    scripts/uncertainty --only interval

Simulated inputs and lives, seeded; no recordings.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product

import numpy as np

from edge_agent.config.types import Name
from edge_agent.diagnostics import AdaptiveInterval
from edge_agent.models import (
    BLOCKS,
    InputSpec,
    Interval,
    Manifest,
    OutputNames,
    Task,
    bins_of,
    drift_of,
    histogram_of,
)

LIMIT = 0.25
STEP_S = 42.0
PER_DAY = round(86_400 / STEP_S)
PER_BLOCK = PER_DAY // BLOCKS
SHIFT_DAY = 3


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="scripts/uncertainty", description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["drift", "interval"])
    only = parser.parse_args().only
    if only != "interval":
        drift_table()
    if only != "drift":
        interval_table()
    return 0


def drift_table() -> None:
    """Alarms of healthy inputs, and shifts that are found within three days."""
    print(
        "| wanders for | daily cycle | learned | alarms a healthy day | found: 1 spread | 2 | 4 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for tau_s, cycle, days in product((60, 600, 3600, 14_400, 43_200), (0.0, 1.5), (1, 3)):
        raised = sum(len(raises(one, days)) for one in series(days + 10, tau_s, cycle, 100))
        found = [shifted(tau_s, cycle, days, shift) for shift in (1.0, 2.0, 4.0)]
        cells = (f"{tau_s / 60:g} min", f"{cycle:g}", f"{days} d", f"{raised / 1000:.3f}")
        print("|", *(f"{cell} |" for cell in (*cells, *(f"{share:.0%}" for share in found))))
        sys.stdout.flush()


def series(days: int, tau_s: float, cycle: float, count: int) -> np.ndarray:
    """Inputs [count, T] of spread 1, a walk with a memory of `tau_s` and a daily cycle."""
    random = np.random.default_rng(0)
    phi, steps = np.exp(-STEP_S / tau_s), days * PER_DAY
    noise = random.standard_normal((steps, count)) * np.sqrt(1 - phi**2)
    x = np.empty((steps, count))
    x[0] = random.standard_normal(count)
    for t in range(1, steps):
        x[t] = phi * x[t - 1] + noise[t]
    return (x + cycle * np.sin(2 * np.pi * np.arange(steps) / PER_DAY)[:, None]).T


def shifted(tau_s: float, cycle: float, days: int, shift: float) -> float:
    """The share of 20 inputs whose shift on the fourth day is found within three days."""
    found = 0
    for one in series(days + 6, tau_s, cycle, 20):
        begin = (days + SHIFT_DAY) * PER_DAY
        one[begin:] += shift * one[: days * PER_DAY].std()
        found += any(at >= SHIFT_DAY * BLOCKS for at in raises(one, days))
    return found / 20


def raises(values: np.ndarray, days: int) -> list[int]:
    """The blocks after learning at which an input's alarm is raised; it clears below 0.9."""
    learned = days * PER_DAY
    inputs, outputs = (InputSpec("s"),), OutputNames(score="score")
    healthy = {"s": histogram_of(values[:learned])}
    name, version = Name("m"), Name("1")
    bins = bins_of(
        Manifest(name, version, Task.ANOMALY, inputs, outputs, units=("u",), healthy=healthy)
    )
    assert bins is not None  # noqa: S101 (it has a healthy histogram)
    live = values[learned:, None].astype(np.float32)
    where = bins.of(live, np.zeros(len(live), int))[:, 0]
    blocks = [
        np.bincount(where[at : at + PER_BLOCK], minlength=bins.shares.shape[1])
        for at in range(0, len(where) - PER_BLOCK + 1, PER_BLOCK)
    ]
    memory = [blocks[end - BLOCKS : end] for end in range(BLOCKS, len(blocks) + 1)]
    level = drift_of(np.array(memory, np.uint32)[:, :, None], bins).surely[:, 0]
    over, found = False, []
    for end, one in enumerate(level / (LIMIT + bins.unrest[0]), start=BLOCKS):
        if not over and one >= 1.0:
            found.append(end)
        over = one >= (0.9 if over else 1.0)
    return found


def interval_table() -> None:
    """Coverage and width of 100 streams of lives whose half-widths begin 20 % too narrow."""
    print("\n| rate | lives 101-200: coverage | sd | width / best fixed | scatter doubled | sd |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in (0.05, 0.1, 0.2, 0.4):
        same = np.array([stream(rate, seed, doubled=False) for seed in range(100)])
        worse = np.array([stream(rate, seed, doubled=True) for seed in range(100)])
        print(
            f"| {rate:g} | {same[:, 0].mean():.1%} | {same[:, 0].std():.1%} | "
            f"{same[:, 1].mean() / 25.6:.2f} | {worse[:, 0].mean():.1%} | {worse[:, 0].std():.1%} |"
        )


def stream(rate: float, seed: int, *, doubled: bool) -> tuple[float, float]:
    """Coverage and mean width over lives 101-200; the scatter may double after 60 lives."""
    random = np.random.default_rng(seed)
    state, held, width = AdaptiveInterval(Interval(0.8, rate)), [], []
    raw = np.array([[100 - 10.24, 100, 100 + 10.24]], np.float32)
    for number in range(200):
        truth = 100 + 10 * (1 + (doubled and number >= 60)) * random.standard_normal()  # noqa: PLR2004
        told = state.adapt(raw)
        held.append(told[0, 0] <= truth <= told[0, 2])
        width.append(told[0, 2] - told[0, 0])
        state = state.after(told, [truth])
    return float(np.mean(held[100:])), float(np.mean(width[100:]))


if __name__ == "__main__":
    sys.exit(main())
