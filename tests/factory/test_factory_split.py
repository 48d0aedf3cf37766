"""Windows and splits of the factory: nothing of a unit or a time in two of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import UsageError
from edge_agent.factory.metrics import (
    anomaly_metrics,
    calibration_error,
    class_metrics,
    conformal_margin,
    life_metrics,
)
from edge_agent.factory.recipe import Samples, Splits
from edge_agent.factory.split import (
    mix_up,
    refuse_shared_groups,
    split_groups,
    time_blocks,
    windows_of,
)


def samples(groups: list[int]) -> Samples:
    count = len(groups)
    x = np.arange(count, dtype=np.float32).reshape(count, 1, 1)
    flat = np.zeros((count, 1), np.float32)
    return Samples({"x": x}, flat, np.array(groups), np.zeros(count, np.bool_))


def test_windows_end_where_they_say() -> None:
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    x, ends = windows_of(rows, 4, hop=3)
    assert ends.tolist() == [3, 6, 9]
    assert x.shape == (3, 4, 2)
    assert all((x[n] == rows[end - 3 : end + 1]).all() for n, end in enumerate(ends))


def test_a_recording_shorter_than_a_window_gives_none() -> None:
    x, ends = windows_of(np.zeros((3, 2), np.float32), 4)
    assert x.shape == (0, 4, 2)
    assert len(ends) == 0


@settings(deadline=None)  # a busy machine is no failure
@given(
    rows=st.integers(1, 200),
    length=st.integers(1, 20),
    blocks=st.integers(1, 9),
    hop=st.integers(1, 5),
)
def test_windows_of_two_blocks_share_no_row(rows: int, length: int, blocks: int, hop: int) -> None:
    _, ends = windows_of(np.zeros((rows, 1), np.float32), length, hop)
    block = time_blocks(ends, rows, length, blocks)
    owner: dict[int, int] = {}
    for end, of in zip(ends.tolist(), block.tolist(), strict=True):
        for row in range(end - length + 1, end + 1) if of >= 0 else ():
            assert owner.setdefault(row, of) == of


@settings(deadline=None)  # a busy machine is no failure
@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    seed=st.integers(0, 1000),
)
def test_a_split_takes_whole_groups_and_leaves_none_out(groups: list[int], seed: int) -> None:
    group = np.array(groups)
    shares = (0.6, 0.2, 0.2)
    random = np.random.default_rng(seed)
    if len(set(groups)) < len(shares):
        with pytest.raises(UsageError, match="groups for 3 splits"):
            split_groups(group, shares, random)
        return
    masks = split_groups(group, shares, random)
    assert (np.sum(masks, axis=0) == 1).all()
    parts = [set(group[mask].tolist()) for mask in masks]
    assert all(parts)
    assert sum(map(len, parts)) == len(set(groups))


def test_splits_that_share_a_unit_are_refused() -> None:
    refuse_shared_groups(Splits(samples([1, 2]), samples([3]), samples([4])))
    with pytest.raises(UsageError, match="groups in two splits: 2 "):
        refuse_shared_groups(Splits(samples([1, 2]), samples([3]), samples([4, 2])))


def test_a_mix_up_query_lies_between_two_rows_in_all_tensors_alike() -> None:
    x = np.linspace(0, 1, 50, dtype=np.float32)
    found = mix_up({"x": x[:, None], "y": 10 * x}, 200, np.random.default_rng(1))
    assert found["x"].shape == (200, 1)
    assert found["x"].min() >= 0
    assert found["x"].max() <= 1
    np.testing.assert_allclose(found["y"], 10 * found["x"][:, 0], rtol=1e-5)
    assert len(np.unique(found["x"])) > 50


def test_a_conformal_margin_covers_what_it_promises() -> None:
    """Over many draws, a new case lies within the margin as often as asked, and hardly more."""
    random = np.random.default_rng(3)
    inside = [random.normal() <= conformal_margin(random.normal(size=19), 0.8) for _ in range(4000)]
    assert 0.78 < np.mean(inside) < 0.82


def test_a_margin_may_be_negative() -> None:
    """Intervals that are too wide on held-out units become narrower."""
    assert conformal_margin(np.array([-3.0, -2.0, -1.0, -0.5]), 0.5) == -1.0


def test_figures_of_a_life() -> None:
    rul = np.array([[0, 1, 2], [4, 5, 6]], np.float32)
    found = life_metrics(rul, np.array([2, 7], np.float32))
    assert found["rmse"] == pytest.approx(np.sqrt(2.5))
    assert found["bias"] == pytest.approx(-1.5)
    assert found["coverage"] == 0.5
    assert found["width"] == 2.0
    point = np.repeat(rul[:, 1:2], 3, axis=1)
    assert "coverage" not in life_metrics(point, np.array([1, 5], np.float32))


def test_figures_of_classes_and_of_scores() -> None:
    told = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]], np.float32)
    truth = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    found = class_metrics(told, truth)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["cross_entropy"] == pytest.approx(-np.log([0.9, 0.6, 0.2]).mean(), rel=1e-5)
    # Too sure of one half and not sure enough of the other: nothing cancels out.
    confidence = np.repeat(np.array([0.95, 0.55], np.float32), 10)
    right = np.r_[np.arange(10) < 5, np.arange(10) < 9]
    assert calibration_error(confidence, right) == pytest.approx(0.4, rel=1e-5)
    scores = np.array([[0.5], [1.5], [2.0], [0.1]], np.float32)
    found = anomaly_metrics(scores, np.array([False, False, True, True]))
    assert found == {"f1": 0.5, "false_alarm_share": 0.5, "missed_share": 0.5}
