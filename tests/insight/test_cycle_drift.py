"""A cycle that becomes longer: found within products, apart from stops, and honestly explained."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.insight import find_cycle_drift
from edge_agent.insight.cycle_drift import partial_rank

HOUR_S = 3600.0


def work_of(
    change: float, count: int = 900, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Times and work of parts over eight hours; the work becomes longer by `change` in all."""
    rng = np.random.default_rng(seed)
    at_s = np.linspace(0, 8 * HOUR_S, count)
    work = 30 * (1 + change * at_s / at_s[-1]) * rng.gamma(100, 0.01, count)
    return at_s, work, rng


def test_a_drift_is_found_with_its_size() -> None:
    """Ten per cent in eight hours are found, and the interval contains them."""
    at_s, work, _ = work_of(0.10)
    found = find_cycle_drift(at_s, work)
    assert found is not None
    assert found.is_sure
    assert found.low <= 0.10 <= found.high
    assert found.change == pytest.approx(0.10, abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_no_drift_where_there_is_none(seed: int) -> None:
    """Chance alone is no drift."""
    at_s, work, _ = work_of(0.0, seed=seed)
    found = find_cycle_drift(at_s, work)
    assert found is not None
    assert not found.is_sure


def test_another_product_is_no_drift() -> None:
    """A slower product in the afternoon is no drift; the same step without it is one."""
    at_s, work, _ = work_of(0.0)
    product = (np.arange(len(work)) > len(work) // 2).astype(np.intp)
    work = work * np.where(product, 1.2, 1.0)
    within, mixed = find_cycle_drift(at_s, work, product), find_cycle_drift(at_s, work)
    assert within is not None
    assert mixed is not None
    assert not within.is_sure
    assert mixed.is_sure


def test_single_long_parts_change_nothing() -> None:
    """Parts that took ten times as long, as after a jam, are no trend."""
    at_s, work, rng = work_of(0.0)
    work[rng.choice(len(work), 60)] *= 10
    found = find_cycle_drift(at_s, work)
    assert found is not None
    assert not found.is_sure


def test_the_signal_that_moves_with_it_explains_it() -> None:
    """A signal that follows the cycle, also apart from its trend, is named before others."""
    at_s, work, rng = work_of(0.0, 1500)
    wear = np.cumsum(rng.normal(0.01, 0.5, len(at_s)))
    wear = (wear - wear.min()) / np.ptp(wear)
    work = work * (1 + 0.3 * wear)
    signals = {
        "torque": (at_s, 5 + 3 * wear + rng.normal(0, 0.1, len(at_s))),
        "hall": (at_s, 20 + 5 * at_s / at_s[-1] + rng.normal(0, 0.1, len(at_s))),
        "noise": (at_s, rng.normal(0, 1, len(at_s))),
    }
    found = find_cycle_drift(at_s, work, signals=signals)
    assert found is not None
    assert [(one.signal, one.kind) for one in found.explained] == [("torque", "follows")]


def test_a_common_trend_alone_does_not_explain() -> None:
    """A signal that only rises in the same hours is said to have moved too, not to explain."""
    at_s, work, rng = work_of(0.10, 1500)
    hall = 20 + 5 * at_s / at_s[-1] + rng.normal(0, 0.1, len(at_s))
    found = find_cycle_drift(at_s, work, signals={"hall": (at_s, hall)})
    assert found is not None
    assert [(one.signal, one.kind) for one in found.explained] == [("hall", "moved_too")]


def test_no_signal_explains_it() -> None:
    """Without a signal that changed, none is named."""
    at_s, work, rng = work_of(0.10, 1500)
    signals = {"noise": (at_s, rng.normal(0, 1, len(at_s))), "flat": (at_s, np.ones(len(at_s)))}
    found = find_cycle_drift(at_s, work, signals=signals)
    assert found is not None
    assert found.explained == ()


def test_too_few_parts_say_nothing() -> None:
    """An hour of ten parts has no trend."""
    assert find_cycle_drift(np.arange(10.0), np.full(10, 30.0)) is None


def test_partial_rank_removes_the_third() -> None:
    """Two series that follow a third one alone have no rank correlation of their own."""
    rng = np.random.default_rng(3)
    given = np.arange(400.0)
    first, second = given + rng.normal(0, 40, 400), given + rng.normal(0, 40, 400)
    assert abs(partial_rank(first, second, given)) < 0.15
    assert partial_rank(first, first + rng.normal(0, 5, 400), given) > 0.8
