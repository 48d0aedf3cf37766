"""The domain of a model: the inputs that it was trained on, faults included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ModelError
from edge_agent.models import Domain, check_of, domain_of
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.manifest_text import dump_manifest, parse_manifest
from edge_agent.models.bundle.tasks import OutputNames, Task

NAMES = ("a", "b", "c")
LENGTH = 20


def trained(seed: int, rows: int = 3000) -> np.ndarray:
    """Windows [rows, LENGTH, 3]: a and b always move together, c is counted in small steps."""
    random = np.random.default_rng(seed)
    a = random.normal(50, 5, (rows, 1)) + random.normal(0, 0.2, (rows, LENGTH))
    b = 2 * a + random.normal(0, 0.5, (rows, LENGTH))
    c = np.round(random.normal(0, 2, (rows, LENGTH)))
    return np.stack([a, b, c], axis=2).astype(np.float32)


def outside(windows: np.ndarray, seed: int = 0) -> np.ndarray:
    known = trained(seed)
    domain = domain_of({name: known[:, :, n] for n, name in enumerate(NAMES)})
    check = check_of(domain, NAMES)
    assert check is not None
    return check.outside(windows)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_new_windows_of_the_same_kind_are_inside(seed: int) -> None:
    """Of 2000 windows that nobody trained with, at most two are outside."""
    assert outside(trained(seed + 1, 2000), seed).any(axis=1).sum() <= 2


def test_an_input_beyond_its_range_is_named_and_a_spike_is_not() -> None:
    windows = trained(1, 10)
    windows[0, -5:, 2] = 40.0
    windows[1, -1, 2] = 15.0
    windows[2, :, 2] = np.nan
    found = outside(windows)
    assert found[0].tolist() == [False, False, True]
    assert not found[1:].any()


def test_inputs_that_no_longer_move_together_are_outside_within_their_ranges() -> None:
    """Another regime: each value occurs in the training, but never both at once."""
    windows = trained(1, 10)
    windows[:5, :, 0] = 43.0
    windows[:5, :, 1] = 2 * 57.0
    found = outside(windows)
    assert found[:5, :2].any(axis=1).all()
    assert not found[:, 2].any()
    assert not found[5:].any()


@pytest.mark.parametrize("rows", [1, 30])
def test_an_input_that_was_constant_may_not_move_and_few_rows_have_ranges_alone(rows: int) -> None:
    known = trained(0, rows)
    known[:, :, 1] = 7.0
    domain = domain_of({name: known[:, :, n] for n, name in enumerate(NAMES)})
    assert domain is not None
    assert domain.axes == ()
    check = check_of(domain, NAMES)
    assert check is not None
    assert not check.outside(known)[:, 1].any()
    known[:, :, 1] = 7.2
    assert check.outside(known)[:, 1].all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ranges: {}}", "at least one input"),
        ("{ranges: {a: [0, 1]}, center: [1, 2]}", "as many as ranges"),
        ("{ranges: {a: [0, 1]}, center: [1], axes: [[1, 2]]}", "a square"),
        ("{ranges: {d: [0, 1]}}", "only for scalar inputs"),
        ("{ranges: {a: [1, 0]}}", "the first value is above the second"),
    ],
)
def test_a_domain_that_cannot_be_meant(text: str, message: str) -> None:
    raw = dump_manifest(manifest()).decode() + f"domain: {text}\n"
    with pytest.raises(ModelError, match=message):
        parse_manifest(raw.encode(), Path("model.yaml"))


def test_a_domain_survives_its_manifest() -> None:
    known = trained(0)
    domain = domain_of({name: known[:, :, n] for n, name in enumerate(NAMES)})
    whole = manifest(domain)
    assert parse_manifest(dump_manifest(whole), Path("model.yaml")) == whole


def manifest(domain: Domain | None = None) -> Manifest:
    inputs = tuple(InputSpec(name) for name in NAMES)
    named = OutputNames(rul="rul")
    return Manifest("m", "1", Task.REMAINING_LIFE, inputs, named, domain=domain)  # type: ignore[arg-type]
