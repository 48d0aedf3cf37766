"""A plant with a model on a server: every window has its score once, and nobody else waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from remote_models import RemoteSite, is_used
from tiny_versions import INPUTS, LENGTH, NAME
from version_models import Watched, config

from edge_agent.messages import Detail
from edge_agent.models import Outputs, model_of_graph
from edge_agent.models.runtime.remote_server import Pace
from edge_agent.testing import mean_bundle, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.models import Model
    from edge_agent.pipeline import Step

TURN_S = 0.04


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RemoteSite]:
    made = RemoteSite(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["nan", "hang", "half", "wrong_shape", "closed"])
def test_a_server_that_turns_wrong_costs_no_window(site: RemoteSite, mode: str) -> None:
    """Each window is told once, with its own score; the alarm says why, until the return."""
    server = site.serve()
    model = site.load(turn_s=1.0, timeout_s=1.0)
    plant = Watched(config())
    plant.use(model)
    plant.rows(6, 1.0)
    assert site.scored("remote") == 6
    server.served.mode = mode
    plant.rows(3, 2.0)
    faults = plant.pipeline.deployments.reports.faults(0)
    assert [one.what for one in faults] == [f"model_remote.{NAME}"]
    detail = faults[0].detail
    assert isinstance(detail, Detail)
    assert detail.message_key == "model_remote"
    server.served.mode = "good"
    wait_until(lambda: is_used(model), timeout_s=10, what="the return")
    plant.rows(3, 3.0)
    assert plant.missing() == []
    assert plant.pipeline.deployments.reports.faults(0) == []
    assert list(plant.scores["P-1"].values())[:3] == [1.0, 1.0, 1.0]
    assert list(plant.scores["P-1"].values())[-1] == pytest.approx((2 + 3 * 3) / 4)
    assert site.scored("local") >= 2
    assert site.scored("remote") >= 8


def test_a_run_that_is_late_is_told_in_a_later_turn(site: RemoteSite) -> None:
    """A large model may take longer than a turn; its windows wait, and none is lost."""
    server = site.serve()
    model = site.load(turn_s=0.001, timeout_s=5.0)
    plant = Watched(config())
    plant.use(model)
    server.served.slow_s = 0.05
    plant.rows(8, 1.0)
    assert plant.missing() != []

    def is_all_told() -> bool:
        plant.note(plant.turn(float(plant.t)))
        return not plant.missing()

    wait_until(is_all_told, timeout_s=10, what="all windows")
    assert site.scored("local") == 0


class TwoModels(Watched):
    """The scores of the model that has servers alone."""

    def note(self, step: Step) -> None:
        """Leave out those of the other model."""
        step.scores = [one for one in step.scores if one[0].endswith(NAME)]
        super().note(step)


def test_models_of_this_gateway_run_before_a_turn_waits_for_a_server(
    site: RemoteSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And turns wait once, for a short time: the next ones go on without the server."""
    server = site.serve()
    made = mean_bundle(tmp_path / "other", INPUTS, length=LENGTH)
    other = model_of_graph(made, (tmp_path / "other" / "model.onnx").read_bytes())
    model = site.load(turn_s=TURN_S, timeout_s=TURN_S, pace=Pace(), is_good=False)
    order: list[str] = []

    def noting(one: Model) -> Callable[..., Outputs]:
        run = one.infer_here

        def infer_here(*args: Any, **more: Any) -> Outputs:
            order.append(str(one.manifest.name))
            return run(*args, **more)

        return infer_here

    for one in (model, other):
        monkeypatch.setattr(one, "infer_here", noting(one))
    plant = TwoModels(config())
    plant.use(model)
    plant.use(other)
    server.served.mode = "hang"
    begin_s = time.monotonic()
    plant.rows(60, 1.0)
    took_s = time.monotonic() - begin_s
    assert order[:4] == ["other", NAME, "other", NAME]
    assert took_s < 60 * TURN_S
    assert plant.missing() == []
    assert site.scored("local") == 2 * (60 - LENGTH + 1)
