"""Collecting healthy rows: what is kept, what is not, within which bounds, and what comes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.config.scalars import is_name
from edge_agent.config.schema import Asset, Kind, Learn, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.learning import baselines, healthy_rows
from edge_agent.learning.training import learned_name
from edge_agent.values import BAD, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.daemon.replay import Replay
    from edge_agent.learning.collection import Learning
    from edge_agent.values import Columns

FLOW = Signal(source="bus")
BLOCK = healthy_rows.BLOCK_ROWS


def learning(live: Live, **changes: Any) -> Learning:
    """All assets learn; 10 rows are wanted unless told otherwise."""
    rule = Learn(**{"step": 1.0, "duration": 10.0, "length": 16, **changes})
    for asset in live.plant.assets.values():
        assert live.pipeline.learning.learn_asset(asset, rule) == ""
    (found,) = live.pipeline.learning.values()
    return found


def feed(live: Live, begin_s: int, n: int, *, signal: int = 0, status: int = 0) -> None:
    """n values, one a second; each is the second it is of."""
    seconds = np.arange(begin_s, begin_s + n)
    values = columns([signal] * n, (seconds * S).tolist(), seconds.astype(float).tolist(), status)
    live.turn(float(begin_s + n - BEGIN_S), values)


def kept(found: Learning, asset: str = "any") -> list[float]:
    rows: list[float] = found.rows()[asset][:, 0].tolist()
    return rows


def test_rows_are_kept_once_they_are_complete() -> None:
    live = Live(of(flow=FLOW))
    found = learning(live)
    feed(live, BEGIN_S, 8)
    assert kept(found) == list(range(BEGIN_S, BEGIN_S + 8))
    assert found.progress() == {"any": 0.8}
    assert found.ready() == []


def test_rows_of_bad_values_are_left_out() -> None:
    """And so little missing is no break: a window that lacks as much is scored, too."""
    live = Live(of(flow=FLOW))
    found = learning(live)
    feed(live, BEGIN_S, 4)
    feed(live, BEGIN_S + 4, 2, status=BAD)
    feed(live, BEGIN_S + 6, 2)
    assert kept(found) == [1000, 1001, 1002, 1003, 1006, 1007]


def test_a_longer_gap_is_a_break_over_which_no_window_goes() -> None:
    """A row of nothing but NaN, which does not count."""
    live = Live(of(flow=FLOW))
    found = learning(live)
    feed(live, BEGIN_S, 3)
    feed(live, BEGIN_S + 40, 3)
    rows = kept(found)
    assert np.isnan(rows).sum() == 1
    first = int(np.flatnonzero(np.isnan(rows))[0])
    assert rows[first - 1] < BEGIN_S + 40 == rows[first + 1]
    whole = len(rows) - 1
    assert found.progress()["any"] == pytest.approx(min(1.0, whole / 10))


def test_a_clock_that_is_set_back_is_a_break_too() -> None:
    live = Live(of(flow=FLOW))
    found = learning(live, duration=1000.0)
    for t in range(200):
        at_s = BEGIN_S + t - (0 if t < 100 else 900)
        live.turn(t, columns([0], [at_s * S], [float(t)]))
    assert np.isnan(kept(found)).sum() == 1
    assert kept(found)[-1] == 199.0


def test_memory_is_bounded_and_what_is_kept_spans_the_whole_time() -> None:
    """Every other block goes; those that stay are unbroken, with a break between them."""
    found = healthy_rows.HealthyRows()
    for number in range(100 * BLOCK):
        found.add(healthy_rows.Row(number, np.full(2, float(number))), max_blocks=8)
        assert len(found.blocks) <= 8
        assert len(found.open) < BLOCK
    rows = found.all(2)
    blocks = [block.rows() for block in found.blocks]
    begins = [int(block[0, 0]) // BLOCK for block in blocks]
    assert begins == list(range(0, 100, found.stride))
    assert all((np.diff(block[:, 0]) == 1).all() for block in blocks)
    assert len(rows) == len(found.blocks) * (BLOCK + 1)
    known = ~np.isnan(rows[:, 0])
    assert found.times_us()[known].tolist() == rows[known, 0].tolist(), "each with its time"
    assert len(found.times_us()) == len(rows)
    assert np.isnan(rows[BLOCK :: BLOCK + 1]).all()


def test_the_bound_is_shared_by_all_that_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the assets get half as many blocks each."""
    monkeypatch.setattr(baselines, "_ROWS_BYTES", 64 * BLOCK * (4 + 8))
    allowed = []
    for n in (1, 2, 4):
        live = Live(
            plants.config(templates={"pump": Template({Name("flow"): FLOW})}, assets=pumps(n))
        )
        learning(live)
        allowed.append(live.pipeline.learning.max_blocks())
    assert allowed == [64, 32, 16]


def test_the_first_that_has_enough_takes_along_those_that_nearly_have() -> None:
    """One bundle for all of them; the others go on."""
    live = Live(plants.config(templates={"pump": Template({Name("flow"): FLOW})}, assets=pumps(3)))
    found = learning(live)
    for signal, n in enumerate((10, 9, 5)):
        feed(live, BEGIN_S, n, signal=signal)
    (ready,) = found.ready()
    assert {asset: len(rows) for asset, rows in ready.rows.items()} == {"P-1": 10, "P-2": 9}
    assert {asset: len(times) for asset, times in ready.times_us.items()} == {"P-1": 10, "P-2": 9}
    assert [one.is_busy for one in found.trainings] == [True, True, False]
    assert found.ready() == []
    assert found.progress() == {"P-1": 1.0, "P-2": 0.9, "P-3": 0.5}


def test_rows_outlive_a_failure_and_it_is_tried_again_ever_more_rarely() -> None:
    live = Live(of(flow=FLOW))
    found = learning(live)
    feed(live, BEGIN_S, 10)
    assert len(found.ready()) == 1
    feed(live, BEGIN_S + 10, 10)
    found.failed(["any"], "disk full", monotonic_s=100.0)
    assert kept(found) == list(range(BEGIN_S, BEGIN_S + 20))
    assert found.progress() == {"any": 1.0}
    waits = []
    now_s = 100.0
    for _ in range(8):
        begin_s = now_s
        while not found.ready(now_s):
            now_s += 10.0
        waits.append(now_s - begin_s)
        found.failed(["any"], "disk full", now_s)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_what_has_a_model_costs_nothing_more() -> None:
    """Its rows go, and its values are no longer written into windows; those of others are."""
    live = Live(plants.config(templates={"pump": Template({Name("flow"): FLOW})}, assets=pumps(2)))
    found = learning(live)
    for signal in range(2):
        feed(live, BEGIN_S, 10, signal=signal)
    found.ready()
    found.learned(["P-1"])
    found.failed(["P-2"], "too few windows")
    for signal in range(2):
        feed(live, BEGIN_S + 10, 3, signal=signal)
    assert kept(found, "P-1") == []
    assert kept(found, "P-2") == list(range(1000, 1013))
    assert found._windows._last_us[:2].tolist() == [[(BEGIN_S + 9) * S], [(BEGIN_S + 12) * S]]
    assert found.progress() == {"P-2": 1.0}


@pytest.mark.parametrize(
    ("template", "asset", "reason"),
    [
        ({"sound": Signal(kind=Kind.WAVEFORM)}, {}, "no signal that is a number"),
        ({}, {"flow": FLOW}, ""),
        ({"flow": FLOW, "sound": Signal(kind=Kind.WAVEFORM)}, {"more": FLOW}, ""),
    ],
)
def test_it_learns_from_the_numbers_that_all_assets_have(
    template: dict[Name, Signal], asset: dict[Name, Signal], reason: str
) -> None:
    assets = {"any": Asset(Name("pump"), signals=asset)}
    live = Live(plants.config(templates={"pump": Template(template)}, assets=assets))
    told = live.pipeline.learning.learn_asset(live.plant.assets["any"], Learn(step=Duration(1)))
    assert reason in told
    (found,) = live.pipeline.learning.values()
    assert found.inputs == (() if reason else ("flow",))


def test_an_input_that_an_asset_lacks_is_told() -> None:
    """The config may name inputs that only some assets have."""
    assets = {"A": Asset(Name("pump"), signals={Name("more"): FLOW}), "B": Asset(Name("pump"))}
    live = Live(plants.config(templates={"pump": Template({Name("flow"): FLOW})}, assets=assets))
    rule = Learn(step=Duration(1), inputs=("flow", "more"))
    told = [live.pipeline.learning.learn_asset(asset, rule) for asset in live.plant.assets.values()]
    assert told == ["", "cannot learn: no signal more"]
    (found,) = live.pipeline.learning.values()
    assert [asset.id for asset in found.assets] == ["A"]


def pumps(n: int) -> dict[str, Asset]:
    return {f"P-{{1..{n}}}": Asset(Name("pump"))}


# -- to its end: learning in a child, and the model at work ---------------------------------------


def auto(folder: Path, **changes: Any) -> Config:
    rule = Learn(auto=True, duration=Duration(600.0), length=16, false_alarms_per_day=1.0)
    template = Template(dict.fromkeys(map(Name, plants.INPUTS), FLOW), learn=rule)
    wanted = {"templates": {"pump": template}, "models_dir": folder, **changes}
    return plants.config(**wanted)


def walk(replay: Replay, values: Columns) -> list[Any]:
    pipeline = replay.runtime.pipeline
    step = pipeline.update_alarms(pipeline.score_windows(pipeline.close_windows(values)))
    return step.transitions


def test_an_asset_learns_by_itself_and_is_watched_from_then_on(tmp_path: Path) -> None:
    """Healthy data, a child that learns, the bundle at work, a fault, an alarm with its input."""
    replay = plants.prepared(auto(tmp_path))
    assert replay.runtime.models.without == {"any": "learning"}
    assert walk(replay, plants.values(plants.healthy(700, seed=1))) == []
    asyncio.run(replay.runtime.models.learn_what_is_ready())
    assert replay.runtime.models.without == {}
    assert [folder.name[:13] for folder in tmp_path.iterdir()] == ["learned-pump-"]
    assert replay.runtime.pipeline.learning["pump"].progress() == {}
    assert len(replay.runtime.pipeline.learning["pump"].rows()["any"]) == 0
    (raised,) = walk(replay, plants.values(plants.fault(), start_s=1700))
    assert raised.alarm.alarm_id == "any.baseline"
    assert raised.alarm.detail.contributors[0].input == "flow"
    replay.close()


def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    first = plants.prepared(auto(tmp_path))
    walk(first, plants.values(plants.healthy(700, seed=1)))
    asyncio.run(first.runtime.models.learn_what_is_ready())
    first.close()
    second = plants.prepared(auto(tmp_path))
    assert second.runtime.models.without == {}
    assert second.runtime.pipeline.learning == {}
    second.close()


def test_what_was_learned_of_other_signals_is_learned_anew(tmp_path: Path) -> None:
    """An asset must not go unwatched because its old bundle no longer fits it."""
    first = plants.prepared(auto(tmp_path))
    walk(first, plants.values(plants.healthy(700, seed=1)))
    asyncio.run(first.runtime.models.learn_what_is_ready())
    first.close()
    rule = first.runtime.config.templates[Name("pump")].learn
    renamed = Template(dict.fromkeys(map(Name, ("flow", "pressure", "ampere")), FLOW), learn=rule)
    second = plants.prepared(auto(tmp_path, templates={"pump": renamed}))
    assert second.runtime.models.without == {"any": "learning"}
    second.close()


def test_learning_that_fails_keeps_its_rows_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More rows may be what is missing; a day of them must not be lost."""
    replay = plants.prepared(auto(tmp_path, templates={"pump": few()}))
    walk(replay, plants.values(plants.healthy(60, seed=1)))
    asyncio.run(replay.runtime.models.learn_what_is_ready())
    assert "learning failed" in caplog.messages
    assert replay.runtime.pipeline.learning["pump"].progress() == {"any": 1.0}
    assert replay.runtime.models.without == {"any": "learning"}
    assert list(tmp_path.iterdir()) == []
    replay.close()


def few() -> Template:
    """Wants fewer rows than anything can be learned from."""
    rule = Learn(auto=True, step=Duration(1), duration=Duration(50.0), length=16)
    return Template(dict.fromkeys(map(Name, plants.INPUTS), FLOW), learn=rule)


def test_the_bundle_of_a_long_template_can_be_loaded() -> None:
    """A bundle's name is no longer than a template's may be."""
    assert is_name(learned_name("t" * 64, ["any"]))
    assert learned_name("pump", ["a", "b"]) == learned_name("pump", ["b", "a"])
    assert learned_name("pump", ["a"]) != learned_name("pump", ["b"])


def test_learning_again_neither_takes_the_pause_for_standing_still_nor_forgets_what_stands() -> (
    None
):
    """A source that reports only changes: set point once, then the flow each second."""
    template = Template({Name("flow"): FLOW, Name("set_point"): FLOW})
    assets = {"any": Asset(Name("pump"))}
    sources = {"bus": plants.Subscribed()}
    live = Live(plants.config(templates={"pump": template}, assets=assets, sources=sources))
    found = learning(live)
    live.turn(0, columns([1], [BEGIN_S * S], [7.0]))
    feed(live, BEGIN_S, 20)
    assert found.ready()
    found.learned(["any"])
    feed(live, BEGIN_S + 20, 100)
    live.turn(120, columns([1], [(BEGIN_S + 120) * S], [8.0]))
    feed(live, BEGIN_S + 121, 9)
    learning(live)
    assert found.progress() == {"any": 0.0}
    feed(live, BEGIN_S + 130, 6)
    assert 0.3 < found.progress()["any"] < 0.8
    rows = found.rows()["any"]
    assert set(rows[:, 1].tolist()) == {8.0}
    assert rows[:, 0].min() >= BEGIN_S + 129


def test_learning_again_does_not_count_the_pause_of_a_signal_that_may_be_silent_for_long() -> None:
    live = Live(of(flow=Signal(source="bus", stale_after=Duration(1000.0))))
    found = learning(live)
    feed(live, BEGIN_S, 20)
    assert found.ready()
    found.learned(["any"])
    learning(live)
    feed(live, BEGIN_S + 130, 6)
    assert found.progress()["any"] < 0.8
