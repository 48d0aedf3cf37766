"""Baselines of waveforms follow slow change within bounds; a bearing that wears is still found."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime

from edge_agent.config.schema import Follow, Kind, ModelUse
from edge_agent.config.types import Duration, Name
from edge_agent.learning.waveform_bundle import WaveRecipe
from edge_agent.learning.waveform_fit import learn_waves
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.serving.followed import ACCEPTED, CONFIRMED
from edge_agent.serving.following import (
    FollowedWindows,
    Following,
    following_of,
)

RATE_HZ, LENGTH, STEP_S = 4000.0, 512, 60.0
LEARNED = 400  # windows; the memory is a quarter
DAY = 1440
RING = np.exp(-np.arange(24) / 4) * np.sin(0.6 * np.pi * np.arange(24))


def machine(n: int, seed: int, level: np.ndarray | float = 1.0, wear: float = 0.0) -> np.ndarray:
    """Windows [n, LENGTH] of noise; wear: the RMS of strikes of a bearing in the last window.

    The strikes grow in proportion to time, as they do in a bearing until it fails.
    """
    random = np.random.default_rng(seed)
    noise = random.standard_normal((n, LENGTH)) * np.broadcast_to(level, n)[:, None]
    strikes = np.zeros((n, LENGTH))
    strikes[:, :: int(RATE_HZ / 97)] = 1.0
    rung = np.apply_along_axis(lambda row: np.convolve(row, RING)[:LENGTH], 1, strikes)
    growth = wear * np.linspace(0, 1, n)[:, None]
    return np.asarray(noise + growth * rung / rung.std(), np.float32)


@cache
def session_of() -> tuple[onnxruntime.InferenceSession, Manifest]:
    spec = InputSpec("vibration", "g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, length=LENGTH)
    recipe = WaveRecipe("waves", (spec,), STEP_S)
    learned = learn_waves({"P": recipe.measure([machine(LEARNED, 1)])}, recipe, now_us=0)
    return onnxruntime.InferenceSession(learned.onnx_bytes), learned.manifest


class Judge:
    """One asset, judged and followed window by window as in the daemon."""

    def __init__(self, budget: float = 3.0, settle_after: float = 86_400.0) -> None:
        self.session, manifest = session_of()
        rules = Follow(budget, Duration(settle_after))
        found = following_of(ModelUse(Name("waves"), follow=rules), manifest)
        assert isinstance(found, Following)
        self.manifest, self.table = manifest, found
        self.table.grow()
        self.accepted: list[int] = []
        self.n = 0

    def run(self, windows: np.ndarray) -> np.ndarray:
        """The scores of these windows."""
        found = []
        for window in windows:
            feeds = {
                "vibration": window[None],
                "unit": np.zeros(1, np.int64),
                "followed": self.table.shown.astype(np.float32),
            }
            score, deviation = self.session.run(["score", "deviation"], feeds)
            at_us = np.array([round(self.n * STEP_S * 1e6)], np.int64)
            each = FollowedWindows(np.zeros(1, np.intp), at_us, score, deviation)
            self.table.follow(each, self.accepted.append)
            self.n += 1
            found.append(float(score[0]))
        return np.array(found)


def test_a_season_is_followed_and_raises_nothing() -> None:
    """A swing of the level by 12 %, three of its spreads, over four days."""
    level = np.exp(0.12 * np.sin(2 * np.pi * np.arange(4 * DAY) / (4 * DAY)))
    followed = Judge().run(machine(4 * DAY, 2, level))
    fixed = Judge(budget=0.0, settle_after=0.0).run(machine(4 * DAY, 2, level))
    assert np.mean(followed > 1) < 0.002
    assert np.quantile(followed, 0.99) < 0.8 * np.quantile(fixed, 0.99)


def test_a_bearing_that_wears_is_found_although_the_baseline_follows() -> None:
    """Strikes that grow over ten days: found not more than a tenth of its life later."""
    windows = machine(4 * DAY, 3, wear=1.5)

    def first_alarm(scores: np.ndarray) -> int:
        over = np.convolve(scores > 1, np.ones(5), "valid") == 5
        return int(over.argmax()) if over.any() else len(scores)

    judge = Judge(settle_after=0.0)
    found = first_alarm(judge.run(windows))
    fixed = first_alarm(Judge(budget=0.0, settle_after=0.0).run(windows))
    assert fixed <= found < fixed + len(windows) // 10
    assert found < len(windows) // 2
    assert np.abs(judge.table.moved).max() <= 3.0


def test_a_state_that_settled_is_accepted_and_a_later_fault_is_found() -> None:
    """A machine that runs twice as loud: the alarm stands for a day, then it is its new state."""
    judge = Judge(settle_after=86_400.0)
    first = judge.run(machine(DAY - 10, 4, 2.0))
    assert first.min() > 1
    assert not judge.accepted
    then = judge.run(machine(400, 5, 2.0))
    assert judge.accepted == [0]
    assert np.mean(then[-200:] > 1) < 0.05
    assert {each.kind for each in judge.table.of(0, judge.manifest)} == {ACCEPTED}
    assert judge.run(machine(20, 6, 4.0)).min() > 1


def test_an_operator_recentres_it_and_the_features_that_moved_are_named() -> None:
    judge = Judge()
    assert judge.run(machine(64, 7, 2.0)).min() > 1
    judge.table.confirm(0, 1)
    assert np.mean(judge.run(machine(100, 8, 2.0)) > 1) < 0.05
    first = judge.table.of(0, judge.manifest)[0]
    assert first.kind == CONFIRMED
    assert first.input == "vibration"
    assert first.budget == 3.0
    assert "level" in {each.statistic for each in judge.table.of(0, judge.manifest)}
