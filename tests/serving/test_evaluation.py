"""What scores bring about is a pure function of the scores and of what is known of the assets."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import numpy as np
import orjson
import plants
from plants import S

from edge_agent.serving import EvaluationRules, Scored, ScoreState, evaluate

RULES = EvaluationRules("root", 0, replayed=False)


@cache
def scored() -> Scored:
    """The real windows of an asset whose flow is off from second 1040 on."""
    pipeline = plants.prepared(plants.config()).runtime.pipeline
    batches = pipeline.close_windows(plants.values(plants.fault(n=60, onset=40)))
    for one in pipeline.deployments:
        one.following = None  # else a batch is scored in turns
    (found,) = pipeline.score_windows(batches)
    assert np.flatnonzero(found.level >= 1.0).tolist()
    return found


def fresh() -> ScoreState:
    return ScoreState(
        np.zeros(1, bool),
        np.full(1, np.nan, np.float32),
        np.full(1, np.nan, np.float32),
        np.zeros(1, np.int64),
        np.zeros(1),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.float32),
    )


def columns_of(state: ScoreState) -> dict[str, list[float]]:
    return {one.name: getattr(state, one.name).tolist() for one in fields(state)}


def test_the_same_scores_and_state_give_the_same_and_change_nothing() -> None:
    """It may be called again, or its answer thrown away."""
    one, state = scored(), fresh()
    before = str(columns_of(state))
    first, second = (evaluate([one], {one.deployment: state}, RULES, 7.0) for _ in range(2))
    assert str(columns_of(state)) == before
    assert first.observations == second.observations
    assert first.scores == second.scores
    assert columns_of(first.state[one.deployment]) == columns_of(second.state[one.deployment])


def test_windows_are_reported_if_any_is_over_the_limit_or_the_alarm_is_open() -> None:
    """The new state says which assets the next turn must report in any case."""
    one = scored()
    healthy = one.level < 1.0
    assert healthy.any()
    found = evaluate([one], {one.deployment: fresh()}, RULES, 7.0)
    assert len(found.observations) == len(one.row)
    assert found.state[one.deployment].alarm_open.tolist() == [True]
    assert {seen.alarm_id for seen in found.observations} == {"any.base"}
    calm = part(one, healthy)
    assert evaluate([calm], {one.deployment: fresh()}, RULES, 7.0).observations == []
    again = evaluate([calm], found.state, RULES, 8.0)
    assert len(again.observations) == healthy.sum()


def part(one: Scored, which: np.ndarray) -> Scored:
    """Some of its windows."""
    values = {each.name: getattr(one, each.name) for each in fields(one)}
    rows = ("row", "start_us", "end_us", "coverage", "last", "level", "health")
    chosen = {name: values[name][which] for name in rows}
    numbers = np.flatnonzero(which)
    assert (np.diff(numbers) == 1).all()
    outputs = one.outputs.rows(int(numbers[0]), int(numbers[-1]) + 1)
    return Scored(**(values | chosen | {"outputs": outputs}))


def test_the_state_keeps_the_newest_score_of_each_asset() -> None:
    """Scored when, by event time and by the monotonic clock."""
    one = scored()
    state = evaluate([one], {one.deployment: fresh()}, RULES, 7.0).state[one.deployment]
    assert state.score[0] == one.outputs.score[-1]
    assert state.health[0] == one.health[-1]
    assert state.scored_us[0] == one.end_us[-1]
    assert state.scored_s[0] == 7.0


def test_scores_go_to_the_bus_at_most_once_an_interval_across_turns() -> None:
    """What was published is part of the state, whoever reads the messages."""
    one = scored()
    rules = EvaluationRules("root", 10 * S, replayed=False)
    half = np.arange(len(one.row)) < len(one.row) // 2
    first = evaluate([part(one, half)], {one.deployment: fresh()}, rules, 7.0)
    second = evaluate([part(one, ~half)], first.state, rules, 8.0)
    whole = evaluate([one], {one.deployment: fresh()}, rules, 7.0)
    assert first.scores + second.scores == whole.scores
    stamps = [orjson.loads(payload)["ts"] for _, payload in whole.scores]
    assert len(stamps) == 3
    assert (np.diff(stamps) >= 10_000).all()


def test_time_is_counted_as_judged_with_and_without_a_grid() -> None:
    """Without one it is the time since the window before, unless that was a pause."""
    one = scored()
    state = evaluate([one], {one.deployment: fresh()}, RULES, 7.0).state[one.deployment]
    assert state.judged_us.tolist() == [len(one.row) * S]
    windows, one.deployment.windows = one.deployment.windows, None
    try:
        times = np.cumsum([5, 2, 7200, 3]) * S  # seconds; the first follows a window at 0
        rowwise = replace(part(one, np.arange(len(one.row)) < 4), end_us=times[::-1])
        state = evaluate([rowwise], {one.deployment: fresh()}, RULES, 7.0).state[one.deployment]
    finally:
        one.deployment.windows = windows
    assert state.judged_us.tolist() == [10 * S]
