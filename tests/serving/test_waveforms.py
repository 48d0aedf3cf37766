"""Blocks of samples on their way to real models: alone, and beside a scalar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_plants import BEGIN_S, NOTHING, Live, of
from plants import S
from support import value_of
from wave_models import LENGTH, RATE_HZ, largest, largest_and_mean

from edge_agent.config.schema import Kind, Signal, Uncertain
from edge_agent.values import BAD, GOOD, UNCERTAIN, Columns, TensorBlock, columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.serving.scored import Scored

SOUND = Signal(source="bus", kind=Kind.WAVEFORM, rate_hz=RATE_HZ)
LOAD = Signal(source="bus")
# The numbers of the signals in `of(load=LOAD, sound=SOUND)`.
LOAD_ROW, SOUND_ROW = 0, 1


def block(
    end_s: float, peak: float, *, n: int = LENGTH, status: int = GOOD, signal: int = 0
) -> TensorBlock:
    """Samples of 1 whose last is `peak`; the last one's time is `end_s` after the beginning."""
    samples = np.ones(n, np.float32)
    samples[-1] = peak
    return TensorBlock(signal, BEGIN_S * S + round(end_s * S), RATE_HZ, samples, status)


def scored(
    live: Live, t: float, values: Columns = NOTHING, blocks: Sequence[TensorBlock] = ()
) -> list[Scored]:
    now_us = BEGIN_S * S + round(t * S)
    due = live.pipeline.close_windows(values, blocks, now_us=now_us, monotonic_s=t)
    return live.pipeline.score_windows(due)


def scores(
    live: Live, t: float, values: Columns = NOTHING, blocks: Sequence[TensorBlock] = ()
) -> list[float]:
    found = scored(live, t, values, blocks)
    return [float(score) for one in found for score in one.outputs.score]


def load(t: float, value: float, status: int = GOOD) -> Columns:
    return columns([LOAD_ROW], [(BEGIN_S + round(t)) * S], [value], status)


@pytest.fixture
def alone(tmp_path: Path) -> Live:
    live = Live(of("largest", sound=SOUND))
    assert live.use(largest(tmp_path)) == [""]
    return live


@pytest.fixture
def beside(tmp_path: Path) -> Live:
    """Four rows of load are in its window."""
    live = Live(of("both", load=LOAD, sound=SOUND))
    assert live.use(largest_and_mean(tmp_path)) == [""]
    for t in range(4):
        assert scores(live, t, load(t, 1.0)) == []
    return live


def test_a_block_becomes_windows_that_are_scored_once(alone: Live) -> None:
    """2.5 windows in three blocks; the half that is left waits for the next."""
    assert scores(alone, 0, blocks=[block(0, 3.0, n=300)]) == []
    assert scores(alone, 1, blocks=[block(0.7, 4.0, n=700)]) == [3.0, 4.0]
    assert scores(alone, 2, blocks=[block(0.95, 5.0, n=250)]) == []
    assert scores(alone, 3, blocks=[block(1.2, 6.0, n=250)]) == [6.0]


def test_windows_carry_the_time_of_their_samples(alone: Live) -> None:
    (first, second) = scored(alone, 1, blocks=[block(0.999, 1.0, n=1000)])
    begin_us = BEGIN_S * S
    assert second.end_us[0] == begin_us + 999_000
    assert first.end_us[0] == begin_us + 499_000
    assert second.end_us[0] - second.start_us[0] == 500_000


def test_a_gap_is_never_bridged(alone: Live) -> None:
    """Half a window before it and half after it are no window."""
    assert scores(alone, 0, blocks=[block(0, 1.0, n=400)]) == []
    assert scores(alone, 1, blocks=[block(1, 1.0, n=400)]) == []
    assert scores(alone, 2, blocks=[block(1.1, 2.0, n=100)]) == [2.0]


def test_an_alarm_of_a_waveform_model_is_raised_and_clears(alone: Live) -> None:
    for t in range(100):
        alone.turn(t, blocks=[block(t, 20.0 if 10 <= t < 20 else 1.0)])
    assert alone.told() == [("raise", "anomaly"), ("clear", "anomaly")]
    raised = alone.transitions[0]
    assert raised.at_us == (BEGIN_S + 10) * S
    assert raised.alarm.detail is not None
    (sound,) = raised.alarm.detail.contributors
    assert (sound.input, sound.weight, sound.unit) == ("sound", 20.0, "g")
    assert sound.value < sound.weight, "its root mean square; the largest sample is the score"


@pytest.mark.parametrize(
    ("status", "uncertain", "is_scored"),
    [
        (GOOD, Uncertain.BAD, True),
        (UNCERTAIN, Uncertain.USE, True),
        (UNCERTAIN, Uncertain.HOLD, False),
        (UNCERTAIN, Uncertain.BAD, False),
        (BAD, Uncertain.USE, False),
    ],
)
def test_a_block_of_bad_quality_never_reaches_the_model(
    tmp_path: Path, status: int, uncertain: Uncertain, *, is_scored: bool
) -> None:
    signal = Signal(source="bus", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, uncertain=uncertain)
    live = Live(of("largest", sound=signal))
    live.use(largest(tmp_path))
    assert bool(scores(live, 0, blocks=[block(0, 1.0, status=status)])) is is_scored


def test_a_block_of_a_slower_rate_or_of_no_numbers_is_refused_and_counted(alone: Live) -> None:
    other = TensorBlock(0, BEGIN_S * S, RATE_HZ / 2, np.ones(LENGTH, np.float32))
    assert scores(alone, 0, blocks=[other, block(0, np.nan)]) == []
    refused = alone.metrics.values_rejected.labels("bus", "waveform")
    assert value_of(refused) == 2


def test_a_waveform_that_comes_is_not_stale_and_one_that_stops_is(alone: Live) -> None:
    for t in range(60):
        alone.turn(t, blocks=[block(t, 1.0)])
    assert alone.told() == []
    alone.turn(70)
    assert alone.told() == [("raise", "sensor_stale")]
    alone.turn(71, blocks=[block(71, 1.0)])
    alone.turn(110, blocks=[block(71 + 0.5 * n, 1.0) for n in range(1, 78)])
    assert alone.told()[1:] == [("clear", "sensor_stale")]


def test_a_waveform_of_bad_quality_has_an_alarm_of_its_own(alone: Live) -> None:
    alone.turn(0, blocks=[block(0, 1.0, status=BAD)])
    assert alone.told() == [("raise", "sensor_bad")]


def test_an_empty_block_does_no_harm(alone: Live) -> None:
    assert scores(alone, 0, blocks=[block(0, 1.0, n=499)]) == []
    empty = TensorBlock(0, BEGIN_S * S, RATE_HZ, np.empty(0, np.float32))
    assert scores(alone, 0.1, blocks=[empty]) == []
    assert scores(alone, 0.2, blocks=[block(0.001, 2.0, n=1)]) == [2.0]


def test_a_long_block_is_not_a_window_for_each_sample(alone: Live) -> None:
    """The hop of a manifest that says none is 1; a million windows would end the process."""
    found = scored(alone, 0, blocks=[block(0, 1.0, n=100 * LENGTH)])
    assert sum(len(one.row) for one in found) == 100


def test_a_hop_that_is_said_makes_windows_overlap(tmp_path: Path) -> None:
    live = Live(of("largest", sound=SOUND))
    live.use(largest(tmp_path, hop=250))
    assert scores(live, 0, blocks=[block(0, 7.0, n=1000)]) == [1.0, 1.0, 7.0]


def test_scalar_windows_are_scored_with_the_newest_waveform(beside: Live) -> None:
    sound = [block(4, 2.0, signal=SOUND_ROW)]
    assert scores(beside, 4, load(4, 1.0), sound) == [3.0]
    assert scores(beside, 5, load(5, 5.0)) == [4.0]
    newer = [block(6, 8.0, signal=SOUND_ROW)]
    assert scores(beside, 6, load(6, 1.0), newer) == [10.0]


def test_a_window_without_a_waveform_is_skipped_and_counted(beside: Live) -> None:
    """A sensor that died hours ago must not be looked at for ever."""
    skipped = beside.metrics.windows.labels("both", "skipped_quality")
    before = value_of(skipped)
    assert scores(beside, 4, load(4, 1.0)) == []
    assert scores(beside, 5, load(5, 1.0), [block(5, 2.0, signal=SOUND_ROW)]) == [3.0]
    assert scores(beside, 10, columns([0] * 5, _seconds(6, 11), [1.0] * 5)) == [3.0] * 5
    assert scores(beside, 11, load(11, 1.0)) == []  # older than the five seconds of its source
    assert value_of(skipped) - before == 2


def test_a_waveform_that_is_said_to_be_bad_is_forgotten_at_once(beside: Live) -> None:
    """And the scalar beside it is not touched by that."""
    assert scores(beside, 4, load(4, 1.0), [block(4, 2.0, signal=SOUND_ROW)]) == [3.0]
    bad = columns([SOUND_ROW], [(BEGIN_S + 5) * S], [np.nan], BAD)
    assert scores(beside, 5, bad) == []
    assert scores(beside, 5, load(5, 1.0)) == []
    assert scores(beside, 6, load(6, 1.0), [block(6, 4.0, signal=SOUND_ROW)]) == [5.0]


def _seconds(begin: int, end: int) -> list[int]:
    return [(BEGIN_S + t) * S for t in range(begin, end)]
