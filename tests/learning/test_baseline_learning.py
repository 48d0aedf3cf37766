"""What is learned from healthy rows: exact graphs, honest limits, and refusals that say why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_models import NOW_US, healthy, recipe

from edge_agent.errors import ModelError
from edge_agent.learning.covariance import effective_number, inflation, oas_shrinkage
from edge_agent.learning.estimation import fit
from edge_agent.learning.fit import learn
from edge_agent.learning.forms import CLIP, Form, Plan, memory_weights
from edge_agent.learning.golden import reference
from edge_agent.learning.scaling import counters, rates
from edge_agent.learning.statistics import (
    CHARTS,
    STATISTICS,
    STILLNESS,
    Baseline,
    judge,
)
from edge_agent.learning.threshold import poisson_upper
from edge_agent.models.bundle.bundle import verify_bundle
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learning.learned_bundle import LearnedBundle
    from edge_agent.models.bundle.tasks import Outputs
    from edge_agent.models.runtime.model import Model

LENGTH = 16
CPU = ("CPUExecutionProvider",)


def model_of(learned: LearnedBundle) -> Model:
    return model_of_graph(learned.manifest, learned.onnx_bytes)


def windows(rows: np.ndarray, length: int = LENGTH) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def scores(learned: LearnedBundle, rows: np.ndarray, unit: int = 0) -> Outputs:
    x = learned.manifest.as_read(windows(rows), unit)
    return model_of(learned).infer({"x": x, "unit": np.full(len(x), unit, np.int64)})


@pytest.fixture(scope="module")
def pair() -> LearnedBundle:
    """Two assets with levels and couplings of their own."""
    return learn({"A": healthy(1), "B": healthy(2)}, recipe(), now_us=NOW_US)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), far=st.floats(0, 100), windows_=st.integers(1, 9))
def test_the_graph_computes_what_numpy_computes(seed: int, far: float, windows_: int) -> None:
    """For any baseline and any window, in single against double precision."""
    random = np.random.default_rng(seed)
    baselines = [_random_baseline(random) for _ in range(3)]
    unit = random.integers(0, 3, windows_)
    center = np.stack([baselines[u].center for u in unit])[:, None, :]
    x = (center + far * random.standard_normal((windows_, LENGTH, 3))).astype(np.float32)
    hour = random.uniform(0, 168, windows_).astype(np.float32) if random.random() < 0.5 else None
    found = _run(baselines, x, unit, hour)
    wanted = reference(baselines, x, unit, hour)
    largest = np.abs(wanted["contributions"]).max() + 1
    for name in ("score", "contributions", "health"):
        assert np.allclose(getattr(found, name), wanted[name], rtol=1e-3, atol=1e-4 * largest)
    # The shares are exact: they sum to the score, not to about it.
    assert found.contributions is not None
    gap = np.abs(found.contributions.sum(axis=1) - found.score)
    assert (gap <= 1e-6 * np.abs(found.contributions).sum(axis=1)).all()


def _random_baseline(random: np.random.Generator) -> Baseline:
    roots = random.standard_normal((STATISTICS, 3, 3))
    means = memory_weights(LENGTH)
    count = int(random.integers(1, 4))
    states = 10 * random.standard_normal((count, 3)) if count > 1 else np.zeros((1, 3))
    mixing = np.eye(3) + 0.3 * random.standard_normal((3, 3))
    changes = means[0, 1:] / means[0, 1:].sum()
    points = int(random.choice([1, 48, 336]))  # 1: no season
    form = Form(states, np.ones(3), mixing, random.standard_normal(3), means, changes)
    return Baseline(
        center=10 * random.standard_normal(3),
        spread=0.1 + random.random(3),
        form=form,
        restless=0.1 + random.random(3),
        middle=random.standard_normal((STATISTICS, 3)),
        sigma=0.1 + random.random((STATISTICS, 3)),
        precision=roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(3),
        causes=np.eye(3) + 0.3 * random.standard_normal((STATISTICS, 3, 3)),
        events=random.standard_normal((STATISTICS, 3)),
        usual=random.standard_normal(3),
        limit=1 + 9 * random.random(CHARTS),
        counter=np.zeros(3, bool),
        offset=np.zeros(3),
        season=(points > 1) * random.standard_normal((points, STATISTICS, 3)),
    )


def _plain(center: float, spread: float) -> Baseline:
    """One channel, every statistic centred at 0 and of unit variance; no limits."""
    one, means = np.ones(1), memory_weights(LENGTH)
    form = Form(
        np.zeros((1, 1)), one, np.eye(1), np.zeros(1), means, means[0, 1:] / means[0, 1:].sum()
    )
    return Baseline(
        center * one,
        spread * one,
        form,
        one,
        middle=np.zeros((STATISTICS, 1)),
        sigma=np.ones((STATISTICS, 1)),
        precision=np.ones((STATISTICS, 1, 1)),
        causes=np.ones((STATISTICS, 1, 1)),
        events=np.zeros((STATISTICS, 1)),
        usual=np.zeros(1),
        limit=np.ones(CHARTS),
        counter=np.zeros(1, bool),
        offset=np.zeros(1),
        season=np.zeros((1, STATISTICS, 1)),
    )


def _changes() -> np.ndarray:
    """The weights of the changes in a window."""
    return _plain(0.0, 1.0).form.changes


def _run(
    baselines: list[Baseline], x: np.ndarray, unit: np.ndarray, hour: np.ndarray | None = None
) -> Outputs:
    from edge_agent.learning.graph import build_graph  # noqa: PLC0415

    learned = learn({"A": healthy(1)}, recipe(), now_us=NOW_US)
    raw = build_graph(baselines, LENGTH)
    feeds = {"x": x, "unit": unit}
    if hour is not None and any(len(each.season) > 1 for each in baselines):
        feeds["hour"] = hour
    return model_of_graph(learned.manifest, raw).infer(feeds)


def test_the_score_is_t_squared_of_the_smoothed_row_by_hand() -> None:
    """One channel, unit covariance: squares of both weighted means and of the log of changes."""
    rows = np.random.default_rng(0).standard_normal((LENGTH, 1)) + 7
    z = (rows[:, 0] - 5) / 2
    means = memory_weights(LENGTH) @ z
    restless = np.log(_changes() @ np.abs(np.diff(z)) + STILLNESS)
    by_hand = np.array([*means, restless]) ** 2
    assert np.allclose(judge(_plain(5.0, 2.0), rows)[0], [*by_hand, *by_hand, 0.0])


def test_each_asset_is_judged_by_its_own_baseline(pair: LearnedBundle) -> None:
    mine, other = scores(pair, healthy(1), 0).score, scores(pair, healthy(1), 1).score
    assert mine.max() < 1.0
    assert other.min() > 1.0


def test_a_fault_alarms_and_names_its_input(pair: LearnedBundle) -> None:
    rows = healthy(1).astype(float)
    rows[300:, 1] += 12 * rows[:300, 1].std()
    found = scores(pair, rows)
    ends = np.arange(LENGTH - 1, len(rows))
    assert found.score[ends < 300].max() < 1.0
    assert found.score[ends > 315].min() > 1.0
    assert found.contributions is not None
    assert (found.contributions[ends > 315].argmax(axis=1) == 1).all()
    assert found.health is not None
    assert np.allclose(found.health, 1 / (1 + found.score))


def test_nan_in_gives_nan_out(pair: LearnedBundle) -> None:
    """A score is never made of a hole; who calls decides what that means."""
    x = windows(healthy(1))[:3]
    x[1, 4, 2] = np.nan
    found = model_of(pair).infer({"x": x, "unit": np.zeros(3, np.int64)})
    assert np.isnan(found.score).tolist() == [False, True, False]


def test_infinity_counts_as_far_and_no_more(pair: LearnedBundle) -> None:
    x = np.repeat(windows(healthy(1))[:1], 2, axis=0)
    x[0, :, 0], x[1, :, 0] = np.inf, 1e30
    score = model_of(pair).infer({"x": x, "unit": np.zeros(2, np.int64)}).score
    assert score[0] == score[1]
    assert 1.0 < score[0] < 1e5


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        learn({"A": healthy(1)}, recipe(name="x"), now_us=NOW_US).write(tmp_path / name)
    for file in ("model.onnx", "golden.npz", "model.yaml"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_bundle_passes_its_own_verification(pair: LearnedBundle, tmp_path: Path) -> None:
    manifest = pair.write(tmp_path / "learned")
    assert verify_bundle(tmp_path / "learned") == []
    assert manifest.version.startswith("20260101T000000Z-")
    assert manifest.units == ("A", "B")


def test_golden_vectors_hold_no_plant_data(pair: LearnedBundle) -> None:
    rows = {tuple(row) for seed in (1, 2) for row in healthy(seed).tolist()}
    assert not rows & {tuple(row) for row in pair.golden[0]["x"].reshape(-1, 3).tolist()}


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_healthy_data_that_was_never_seen_raises_no_alarm(seed: int) -> None:
    """Learned from 600 rows, judged on the 5,400 that follow."""
    rows = healthy(seed, 6000)
    learned = learn({"A": rows[:600]}, recipe(), now_us=NOW_US)
    assert scores(learned, rows[600:]).score.max() < 1.0


def test_fewer_false_alarms_wanted_means_a_higher_limit() -> None:
    found = [
        scores(
            learn({"A": healthy(1)}, recipe(false_alarms_per_day=rate), now_us=NOW_US), healthy(1)
        ).score.mean()
        for rate in (10.0, 1.0, 0.1, 0.01)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.5 * found[-1]


def test_the_limit_states_what_it_rests_on(pair: LearnedBundle) -> None:
    stated = pair.manifest.calibration
    days = 2 * (600 - LENGTH + 1) / 86_400
    assert float(stated["held_out_asset_days"]) == pytest.approx(days, rel=1e-3)
    assert stated["held_out_alarms"] == "0"
    assert float(stated["at_most_per_asset_day"]) == pytest.approx(3.0 / days, rel=0.02)
    assert pair.manifest.false_alarms_per_day == float(stated["at_most_per_asset_day"])
    assert stated["wanted_per_asset_day"] == "0.1"


def test_what_is_held_out_teaches_nothing() -> None:
    """A baseline is the same whatever was in the rows that it may not read."""
    rows = healthy(1).astype(float)
    other = rows.copy()
    other[300:450] = 1e6
    used = np.ones(600, bool)
    used[300:450] = False
    for plan in (Plan(), Plan(states=2), Plan(others=True), Plan(period=9.0, excursions=True)):
        mine, blind = (fit(each, used, np.ones(3), LENGTH, plan) for each in (rows, other))
        assert np.array_equal(judge(mine, rows), judge(blind, rows))


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (5, 10.51), (1000, 1053.9)])
def test_the_upper_bound_is_that_of_the_tables(count: int, bound: float) -> None:
    """Garwood's exact one-sided 95 % limits."""
    assert poisson_upper(count) == pytest.approx(bound, rel=0.011)


def test_outliers_in_healthy_data_do_not_hide_a_fault() -> None:
    """1 % of wild values leave the baseline nearly as sharp as without them."""
    rows = healthy(1, 2000)
    wild = rows.copy()
    wild[np.random.default_rng(0).integers(0, 2000, 20), 0] += 1000 * rows[:, 0].std()
    learned = learn({"A": wild}, recipe(), now_us=NOW_US)
    for channel in range(3):
        fault = rows[:400].astype(float)
        fault[200:, channel] += 15 * rows[:, channel].std()
        assert scores(learned, fault).score[220:].min() > 1.0


# -- channels that hardly move --------------------------------------------------------------------


def constant_rows(level: float, rows: int = 600) -> np.ndarray:
    return np.column_stack([healthy(1, rows), np.full(rows, level, np.float32)])


def constant_scores(level: float, then: float, valid: tuple[float, float] | None = None) -> float:
    """The last score after a channel that always read `level` goes to `then`."""
    inputs = (*recipe(3).inputs, InputSpec("switch", valid=valid))
    learned = learn({"A": constant_rows(level)}, recipe(inputs=inputs), now_us=NOW_US)
    rows = constant_rows(level)
    rows[-LENGTH:, 3] = then
    return float(scores(learned, rows).score[-1])


@pytest.mark.parametrize(
    ("level", "then", "valid", "alarms"),
    [
        (20.0, 20.1, None, False),  # a last digit: half of the 1 % that count as one spread
        (20.0, 30.0, None, True),
        (0.0, 1.0, None, True),
        (0.0, 0.005, None, False),
        (20.0, 20.9, (0.0, 100.0), False),  # 1 % of the valid range is more than 1 % of 20
        (20.0, 60.0, (0.0, 100.0), True),
        (-5.0, 5.0, None, True),
    ],
)
def test_a_constant_that_moves_alarms_but_not_for_a_last_digit(
    level: float, then: float, valid: tuple[float, float] | None, *, alarms: bool
) -> None:
    score = constant_scores(level, then, valid)
    assert (score >= 1.0) is alarms
    assert score < 100.0


@pytest.mark.parametrize("level", [0.1, 1.0, 400.7])
def test_rounding_of_a_constant_is_no_deviation(level: float, tmp_path: Path) -> None:
    """Else single and double precision would disagree, and the bundle would be refused."""
    rows = np.column_stack([metered(9000), np.full(9000, level, np.float32)])
    learn({"A": rows}, recipe(4), now_us=NOW_US).write(tmp_path / "learned")
    assert verify_bundle(tmp_path / "learned") == []


@pytest.mark.parametrize("rows", [600, 9000])
def test_a_machine_on_which_nothing_moves_is_refused(rows: int) -> None:
    """It stood still: a baseline of that would never alarm, or at the first start."""
    still = np.tile(np.array([5.0, 0.0, -20.0], np.float32), (rows, 1))
    with pytest.raises(ModelError, match="no input has moved"):
        learn({"A": still}, recipe(), now_us=NOW_US)


def test_one_step_of_a_coarse_channel_is_no_event() -> None:
    """A reading that once in a while goes one step up and back does not alarm when it does so."""
    rows = constant_rows(4.0, 2000)
    rows[np.arange(300, 1900, 400), 3] = 5.0
    learned = learn({"A": rows}, recipe(4), now_us=NOW_US)
    assert scores(learned, rows).score.max() < 1.0
    # Nor may such steps lift the limit so far that the others' faults go unseen.
    rows[-60:, 1] += 12 * rows[:, 1].std()
    assert scores(learned, rows).score[-30:].min() > 1.0


def test_two_sensors_of_one_thing_do_not_make_the_distance_explode() -> None:
    random = np.random.default_rng(0)
    rows = healthy(1, 6000).astype(float)
    rows = np.column_stack([rows, rows[:, 0] + 1e-6 * random.standard_normal(6000)])
    learned = learn({"A": rows.astype(np.float32)}, recipe(4), now_us=NOW_US)
    other = rows.copy()
    other[:, 3] += 0.05 * rows[:, 0].std()
    assert scores(learned, other).score.max() < 1.0


# -- gaps and refusals ----------------------------------------------------------------------------


def test_short_gaps_are_held_and_long_ones_left_out() -> None:
    """Both leave enough; windows over a long gap or a break are not learned from."""
    rows = healthy(1, 900)
    rows[100:102, 0] = np.nan
    rows[300:340, 1] = np.nan
    rows[600] = np.nan
    rows[601:, 2] += 0.0
    learned = learn({"A": rows}, recipe(), now_us=NOW_US)
    days = float(learned.manifest.calibration["held_out_asset_days"]) * 86_400
    # Lost: 15 at the begin; the 37 rows beyond the 3 that are held, and the break, with their 15.
    assert days == pytest.approx(900 - 15 - (37 + 15) - (1 + 15), rel=1e-3)


def test_a_break_is_never_bridged() -> None:
    """Two levels with a row of NaN between them: no window may average over both."""
    rows = np.concatenate([healthy(1), np.full((1, 3), np.nan, np.float32), healthy(1)])
    whole = learn({"A": np.concatenate([healthy(1), healthy(1)])}, recipe(), now_us=NOW_US)
    apart = learn({"A": rows}, recipe(), now_us=NOW_US)
    assert apart.manifest.calibration != whole.manifest.calibration


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (healthy(1, 100), "100 complete rows of the 128 needed"),
        (np.full((600, 3), np.nan, np.float32), "no value at all of s0, s1, s2"),
        (np.column_stack([healthy(1)[:, :2], np.full(600, np.nan)]), "no value at all of s2"),
        (healthy(1, 600, 2), "rows are (600, 2), not [T, 3]"),
        (np.where(np.arange(600)[:, None] % 12 == 0, np.nan, healthy(1)), "too few unbroken"),
        (np.full((600, 3), np.inf, np.float32), "no value at all"),
    ],
)
def test_too_little_is_refused_with_the_asset_and_the_reason(rows: np.ndarray, told: str) -> None:
    with pytest.raises(ModelError) as refused:
        learn({"P-7": rows}, recipe(), now_us=NOW_US)
    assert told in str(refused.value)
    assert "P-7" in str(refused.value)


def test_one_bad_asset_does_not_stop_the_others() -> None:
    learned = learn({"A": healthy(1), "B": healthy(2, 50)}, recipe(), now_us=NOW_US)
    assert learned.manifest.units == ("A",)
    assert list(learned.refused) == ["B"]
    assert "50 complete rows" in learned.refused["B"]


# -- numbers --------------------------------------------------------------------------------------


def test_shrinkage_falls_with_the_rows_and_rises_with_their_likeness() -> None:
    coupled = 0.5 * np.eye(4) + 0.5
    assert oas_shrinkage(coupled, 20) > oas_shrinkage(coupled, 200) > oas_shrinkage(coupled, 20_000)
    assert oas_shrinkage(coupled, 20_000) < 0.001
    assert oas_shrinkage(np.eye(4), 20_000) == 1.0


@example(seed=2767, samples=1, size=1)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(1, 10**6), size=st.integers(1, 12))
def test_shrinkage_is_a_share(seed: int, samples: int, size: int) -> None:
    root = np.random.default_rng(seed).standard_normal((size, size))
    assert 0.0 <= oas_shrinkage(root @ root.T, samples) <= 1.0


@given(st.integers(1, 300))
def test_memories_sum_to_one_and_look_back(length: int) -> None:
    weights = memory_weights(length)
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert (np.diff(weights, axis=1) > 0).all()


def test_the_clip_bounds_what_one_value_can_do() -> None:
    rows = np.zeros((LENGTH, 1))
    rows[-1] = 1e12
    newest = memory_weights(LENGTH)[:, -1]
    changed = np.log(_changes()[-1] * CLIP + STILLNESS)
    by_hand = np.array([*(newest * CLIP), changed]) ** 2
    assert np.allclose(judge(_plain(0.0, 1.0), rows)[0], [*by_hand, *by_hand, 0.0])


# -- what no mean sees ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "oscillation", "stuck"])
def test_a_channel_that_becomes_restless_or_stands_still_alarms(kind: str) -> None:
    """Its mean stays where it was; the two memories alone would not see it."""
    random = np.random.default_rng(3)
    rows = random.standard_normal((3000, 3)).astype(np.float32)
    learned = learn({"A": rows[:2000]}, recipe(3, length=64), now_us=NOW_US)
    fault = rows[2000:].copy()
    if kind == "noise":
        fault[500:, 1] *= 2.5
    elif kind == "oscillation":
        fault[500:, 1] += 1.5 * (-1.0) ** np.arange(500)
    else:
        fault[500:, 1] = 0.0
    x = windows(fault, 64)
    found = model_of(learned).infer({"x": x, "unit": np.zeros(len(x), np.int64)})
    ends = np.arange(63, len(fault))
    assert found.score[ends < 500].max() < 1.0
    assert np.median(found.score[ends > 600]) > 1.0
    assert found.contributions is not None
    assert np.bincount(found.contributions[ends > 600].argmax(axis=1)).argmax() == 1


def test_a_state_that_the_machine_holds_is_healthy_and_hides_no_fault() -> None:
    """Idle for a tenth of the time, far from its middle; a quarter of that way off is a fault."""
    random = np.random.default_rng(5)
    load = np.repeat(np.arange(60) % 10 != 0, 100).astype(float)
    rows = np.column_stack([100 * load, 40 * load]) + random.standard_normal((6000, 2))
    learned = learn({"A": rows[:4000].astype(np.float32)}, recipe(2), now_us=NOW_US)
    fault = rows[4000:].copy()
    fault[1500:, 1] -= 9 * load[5500:]
    found = scores(learned, fault.astype(np.float32)).score
    assert found[:1400].max() < 1.0
    assert np.median(found[-300:]) > 1.0


def test_a_start_up_among_the_healthy_rows_does_not_blind() -> None:
    """The first minute is of another machine, so to speak; one quarter of four is far off then."""
    rows = healthy(1, 16_000)
    started = rows.copy()
    started[:60] = 0.0
    learned = learn({"A": started}, recipe(), now_us=NOW_US)
    fault = rows[:600].astype(float)
    fault[300:, 1] += 3 * rows[:, 1].std()
    found = scores(learned, fault).score
    assert found[:280].max() < 1.0
    assert found[330:].min() > 1.0


# -- counters -------------------------------------------------------------------------------------


def metered(rows: int, begin: float = 81_234.0) -> np.ndarray:
    """Two channels as ever, and a meter of whole units that takes what the first one uses."""
    random = np.random.default_rng(2)
    use = 0.5 + 0.1 * random.standard_normal(rows)
    meter = np.floor(begin + np.cumsum(use))
    return np.column_stack([use, random.standard_normal(rows), meter]).astype(np.float32)


def test_a_counter_may_count_on() -> None:
    """What it reads was never seen while healthy; how fast it counts was."""
    rows = metered(12_000)
    learned = learn({"A": rows[:4000]}, recipe(3), now_us=NOW_US)
    assert scores(learned, rows[4000:]).score.max() < 1.0
    assert learned.manifest.calibration["judged_by_their_rate"] == "s2"
    assert set(learned.manifest.healthy) == {"s0", "s1"}


def test_a_counter_that_stops_alarms() -> None:
    rows = metered(6000)
    learned = learn({"A": rows[:4000]}, recipe(3), now_us=NOW_US)
    rows[5000:, 2] = rows[4999, 2]
    found = scores(learned, rows[4000:])
    assert found.score[:950].max() < 1.0
    assert found.score[1030:].min() > 1.0
    assert found.contributions is not None
    assert (found.contributions[1030:].argmax(axis=1) == 2).all()


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.arange(1000.0), True),
        (np.floor(np.arange(1000.0) / 50), True),
        (np.concatenate([np.arange(900.0), np.arange(100.0)]), True),  # reset once
        (np.arange(1000.0)[::-1], False),
        (np.arange(1000.0) % 20, False),  # a sawtooth falls often
        (np.ones(1000), False),
        (np.arange(1000.0) > 500, False),  # one step is no counting
        (np.random.default_rng(0).standard_normal(1000), False),
        (np.arange(1000.0) + np.random.default_rng(0).standard_normal(1000), False),  # a drift
    ],
)
def test_what_is_a_counter(values: np.ndarray, *, counts: bool) -> None:
    assert counters(values[:, None].astype(float)).tolist() == [counts]


def test_a_gap_does_not_make_a_counter_jump() -> None:
    """The rate over a gap is unknown, as all else is there."""
    rows = metered(2000)
    rows[700:900] = np.nan
    counter = np.array([False, False, True])
    found = rates(rows.astype(float), counter)[:, 2]
    assert np.nanmax(found) <= 2.0
    assert np.isnan(found[700:901]).all()


# -- what is hardly known -------------------------------------------------------------------------


def walk(rows: int, seed: int, memory: float) -> np.ndarray:
    """Unit deviation, mean-reverting within about `memory` rows."""
    random = np.random.default_rng(seed)
    keep = np.exp(-1 / memory)
    found, value = np.empty(rows), 0.0
    for row in range(rows):
        value = keep * value + np.sqrt(1 - keep**2) * random.standard_normal()
        found[row] = value
    return found


def test_values_that_depend_on_each_other_count_for_fewer() -> None:
    rows = 8000
    series = np.column_stack([walk(rows, 0, 0.1), walk(rows, 1, 50.0), walk(rows, 2, 2000.0)])
    white, short, slow = effective_number(series, np.arange(rows) * 16 // rows)
    assert white > 1000
    assert 20 < short < 400  # 8000 rows hold about 80 times twice its memory
    assert slow < 15


def test_the_tail_of_few_values_is_that_of_the_tables() -> None:
    """Student's quantiles that are as rare as three sigmas; with the mean's own variance."""
    for number, quantile in ((5, 6.62), (10, 4.09), (30, 3.28)):
        table = quantile**2 / 9 * (1 + 1 / number)
        assert inflation(np.array([float(number)]))[0] == pytest.approx(table, rel=0.12)
    assert inflation(np.array([1e6]))[0] == pytest.approx(1.0, abs=1e-3)
    assert inflation(np.zeros(1))[0] > 100  # nothing known: nothing far


def test_what_drifts_slowly_and_healthily_may_drift_on() -> None:
    """One channel of three wanders for hours; a fault of another one is seen all the same."""
    found, faults = [], []
    for seed in range(4):
        random = np.random.default_rng(seed)
        rows = random.standard_normal((6000, 3))
        rows[:, 0] = 0.3 * rows[:, 0] + 3 * walk(6000, 100 + seed, 3000.0)
        learned = learn({"A": rows[:3000].astype(np.float32)}, recipe(3), now_us=NOW_US)
        found.append(scores(learned, rows[3000:].astype(np.float32)).score)
        rows[3000:, 1] += 4.0
        faults.append(scores(learned, rows[3000:].astype(np.float32)).score)
    assert np.mean(np.concatenate(found) >= 1.0) < 0.02
    assert np.mean(np.concatenate(faults) >= 1.0) > 0.9


# -- what float32 does not resolve ----------------------------------------------------------------


def rippled(rows: int, base: float, seed: int = 1) -> np.ndarray:
    """A pressure of `base` Pa with a ripple of 0.05, and a temperature."""
    random = np.random.default_rng(seed)
    return np.column_stack([base + random.normal(0, 0.05, rows), random.normal(60, 0.5, rows)])


@pytest.mark.parametrize("base", [0.0, 1e7, 4.2e9, -3e8, 1.7e12])
def test_a_small_ripple_on_a_large_reading_is_seen_as_at_zero(base: float) -> None:
    """The offset is in the manifest, so that the bundle says all by itself."""
    learned = learn({"A": rippled(4000, base)}, recipe(2), now_us=NOW_US)
    assert bool(learned.manifest.inputs[0].offset) == (base != 0)
    assert not learned.manifest.inputs[1].offset
    rows = rippled(1200, base, seed=2)
    rows[600:, 0] += 0.5
    found = scores(learned, rows)
    assert found.score[:580].max() < 1.0
    assert found.score[630:].min() > 1.0
    assert found.contributions is not None
    assert (found.contributions[630:].argmax(axis=1) == 0).all()
    model_of(learned).self_test(learned.golden)


def test_every_asset_has_an_offset_and_counters_of_its_own() -> None:
    """One bundle: one asset's meter stands at billions, the other's input only varies."""
    random = np.random.default_rng(3)
    meter = np.column_stack([4.2e9 + np.cumsum(random.normal(3, 0.4, 4000)), rippled(4000, 0)])
    level = np.column_stack([rippled(4000, 5e9)[:, 0], rippled(4000, 1e9)])
    learned = learn({"A": meter, "B": level}, recipe(3), now_us=NOW_US)
    manifest = learned.manifest
    assert manifest.inputs[0].counter == (True, False)
    assert manifest.inputs[0].offset[0] == 0.0
    assert manifest.inputs[0].offset[1] == pytest.approx(5e9)
    assert manifest.inputs[1].offset[1] == pytest.approx(1e9)
    assert scores(learned, meter, 0).score.max() < 1.0
    assert scores(learned, level, 1).score.max() < 1.0
    level[2000:, 0] += 0.5
    assert scores(learned, level, 1).score[2030:].min() > 1.0
    assert manifest.calibration["read_less_an_offset"] == "s0, s1"
    model_of(learned).self_test(learned.golden)


@pytest.mark.parametrize("begin", [0.0, 65_000.0, 2.0**32 - 9000, 4.2e9, 1.7e12])
def test_a_meter_is_judged_alike_wherever_it_stands_and_however_it_rolls_over(begin: float) -> None:
    """Counts of 16 bits roll over while it is learned and while it is watched: no fault."""
    random = np.random.default_rng(5)
    size = 2.0**16 if begin < 2**16 else 2.0**32 if begin < 2**32 else np.inf
    steps = np.round(random.normal(30, 4, 12_000))
    steps[10_000:11_000] *= 2
    reads = np.fmod(begin + np.cumsum(steps), size)
    rows = np.column_stack([random.normal(60, 0.5, 12_000), reads])
    learned = learn({"A": rows[:6000]}, recipe(2), now_us=NOW_US)
    assert learned.manifest.calibration["judged_by_their_rate"] == "s1"
    found = scores(learned, rows[6000:]).score
    assert found[:3980].max() < 1.0
    assert found[4030:4980].min() > 1.0
    assert found[5100:].max() < 1.0


def test_a_meter_that_is_reset_raises_nothing() -> None:
    random = np.random.default_rng(6)
    reads = 80_000 + np.cumsum(random.normal(3, 0.4, 6000))
    reads[5000:] -= reads[5000] - 2
    rows = np.column_stack([random.normal(60, 0.5, 6000), reads])
    learned = learn({"A": rows[:4000]}, recipe(2), now_us=NOW_US)
    assert scores(learned, rows[4000:]).score.max() < 1.0


# -- each input given the others ------------------------------------------------------------------


def test_an_input_is_named_and_not_those_that_it_explains() -> None:
    """One load moves five inputs; a shift of one of them moves what is left of all others."""
    random = np.random.default_rng(0)
    load = np.repeat(random.integers(1, 4, 60), 100).astype(float)
    load = np.convolve(load, np.ones(9) / 9, "same")
    rows = np.column_stack([load, load**2, load**3, 2 * load + 0.3 * load**2, -load])
    rows += 0.02 * random.standard_normal(rows.shape)
    learned = learn({"A": rows}, recipe(5), now_us=NOW_US)
    assert learned.manifest.calibration["form"] == "each input given the others"
    for channel in range(5):
        fault = rows[:400].copy()
        fault[200:, channel] += 0.2 * rows[:, channel].std()
        found = scores(learned, fault)
        assert found.score[260:].min() > 1.0
        assert found.contributions is not None
        assert (found.contributions[260:].argmax(axis=1) == channel).all()
