"""Why: what an alert says of the inputs of a model that does not say so itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import insight_models
import pytest
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of, sent
from plants import S

from edge_agent.config.schema import Signal
from edge_agent.diagnostics import diagnostics
from edge_agent.values import Columns, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.messages import Alarm
    from edge_agent.models.runtime.model import Model

FAULT = (13.0, 5.0, 20.0)  # score 9 + 1 + 0


@pytest.fixture(autouse=True)
def _any_machine_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time count only in the tests that set them."""
    monkeypatch.setattr(diagnostics, "BUDGET_S", 60.0)
    monkeypatch.setattr(diagnostics, "LONGEST_S", 60.0)


def row(t: int, values: tuple[float, ...] = HEALTHY) -> Columns:
    return columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, list(values))


def plant(model: Model) -> Live:
    live = Live(of(model.manifest.name, **{name: Signal(unit="u") for name in NAMES}))
    assert live.use(model) == [""]
    return live


def counting(model: Model) -> list[int]:
    """How many windows each run of the model scores, from now on."""
    ran: list[int] = []
    infer = model.infer_here

    def counted(feeds: Any, *rest: Any, **more: Any) -> Any:
        ran.append(len(feeds["x"]))
        return infer(feeds, *rest, **more)

    model.infer_here = counted  # type: ignore[method-assign]
    return ran


def raised(live: Live) -> Alarm:
    (found,) = (t.alarm for t in live.transitions if t.kind == "raise")
    return found


def test_an_alert_names_what_it_comes_from(tmp_path: Path) -> None:
    """With value, unit and weight; the weights sum to the score."""
    live = plant(insight_models.squares(tmp_path))
    for t in range(20):
        live.turn(t, row(t, HEALTHY if t < 10 else FAULT))
    detail = raised(live).detail
    assert detail is not None
    assert detail.score is not None
    assert detail.score > 4
    told = {each.input: each for each in detail.contributors}
    assert [each.input for each in detail.contributors][:2] == ["flow", "pressure"]
    assert sum(each.weight for each in told.values()) == pytest.approx(detail.score, rel=1e-5)
    assert told["flow"].weight == pytest.approx(0.9 * detail.score, rel=1e-4)
    assert told["current"].weight == pytest.approx(0, abs=1e-5)
    assert (told["flow"].value, told["flow"].unit) == (13.0, "u")


def test_the_envelope_carries_the_first_five(tmp_path: Path) -> None:
    """And validates against the schema that ships."""
    live = plant(insight_models.squares(tmp_path, false_alarms_per_day=0.25))
    for t in range(20):
        live.turn(t, row(t, HEALTHY if t < 10 else FAULT))
    (transition,) = live.transitions
    data = sent(transition)
    (first, *_) = data["contributors"]
    assert set(first) == {"input", "weight", "value", "unit", "normal"}
    assert "mainly flow = 13 u" in data["message"]["en"]
    assert "0.25 false alarms a day" in data["message"]["en"]


def test_a_healthy_machine_costs_no_run_more(tmp_path: Path) -> None:
    """Nobody will hear of its scores."""
    model = insight_models.squares(tmp_path)
    live, ran = plant(model), counting(model)
    for t in range(20):
        live.turn(t, row(t))
    assert sum(ran) == len(ran) == 19


def test_an_alarm_that_lasts_is_explained_every_ten_seconds(tmp_path: Path) -> None:
    """Five runs for three inputs each time; in between by the shares of then."""
    model = insight_models.squares(tmp_path)
    live, ran = plant(model), counting(model)
    for t in range(10, 110):
        live.turn(t, row(t, FAULT))
    windows = 99
    assert sum(ran) == windows + 5 * 10


def test_what_is_not_explained_anew_still_sums_to_its_score(tmp_path: Path) -> None:
    """An update between two explanations, because the fault grew much worse."""
    live = plant(insight_models.squares(tmp_path))
    for t in range(200):
        live.turn(t, row(t, HEALTHY if t < 10 else (13.0 + t / 3, 5.0, 20.0)))
    updates = [t.alarm.detail for t in live.transitions if t.kind == "update"]
    assert updates
    for detail in updates:
        assert detail is not None
        total = sum(each.weight for each in detail.contributors)
        assert total == pytest.approx(detail.score, rel=1e-4)


def test_a_turn_spends_a_bounded_time_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had no turn has the next: with no time at all it is one batch of windows a turn."""
    monkeypatch.setattr(diagnostics, "_ROWS", 5)  # one window
    model = insight_models.squares(tmp_path)
    live, ran = plant(model), counting(model)
    live.pipeline.diagnostics._budget_s = 0.0
    late = [row(t, FAULT) for t in range(60)]
    live.turn(60, Columns.concat(late))
    assert sum(ran) == ran[0] + 5, "of the six that were due"
    assert raised(live).detail.contributors, "the first of them, which raised the alarm"  # type: ignore[union-attr]


def test_a_model_that_is_too_slow_is_not_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its alarms come all the same, without contributors."""
    monkeypatch.setattr(diagnostics, "LONGEST_S", 0.0)
    live = plant(insight_models.squares(tmp_path))
    for t in range(20):
        live.turn(t, row(t, FAULT))
    assert raised(live).detail.contributors == ()  # type: ignore[union-attr]


def test_a_model_that_explains_itself_is_not_asked(tmp_path: Path) -> None:
    """Contributions of the graph are exact and cost nothing."""
    model = insight_models.squares(tmp_path, explains=True)
    live, ran = plant(model), counting(model)
    for t in range(20):
        live.turn(t, row(t, FAULT))
    assert sum(ran) == 19
    assert raised(live).detail.contributors[0].input == "flow"  # type: ignore[union-attr]


def test_of_a_remaining_life_it_says_what_shortens_it(tmp_path: Path) -> None:
    """The only input that the hours depend on, with all the weight."""
    live = plant(insight_models.hours(tmp_path))
    for t in range(20):
        live.turn(t, row(t, HEALTHY if t < 10 else (9.0, 9.0, 9.0)))
    detail = raised(live).detail
    assert detail is not None
    assert detail.contributors[0].input == "flow"
    assert detail.contributors[0].weight == pytest.approx(detail.score)
