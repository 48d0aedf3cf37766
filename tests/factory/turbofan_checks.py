"""Checks of the turbofan recipe that need torch; run_checks.py runs them."""

from __future__ import annotations

import numpy as np
import torch

from edge_agent.factory.bundle import is_counter
from edge_agent.factory.turbofan.fd001 import CAP, LENGTH, SENSORS, Basis, windows
from edge_agent.factory.turbofan.student import (
    HARD_SHARE,
    MEMORIES,
    LifeGraph,
    WearFeatures,
    _quantile,
    _snap,
    loss,
)

PLAIN = Basis(np.ones(len(SENSORS)), np.zeros(len(SENSORS)), np.eye(len(SENSORS), 2))


def rows_of(wear: np.ndarray) -> np.ndarray:
    """Engine rows [T, 15] whose first two sensors are its wear [T, 2]."""
    rest = np.zeros((len(wear), len(SENSORS) - 2))
    return np.column_stack([wear, rest, np.arange(1.0, len(wear) + 1)])


def features(rows: np.ndarray) -> np.ndarray:
    return np.asarray(WearFeatures(PLAIN)(torch.from_numpy(windows(rows).copy())).numpy())


def levels_are_means_with_falling_weights_of_the_rows_that_are_there() -> None:
    """Of 20 rows in a window of 128, the newest counts most, padding not at all."""
    wear = np.random.default_rng(1).normal(size=(20, 2)) + 5
    found = features(rows_of(wear))[-1]
    age = np.arange(19, -1, -1.0)
    for number, memory in enumerate(MEMORIES):
        weight = np.exp(-age / memory)
        expected = weight @ wear / weight.sum()
        told = found[[number, len(MEMORIES) + number]]
        assert np.allclose(told, expected, atol=1e-3), (memory, told, expected)
    assert found[-2:].tolist() == [20.0, 20.0]


def trends_tell_what_grows_from_what_falls() -> None:
    """A straight line: the trend over a memory, a little less, since few rows say little."""
    steps = np.arange(200.0)[:, None]
    found = features(rows_of(steps * [0.1, -0.2]))[-1, 2 * len(MEMORIES) : 4 * len(MEMORIES)]
    for row, slope in enumerate((0.1, -0.2)):
        told = found[row * len(MEMORIES) : (row + 1) * len(MEMORIES)] / np.array(MEMORIES)
        share = told / slope
        assert (share > 0.5).all(), share
        assert (share < 1.01).all(), share


def a_history_that_begins_late_says_so() -> None:
    """First seen at cycle 101: 30 rows are there, the cycle is 130."""
    rows = rows_of(np.zeros((130, 2)))[100:]
    assert features(rows)[-1, -2:].tolist() == [30.0, 130.0]


def a_full_window_counts_its_rows() -> None:
    assert features(rows_of(np.zeros((300, 2))))[-1, -2:].tolist() == [LENGTH, 300.0]


def snapped_weights_are_steps_of_int8() -> None:
    """All layers but the last; the largest weight of a neuron stays as it was."""
    torch.manual_seed(1)
    body = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.SiLU(), torch.nn.Linear(4, 3))
    first, last = body[0].weight.detach().clone(), body[2].weight.detach().clone()
    _snap(body)
    largest = first.abs().amax(dim=1, keepdim=True)
    steps = body[0].weight.detach() / largest * 127
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert torch.allclose(body[0].weight.detach(), first, atol=float(largest.max()) / 250)
    assert not torch.equal(body[0].weight.detach(), first)
    assert torch.equal(body[2].weight.detach(), last)


def quantiles_never_cross() -> None:
    wild = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) * 5
    rul = LifeGraph(torch.nn.Identity(), 0.5, 2.0)(wild)["rul"]
    assert (rul[:, 0] <= rul[:, 1]).all()
    assert (rul[:, 1] <= rul[:, 2]).all()
    assert (rul[:, 0] >= 0).all()
    assert (rul[:, 1] <= CAP).all()


def half_widths_do_not_move_the_middle() -> None:
    """The middle is moved by its distance from teacher and truth, not by the pinball loss."""

    class Batch:
        hard = torch.tensor([[60.0, 60.0]])
        soft = torch.tensor([[50.0]])
        real = torch.ones(1)

    prediction = torch.tensor([[50.0 / CAP, -5.0, -5.0]], requires_grad=True)
    loss(prediction, Batch()).backward()
    middle, low, high = prediction.grad[0].tolist()
    assert abs(middle - HARD_SHARE * 2 * (50 - 60) / CAP) < 1e-6
    assert low > 0 > high  # p10 has room, p90 must grow


def every_engine_weighs_the_same() -> None:
    """One engine of 90 rows at 1, nine of one row each at 2 to 10, and the new one anywhere."""
    scores = np.concatenate([np.ones(90), np.arange(2.0, 11.0)]).astype(np.float32)
    group = np.concatenate([np.zeros(90), np.arange(1, 10)]).astype(np.int64)
    assert _quantile(scores, group, 8.5 / 11) == 9.0
    assert _quantile(scores, group, 10.5 / 11) == 10.0


def a_counter_is_told_from_an_input_that_stands_or_falls() -> None:
    rising = np.cumsum(np.ones((3, 5), np.float32), axis=1)
    assert is_counter(rising)
    assert not is_counter(np.ones((3, 5), np.float32))
    assert not is_counter(rising[:, ::-1])
