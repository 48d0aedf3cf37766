"""The head of a classifier, its limits and its figures, against what can be said by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.factory.pictures.figures import Limits, figures_of, limits_of, wilson
from edge_agent.factory.pictures.head import Settings, mean_head, train_head

SETTINGS = Settings(hidden=16, epochs=60, batch=32, rate=1e-2, drop_inputs=0.0, drop_hidden=0.0)


def corners(rows: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Two features; the class is whether they have the same sign: no line divides it."""
    x = np.random.default_rng(0).uniform(-1, 1, (rows, 2)).astype(np.float32) + np.float32(100)
    return x, np.eye(2, dtype=np.float32)[((x > 100).sum(axis=1) != 1).astype(int)]


def test_the_head_learns_what_no_line_divides() -> None:
    """From features far from zero; the same seed gives the same head."""
    x, targets = corners()
    heads = [
        train_head(x, targets, np.ones(len(x), np.float32), SETTINGS, np.random.default_rng(1))
        for _ in range(2)
    ]
    assert (heads[0].logits(x).argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.95
    np.testing.assert_array_equal(heads[0].w1, heads[1].w1)


def test_rows_without_weight_teach_nothing() -> None:
    """Half of the rows have the wrong class and no weight."""
    x, targets = corners()
    weights = np.ones(len(x), np.float32)
    weights[::2] = 0
    wrong = targets.copy()
    wrong[::2] = 1 - wrong[::2]
    head = train_head(x, wrong, weights, SETTINGS, np.random.default_rng(1))
    assert (head.logits(x).argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.9


def test_the_mean_of_heads_is_one_head() -> None:
    x, targets = corners()
    heads = [
        train_head(x, targets, np.ones(len(x), np.float32), SETTINGS, np.random.default_rng(seed))
        for seed in (1, 2, 3)
    ]
    wanted = np.mean([one.logits(x) for one in heads], axis=0)
    np.testing.assert_allclose(mean_head(heads).logits(x), wanted, rtol=1e-3, atol=1e-3)
    cooled = heads[0].cooled(2.0).logits(x)
    np.testing.assert_allclose(cooled, heads[0].logits(x) / 2, rtol=1e-3, atol=1e-3)


def test_the_figures_are_those_of_a_table_by_hand() -> None:
    """Ten pictures of three classes; the last answer is not sure, and is wrong."""
    answers = [0] * 5 + [1] + [1, 1, 0] + [2]
    truth = np.array([0] * 6 + [1] * 3 + [1])
    sure = np.array([0.9] * 9 + [0.5])
    rest = (1 - sure)[:, None] / 2
    probabilities = np.where(np.eye(3, dtype=bool)[answers], sure[:, None], rest)
    found = figures_of(probabilities.astype(np.float32), truth, Limits(1.0, 0.5, 0.6))
    assert found.confusion.tolist() == [[5, 1, 0], [1, 2, 1], [0, 0, 0]]
    assert found.accuracy == pytest.approx(0.7)
    assert found.recall[:2] == pytest.approx((5 / 6, 0.5))
    assert np.isnan(found.recall[2])
    assert found.precision == pytest.approx((5 / 6, 2 / 3, 0.0))
    assert (found.false_alarms, found.missed) == pytest.approx((1 / 6, 1 / 4))
    assert (found.not_sure, found.accuracy_when_sure) == pytest.approx((0.1, 7 / 9))


def test_the_interval_is_wilsons() -> None:
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_limits_keep_their_shares_on_what_they_were_taken_from() -> None:
    """At most the allowed share of good ones alarms; those that are sure are right often enough."""
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 4000)
    logits = np.stack([random.normal(1.5 * (truth == k), 1.0) for k in (0, 1)], axis=1)
    limits, stated = limits_of(logits.astype(np.float32), truth, false_alarms=0.02, sure=0.97)
    assert 0.015 < stated["false_alarms"] <= 0.02
    assert limits.threshold > 0.5
    exponent = np.exp(logits / limits.temperature)
    probabilities = (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)
    found = figures_of(probabilities, truth, limits)
    assert found.accuracy_when_sure >= 0.97
    assert 0.1 < found.not_sure < 0.9


def test_pictures_that_are_all_right_make_no_answer_certain() -> None:
    """A perfect separation of few pictures: the temperature stays 1, and all answers are sure."""
    logits = np.array([[9.0, 0.0]] * 8 + [[0.0, 9.0]] * 8, np.float32)
    truth = np.array([0] * 8 + [1] * 8)
    limits, _ = limits_of(logits, truth, false_alarms=0.05, sure=0.95)
    assert limits == Limits(1.0, 0.5, 0.5)
