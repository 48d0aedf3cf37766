"""A season of the day or week is learned where the data show one, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import plants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.season import learn_season, season_at, seasons_in
from edge_agent.models import InputSpec, hours_of_week, local_hours, local_zone
from edge_agent.models.runtime.graph_engine import model_of_graph
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learning.learned_bundle import LearnedBundle

S = US_PER_S
DAY_S = 86_400
MONDAY_S = 1_793_577_600  # 2026-11-02 00:00 UTC
HALF_HOUR_S, TEN_MINUTES_S = 1800, 600


def times_of(rows: int, step_s: float, begin_s: float = MONDAY_S) -> np.ndarray:
    return np.round((begin_s + np.arange(rows) * step_s) * S).astype(np.int64)


def noise(random: np.random.Generator, rows: int, memory: float) -> np.ndarray:
    """Of unit deviation, with a memory in rows."""
    keep = np.exp(-1 / memory)
    found = np.empty(rows)
    last = random.standard_normal()
    for row, push in enumerate((np.sqrt(1 - keep**2) * random.standard_normal(rows)).tolist()):
        last = keep * last + push
        found[row] = last
    return found


def daily(hours: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Deviation 2, of any phase and shape."""
    turn = 2 * np.pi * hours / 24
    return 2.8 * np.sin(turn + random.uniform(0, 6)) + np.sin(2 * turn + random.uniform(0, 6))


def weekly(hours: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A machine that rests at the weekend."""
    rests = (hours // 24) % 7 >= 5
    return np.where(rests, -4.0, 2 + 2 * np.sin(2 * np.pi * hours / 24 + random.uniform(0, 6)))


def machine(kind: str, seed: int, days: float, step_s: float) -> np.ndarray:
    """Two inputs, of which the first may have a season: [T, 2]."""
    random = np.random.default_rng(seed)
    rows = round(days * DAY_S / step_s)
    hours = local_hours(times_of(rows, step_s), "UTC")
    shapes = {"day": daily, "week": weekly, "day and trend": daily}
    first = noise(random, rows, random.uniform(1, 30))
    first = first + shapes[kind](hours, random) if kind in shapes else first
    first += np.linspace(0, 6, rows) if "trend" in kind else 0.0
    if kind == "walk":
        first = np.cumsum(random.standard_normal(rows))
    return np.column_stack([first, noise(random, rows, 5)])


def learned(rows: np.ndarray, step_s: float, zone: str = "UTC") -> LearnedBundle:
    inputs = tuple(InputSpec(f"s{number}") for number in range(rows.shape[1]))
    recipe = Recipe("base", inputs, step_s=step_s, length=32, zone=zone)
    times = {"any": times_of(len(rows), step_s)}
    return learn({"any": rows}, recipe, now_us=0, times_us=times)


def form_of(bundle: LearnedBundle) -> str:
    return bundle.manifest.calibration["form"]


def scores(bundle: LearnedBundle, rows: np.ndarray, end_us: np.ndarray) -> np.ndarray:
    """The scores of windows that end at these times; without a time, without a season."""
    x = np.lib.stride_tricks.sliding_window_view(rows.astype(np.float32), 32, axis=0)
    feeds: dict[str, np.ndarray] = {"x": x.transpose(0, 2, 1), "unit": np.zeros(len(x), np.int64)}
    if len(end_us):
        feeds["hour"] = hours_of_week(end_us[31:], bundle.manifest.season_zone)
    return model_of_graph(bundle.manifest, bundle.onnx_bytes, 64).infer(feeds).score


@pytest.mark.parametrize("kind", ["day", "day and trend"])
@pytest.mark.parametrize(("seed", "days"), [(1, 4.0), (2, 5.5), (3, 9.0), (4, 5.0)])
def test_a_season_of_the_day_is_found(seed: int, days: float, kind: str) -> None:
    """Of any phase and shape; also if the machine moves in one direction besides."""
    bundle = learned(machine(kind, seed, days, TEN_MINUTES_S), TEN_MINUTES_S)
    assert "season of a day" in form_of(bundle)
    assert bundle.manifest.season_zone == "UTC"


@pytest.mark.parametrize(("seed", "weeks"), [(1, 3), (2, 5), (3, 4)])
def test_a_season_of_the_week_is_found(seed: int, weeks: int) -> None:
    bundle = learned(machine("week", seed, 7 * weeks, HALF_HOUR_S), HALF_HOUR_S)
    assert "season of a week" in form_of(bundle)


def test_two_weeks_mostly_show_the_season_of_a_week() -> None:
    """It is judged from one week then, and kept only if that detects no fewer faults."""
    forms = [form_of(learned(machine("week", n, 14, HALF_HOUR_S), HALF_HOUR_S)) for n in range(6)]
    assert sum("season of a week" in form for form in forms) >= 4


@pytest.mark.parametrize("kind", ["none", "walk", "trend"])
@pytest.mark.parametrize(("days", "at_most"), [(2.2, 3), (4.0, 1), (15.0, 2)])
def test_where_there_is_no_season_hardly_ever_one_is_found(
    kind: str, days: float, at_most: int
) -> None:
    """Of 20 machines; slow values repeat by chance, and a trend is the same every day."""
    found = 0
    for seed in range(20):
        rows = machine(kind, seed, days, HALF_HOUR_S)
        hours = local_hours(times_of(len(rows), HALF_HOUR_S), "UTC")
        slow = np.stack([np.convolve(one, np.full(8, 1 / 8), "valid") for one in rows.T], axis=1)
        found += bool(seasons_in(slow[:, None], hours[7:], days * 24))
    assert found <= at_most


def test_too_few_days_show_no_season() -> None:
    rows = machine("day", 1, 1.9, TEN_MINUTES_S)
    assert "season" not in form_of(learned(rows, TEN_MINUTES_S))
    recipe = Recipe("base", (InputSpec("a"), InputSpec("b")), step_s=TEN_MINUTES_S, length=32)
    bundle = learn({"any": machine("day", 1, 6.0, TEN_MINUTES_S)}, recipe, now_us=0)
    assert not bundle.manifest.season_zone, "without times none is sought"


def test_a_season_that_leaves_too_few_windows_to_judge_it_is_given_up() -> None:
    """The other forms need no repetition of each hour in what is not held out."""
    rows = machine("day", 4, 2.1, 900.0)
    for length in (32, 40, 48):
        recipe = Recipe("base", (InputSpec("a"), InputSpec("b")), step_s=900.0, length=length)
        times = {"any": times_of(len(rows), 900.0)}
        assert learn({"any": rows}, recipe, now_us=0, times_us=times).refused == {}


def test_a_fault_that_is_usual_at_another_hour_is_found() -> None:
    """What is normal at noon is a fault at night; without the hour it is not seen."""
    days = 6.0
    rows = machine("day", 3, 2 * days, TEN_MINUTES_S)
    half = len(rows) // 2
    bundle = learned(rows[:half], TEN_MINUTES_S)
    later = times_of(len(rows), TEN_MINUTES_S)[half:]
    assert scores(bundle, rows[half:], later).max() < 1.0
    twelve_hours_off = later + 12 * 3600 * S
    assert scores(bundle, rows[half:], twelve_hours_off).max() > 2.0
    plain = learn(
        {"any": rows[:half]},
        Recipe("base", bundle.manifest.inputs, step_s=TEN_MINUTES_S, length=32),
        now_us=0,
    )
    assert scores(plain, rows[half:], np.zeros(0, np.int64)).max() < 1.0


def test_a_break_of_a_year_costs_neither_memory_nor_the_season() -> None:
    """Also a clock that is wrong for a while."""
    rows = machine("day", 5, 6.0, TEN_MINUTES_S)
    times = times_of(len(rows), TEN_MINUTES_S)
    times[400:] += 365 * DAY_S * S
    rows[400] = np.nan
    recipe = Recipe("base", (InputSpec("a"), InputSpec("b")), step_s=TEN_MINUTES_S, length=32)
    bundle = learn({"any": rows}, recipe, now_us=0, times_us={"any": times})
    assert "season of a day" in form_of(bundle)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), step_h=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_an_exact_season_is_removed_exactly(seed: int, step_h: float) -> None:
    """Between the points of the profile as well, at any step."""
    random = np.random.default_rng(seed)
    hours = np.asarray(0.5 * random.integers(48) + np.arange(round(96 / step_h)) * step_h, float)
    points = round(24 / max(step_h, 0.5))
    turn = 2 * np.pi * np.arange(points) / points
    profile = np.sin(turn + random.uniform(0, 6)) + 0.5 * np.sin(2 * turn)
    values = np.interp(hours, np.arange(points) * 24 / points, profile, period=24)
    shape = learn_season(values[:, None, None], hours, 24)
    off = values - season_at(shape.profile, hours)[:, 0, 0]
    if step_h >= 0.5 and float(hours[0] / step_h).is_integer():
        assert np.abs(off - off.mean()).max() < 1e-6
    assert np.std(off) < 0.1 * np.std(values)


def test_the_season_follows_local_time_when_the_clocks_change() -> None:
    """At 8 in the morning it is 8 in the morning, in summer and in winter."""
    days = np.array(["2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"], "datetime64[us]")
    utc_h = np.array([7, 6, 6, 7])  # 8:00 in Berlin
    at_us = days.astype(np.int64) + utc_h * 3600 * S
    hours = local_hours(at_us, "Europe/Berlin")
    assert (hours % 24).tolist() == [8.0] * 4
    assert (hours % 168 // 24).tolist() == [5, 6, 5, 6], "Saturdays and Sundays"


def test_the_zone_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TZ; one that has no name of the IANA counts as UTC."""
    for told, name in (("Asia/Tokyo", "Asia/Tokyo"), (":Europe/Oslo", "Europe/Oslo")):
        monkeypatch.setenv("TZ", told)
        assert local_zone() == name
    monkeypatch.setenv("TZ", "CET-1CEST")
    assert local_zone() == "UTC"


def test_a_bundle_says_its_season_and_an_unknown_zone_is_refused() -> None:
    bundle = learned(machine("day", 1, 4.0, TEN_MINUTES_S), TEN_MINUTES_S, zone="Asia/Tokyo")
    assert bundle.manifest.season_zone == "Asia/Tokyo"
    assert list(bundle.manifest.problems()) == []
    elsewhere = replace(bundle.manifest, season_zone="Mars/Olympus")
    assert [key for key, _ in elsewhere.problems()] == ["season_zone"]


def test_a_recording_raises_what_the_daemon_does(tmp_path: Path) -> None:
    """In one batch and row by row: the season is that of each window's time."""
    rows = machine("day", 3, 8.0, TEN_MINUTES_S)
    half = len(rows) // 2
    learned(rows[:half], TEN_MINUTES_S).write(tmp_path / "base")  # verified by its golden vectors
    signal = Signal(source="bus", stale_after=Duration(3600))
    signals = {Name(f"s{number}"): signal for number in range(2)}
    template = Template(signals, plants.config().templates[Name("pump")].models)
    made = plants.config(templates={"pump": template}, models_dir=tmp_path)
    later = rows[half : half + 300].copy()
    later[200:] = rows[half + 128 : half + 228]  # half a day off
    times = np.repeat(times_of(len(rows), TEN_MINUTES_S)[half : half + 300], 2)
    whole = columns(np.tile(np.arange(2), 300), times, later.ravel())
    found = [
        [
            (str(t.kind), t.at_us)
            for t in plants.transitions(made, blocks)
            if t.alarm.alarm_id == "any.base"
        ]
        for blocks in ([whole], plants.cut(whole, 2), plants.cut(whole, 150))
    ]
    assert found[0] == found[1] == found[2]
    kind, at_us = found[0][0]
    assert kind == "raise"
    assert times[400] <= at_us < times[500]
