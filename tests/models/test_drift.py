"""Drift of the inputs: what PSI and KS say, and how rarely healthy machines are suspected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import NOW_US, healthy, recipe

from edge_agent.config.types import Name
from edge_agent.learning.fit import learn
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.manifest_text import dump_manifest, parse_manifest
from edge_agent.models.bundle.reference_distribution import (
    Histogram,
    histogram_of,
    histogram_of_units,
)
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.drift_distance import BLOCKS, MIN_BLOCKS, bins_of, drift_of
from scripts.rigs import find_data

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.drift_distance import Bins, Drift

LIMIT = 0.25
STEP_S = 42.0
PER_DAY = round(86_400 / STEP_S)
PER_BLOCK = PER_DAY // BLOCKS


def bins(*known: Any, units: tuple[str, ...] = ("P-1",)) -> Bins:
    """The bins of a model with an input for each histogram (or healthy values)."""
    made = [one if isinstance(one, Histogram) else histogram_of(one) for one in known]
    inputs = tuple(InputSpec(f"s{n}") for n in range(len(made)))
    named = {spec.name: one for spec, one in zip(inputs, made, strict=True)}
    outputs = OutputNames(score="score")
    found = bins_of(
        Manifest(Name("m"), Name("1"), Task.ANOMALY, inputs, outputs, units=units, healthy=named)
    )
    assert found is not None
    return found


def counted(of: Bins, values: np.ndarray, unit: int = 0) -> np.ndarray:
    """Values [T, I] of one asset in blocks: [1, blocks, I, B]."""
    where = of.of(values.astype(np.float32), np.full(len(values), unit))
    blocks = np.array_split(where, BLOCKS)
    size = of.shares.shape[1]
    each = [[np.bincount(column, minlength=size) for column in block.T] for block in blocks]
    return np.array([each], np.uint32)


def judged(of: Bins, values: np.ndarray, unit: int = 0) -> Drift:
    values = values[:, None] if values.ndim == 1 else values
    return drift_of(counted(of, values, unit), of)


def daily(seed: int, days: int, tau_s: float, cycle: float, series: int = 30) -> np.ndarray:
    """Healthy series [series, T]: they wander with a memory of `tau_s`, and follow the day."""
    random = np.random.default_rng(seed)
    steps = days * PER_DAY
    phi = np.exp(-STEP_S / tau_s)
    noise = random.standard_normal((steps, series)) * np.sqrt(1 - phi**2)
    x = np.empty((steps, series))
    x[0] = random.standard_normal(series)
    for t in range(1, steps):
        x[t] = phi * x[t - 1] + noise[t]
    return (x + cycle * np.sin(2 * np.pi * np.arange(steps) / PER_DAY)[:, None]).T


def alarm_days(series: np.ndarray, learned_days: int, shift: float = 0.0) -> np.ndarray:
    """For each series, the share of the block ends after learning at which it is over its limit."""
    learned = learned_days * PER_DAY
    found = []
    for values in series:
        of = bins(values[:learned])
        live = values[learned:] + shift * values[:learned].std()
        where = of.of(live.astype(np.float32)[:, None], np.zeros(len(live), int))[:, 0]
        blocks = [
            np.bincount(where[at : at + PER_BLOCK], minlength=of.shares.shape[1])
            for at in range(0, len(where) - PER_BLOCK + 1, PER_BLOCK)
        ]
        memory = [blocks[end - BLOCKS : end] for end in range(BLOCKS, len(blocks) + 1)]
        surely = drift_of(np.array(memory, np.uint32)[:, :, None], of).surely[:, 0]
        found.append((surely >= LIMIT + of.unrest).mean())
    return np.array(found)


@pytest.mark.parametrize("cycle", [0.0, 1.5])
@pytest.mark.parametrize("tau_s", [60.0, 600.0, 3600.0])
@pytest.mark.parametrize("days", [1, 3])
def test_healthy_machines_are_hardly_ever_suspected(tau_s: float, cycle: float, days: int) -> None:
    """Learned for a day or three, then four more days of inputs that wander for up to an hour."""
    share = alarm_days(daily(1, days + 4, tau_s, cycle, series=60), days)
    assert share.mean() <= 0.003, "of all block ends"


def test_psi_alone_would_suspect_them() -> None:
    """What the usual 0.25 without an error says of a machine that wanders for an hour."""
    values = daily(1, 2, 3600.0, 0.0)
    psi = [judged(bins(one[:PER_DAY]), one[PER_DAY:]).psi[0, 0] for one in values]
    assert np.mean(np.array(psi) > LIMIT) > 0.4


@pytest.mark.parametrize(("tau_s", "days"), [(60.0, 1), (600.0, 1), (600.0, 3), (3600.0, 3)])
def test_a_shift_by_two_spreads_is_found_within_a_day(tau_s: float, days: int) -> None:
    """As soon as the memory holds nothing else; of those that wander for an hour, nearly all."""
    share = alarm_days(daily(2, days + 2, tau_s, 0.0, series=20), days, shift=2.0)
    assert (share > 0).mean() >= 0.85


def test_a_gross_shift_is_found_whatever_the_machine_does_all_day() -> None:
    """A day is one cycle of it, so what was learned is restless; four spreads are still seen."""
    share = alarm_days(daily(3, 3, 600.0, 1.5, series=20), 1, shift=4.0)
    assert (share > 0).all()


def test_the_figures_are_those_of_the_definition() -> None:
    """PSI = sum of (p - q) ln(p / q), KS = the largest difference of the sums up to an edge."""
    of = bins(Histogram((1.0, 2.0, 3.0), (0.25, 0.25, 0.25, 0.25)))
    values = np.tile([0.5] * 4 + [1.5] * 3 + [2.5] * 2 + [3.5], 80)
    found = judged(of, values)
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), 0.25
    assert found.psi[0, 0] == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert found.ks[0, 0] == pytest.approx(0.2)
    assert found.surely[0, 0] == pytest.approx(found.psi[0, 0], rel=0.01), "blocks agree"


def test_of_a_fleet_only_what_no_machine_ever_read_counts() -> None:
    """One machine in a corner of what its sisters do has not drifted; beyond them it has."""
    fleet = histogram_of(
        np.concatenate([np.random.default_rng(n).normal(n, 1, 500) for n in range(9)])
    )
    sisters = bins(fleet, units=())
    corner = np.random.default_rng(1).normal(8.0, 0.3, 4000)
    assert judged(sisters, corner).surely[0, 0] < 0.1
    assert judged(bins(fleet), corner).surely[0, 0] > 1.0, "of one machine alone it has"
    assert judged(sisters, corner + 4).surely[0, 0] > 1.0


def test_of_several_units_each_is_measured_by_its_own_baseline() -> None:
    """A small pump at 3 and a large one at 300: neither is unusual, until one of them moves."""
    scaled = np.random.default_rng(0).standard_normal(4000)
    histogram = histogram_of(scaled)
    known = Histogram(histogram.edges, histogram.shares, center=(3.0, 300.0), spread=(0.1, 20.0))
    of = bins(known, units=("small", "large"))
    noise = np.random.default_rng(1).standard_normal(4000)
    assert judged(of, 3 + 0.1 * noise, unit=0).surely[0, 0] < 0.1
    assert judged(of, 300 + 20 * noise, unit=1).surely[0, 0] < 0.1
    assert judged(of, 3.5 + 0.1 * noise, unit=0).surely[0, 0] > 1.0


def test_a_reading_that_lies_on_an_edge_stays_in_its_bin() -> None:
    """A sensor with steps of 0.1: what was doubles while learning is single precision live."""
    values = np.round(np.random.default_rng(0).normal(20, 0.5, 4000), 1)
    of = bins(values)
    assert judged(of, values.astype(np.float32)).psi[0, 0] < 1e-6


def test_steps_stay_in_their_bins_in_units_of_a_baseline() -> None:
    """Centre and spread are rounded in the manifest, and the reckoning is in single precision."""
    values = [np.round(np.random.default_rng(n).normal(20 + n, 0.5, 4000), 1) for n in range(2)]
    histogram = histogram_of_units(values, [20.123456789, 21.987654321], [0.4876543211, 0.51234567])
    of = bins(histogram, units=("a", "b"))
    counts = sum(counted(of, v[:, None], unit).sum(axis=(0, 1, 2)) for unit, v in enumerate(values))
    assert np.abs(counts / 8000 - of.shares[0]).max() < 1e-3


def test_too_little_time_says_nothing() -> None:
    """However far off the inputs are: with one block less than needed."""
    of = bins(np.random.default_rng(0).standard_normal(4000))
    counts = counted(of, np.full((4000, 1), 9.0))
    counts[:, MIN_BLOCKS - 1 :] = 0
    assert drift_of(counts, of).surely[0, 0] == -np.inf
    assert drift_of(np.zeros_like(counts), of).psi[0, 0] == 0


def test_one_odd_block_is_no_drift() -> None:
    """A machine that stood still for three hours of the day."""
    values = np.random.default_rng(0).standard_normal(4000)
    of = bins(np.random.default_rng(1).standard_normal(4000))
    values[1000:1500] = -9.0
    assert judged(of, values).surely[0, 0] < LIMIT


def test_an_input_that_stood_still_has_no_distribution() -> None:
    """Its last digit is no drift; a change of it is for the model to tell."""
    inputs = (InputSpec("still"), InputSpec("moves"))
    spread = {"still": histogram_of(np.full(100, 5.0)), "moves": histogram_of(np.arange(100))}
    manifest = Manifest(
        Name("m"), Name("1"), Task.ANOMALY, inputs, OutputNames(score="score"), healthy=spread
    )
    of = bins_of(manifest)
    assert of is not None
    assert of.channel.tolist() == [1]
    assert (
        bins_of(Manifest(Name("m"), Name("1"), Task.ANOMALY, inputs, OutputNames(score="score")))
        is None
    )


@given(st.integers(1, 3), st.integers(2, 12), st.integers(0, 999))
@settings(max_examples=80, deadline=None)
def test_whatever_was_counted_is_a_figure(inputs: int, size: int, seed: int) -> None:
    """Empty blocks, single counts, bins that were empty while learning."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(size, 0.3), inputs).round(6)
    shares[:, 0] += 1 - shares.sum(axis=1)
    edges = tuple(map(float, range(1, size)))
    histograms = [Histogram(edges, tuple(map(float, np.clip(row, 0, 0.99)))) for row in shares]
    for units in ((), ("P-1",)):
        of = bins(*histograms, units=units)
        counts = random.poisson(0.3, (4, BLOCKS, inputs, of.shares.shape[1])).astype(np.uint32)
        found = drift_of(counts, of)
        assert (found.psi >= 0).all()
        assert ((found.ks >= 0) & (found.ks <= 1 + 1e-9)).all()
        assert not np.isnan(found.surely).any()
        assert (found.surely <= found.psi).all()


def test_a_real_machine_that_is_healthy_is_not_suspected() -> None:
    """The long healthy recording of the Skoltech benchmark: learned from its first two thirds.

    2.6 hours at one row a second; the memory here is the rest of it. For evaluation only.
    """
    folder = find_data()
    if folder is None:
        pytest.skip("no recordings here: see EDGE_AGENT_DATA")
    path = folder / "skab" / "anomaly-free" / "anomaly-free.csv"
    rows = np.genfromtxt(path, delimiter=";", skip_header=1, usecols=range(1, 9))
    learned = len(rows) * 2 // 3
    of = bins(*rows[:learned].T)
    found = judged(of, rows[learned:])
    assert (found.surely[0] < LIMIT + of.unrest).all()


def test_a_machine_that_is_off_at_weekends_does_not_drift_each_sunday() -> None:
    """What differs between the days of the learned time is usual; a day unlike them is not."""
    random = np.random.default_rng(5)
    day = np.repeat(np.arange(21) % 7, 1440)
    hour = np.tile(np.arange(1440) // 60, 21)
    on = (day < 5) & (hour >= 6) & (hour < 22)
    current = np.where(on, 30 + random.standard_normal(len(on)), 0.0)
    known = histogram_of(current, memory=1440)
    of = bins(known)
    sunday, wrong = current[6 * 1440 : 7 * 1440], np.full(1440, 45.0)
    assert judged(of, sunday).surely[0, 0] < LIMIT + known.unrest
    assert judged(of, wrong).surely[0, 0] >= LIMIT + known.unrest
    assert (
        judged(bins(histogram_of(current)), sunday).surely[0, 0]
        >= LIMIT + histogram_of(current).unrest
    )


def test_what_is_learned_on_the_box_knows_how_healthy_is_spread() -> None:
    """One machine as it reads; of several each in units of its own."""
    rows = {f"P-{n}": healthy(n, 400) * np.float32(10**n) for n in range(3)}
    one = learn({"P-1": rows["P-1"]}, recipe(), now_us=NOW_US).manifest
    assert one.healthy["s0"] == histogram_of(rows["P-1"][:, 0], memory=86_400)
    many = learn(rows, recipe(), now_us=NOW_US).manifest
    assert len(many.healthy["s2"].center) == len(many.healthy["s2"].spread) == 3
    assert list(many.problems()) == []
    of = bins_of(many)
    assert of is not None
    for unit, values in enumerate(rows.values()):
        counts = counted(of, values, unit).sum(axis=(0, 1)) / 400
        assert np.abs(counts - of.shares).max() < 0.1


def test_the_manifest_of_five_hundred_pumps_stays_small(tmp_path: Path) -> None:
    """Two numbers an input and pump, not a histogram each; read within the limits of a manifest."""
    units = tuple(f"P-{n:03d}" for n in range(500))
    numbers = np.random.default_rng(0).uniform(1, 100, 500)
    values = [number + np.random.default_rng(0).standard_normal(50) for number in numbers]
    histogram = histogram_of_units(values, numbers.tolist(), [1.0] * 500)
    inputs = tuple(InputSpec(f"s{n}") for n in range(8))
    named = {spec.name: histogram for spec in inputs}
    outputs = OutputNames(score="score")
    manifest = Manifest(
        Name("m"), Name("1"), Task.ANOMALY, inputs, outputs, units=units, healthy=named
    )
    raw = dump_manifest(manifest)
    assert len(raw) < 200_000
    assert parse_manifest(raw, tmp_path / "model.yaml").healthy == named
