"""The whole path of a value, with a learned model in the middle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import orjson
import plants
import pytest
from onnx import TensorProto, helper
from plants import S
from support import value_of

from edge_agent.clock import FakeClock
from edge_agent.config.schema import Asset, ModelUse
from edge_agent.config.settings import Tuning
from edge_agent.config.types import Duration, Name
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.models.bundle.foreign import bundle_from_onnx
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import tiny_graph
from edge_agent.values import BAD, Columns

if TYPE_CHECKING:
    from pathlib import Path


def told(found: list[Any]) -> list[tuple[Any, ...]]:
    return [(t.kind, t.at_us, t.alarm.alarm_id, t.alarm.seq, t.alarm.state) for t in found]


def test_a_fault_raises_its_alarm_and_names_the_input() -> None:
    found = plants.transitions(plants.config(), [plants.values(plants.fault())])
    raised = found[0]
    assert raised.alarm.alarm_id == "any.base"
    assert 1150 * S <= raised.at_us < 1180 * S
    detail = raised.alarm.detail
    assert detail is not None
    assert detail.score is not None
    assert detail.window is not None
    assert detail.contributors[0].input == "flow"
    assert sum(c.weight for c in detail.contributors) == pytest.approx(detail.score, rel=1e-4)
    assert detail.window.replayed
    assert detail.window.coverage == 1.0


@pytest.mark.parametrize("size", [1, 7, 100])
def test_transitions_do_not_depend_on_how_values_arrive(size: int) -> None:
    """Model alarms, gaps, bad and stuck values alike."""
    whole = plants.values(plants.fault(onset=120))
    signal = np.arange(len(whole)) % 3
    row = np.arange(len(whole)) // 3
    status = np.where((row > 200) & (row < 220) & (signal == 1), BAD, 0).astype(np.uint32)
    keep = ~((row > 240) & (row < 260) & (signal == 2)) & ~((row > 270) & (row < 280))
    whole = Columns(whole.signal, whole.time_us, whole.value, status)
    whole = whole.where(keep)
    expected = told(plants.transitions(plants.config(), [whole]))
    assert {kind for kind, *_ in expected} >= {"raise", "clear"}
    assert told(plants.transitions(plants.config(), plants.cut(whole, size))) == expected


def test_a_live_run_gives_the_transitions_of_a_replay() -> None:
    made = plants.config()
    whole = plants.values(plants.fault())
    expected = told(plants.transitions(made, [whole]))
    monitored = monitor_plant(made, Metrics(), FakeClock(900 * S), live=True)
    live = monitored.pipeline
    missing: list[str] = []
    for model in plants.prepared(made).runtime.pipeline.deployments.models():
        live.deployments.add_model(model)
    monitored.add_assets(
        lambda asset: missing.extend(live.use_model(asset, use) for use in asset.template.models)
    )
    assert missing == [""]
    found = []
    for number, block in enumerate(plants.cut(whole, 3)):
        due = live.close_windows(block, now_us=int(block.time_us[-1]), monotonic_s=float(number))
        found += live.update_alarms(live.score_windows(due)).transitions
    assert told(found) == expected[: len(found)]
    assert len(found) == len([t for t in expected if t[1] <= int(whole.time_us[-1])])


def test_a_bad_input_never_reaches_the_model() -> None:
    """Its window is skipped and its own alarm is raised."""
    whole = plants.values(plants.healthy(100, seed=3))
    bad = (np.arange(len(whole)) // 3 >= 50) & (whole.signal == 0)
    value = np.where(bad, 1e9, whole.value)
    status = np.where(bad, BAD, 0).astype(np.uint32)
    replay = plants.prepared(plants.config())
    steps = list(replay.walk([Columns(whole.signal, whole.time_us, value, status)]))
    assert [t.alarm.alarm_id for s in steps for t in s.transitions] == ["any.flow.quality"]
    assert sum(s.windows for s in steps) == 50 - 32 + 1


def test_a_source_clock_that_runs_ahead_is_refused() -> None:
    made = plants.config(tuning=Tuning(max_future=Duration(10.0)))
    metrics = Metrics()
    monitored = monitor_plant(made, metrics, FakeClock(1000 * S), live=True)
    monitored.add_assets(lambda _: None)
    live = monitored.pipeline
    ahead = plants.values(plants.healthy(30, seed=1), start_s=1000)
    live.close_windows(ahead, now_us=1005 * S, monotonic_s=1.0)
    refused = metrics.values_rejected.labels("bus", "future")
    assert value_of(refused) == 3 * 14
    assert live.watch.time_us[0] == 1015 * S


def test_every_score_goes_to_its_topic_and_not_more_often_than_asked() -> None:
    whole = [plants.values(plants.healthy(62, seed=2))]
    every = [m for s in plants.prepared(plants.config()).walk(whole) for m in s.scores]
    assert len(every) == 31
    topic, payload = every[0]
    assert topic == "edge/enterprise/site/area/line/any/_pdm/score/base"
    assert set(orjson.loads(payload)) == {"asset", "ts", "score", "health", "quality"}
    assert orjson.loads(payload)["ts"] == 1031_000
    slow = plants.config(tuning=Tuning(score_interval=Duration(10.0)))
    assert len([m for s in plants.prepared(slow).walk(whole) for m in s.scores]) == 4


def test_assets_that_share_a_model_are_scored_in_one_batch() -> None:
    two = plants.config(assets={"P-{1..3}": Asset(Name("pump"))})
    replay = plants.prepared(replace(two, models_dir=_for_any_asset()))
    rows = plants.healthy(40, seed=4)
    parts = [plants.values(rows, first_signal=3 * n) for n in range(3)]
    whole = Columns.concat(parts)
    pipeline = replay.runtime.pipeline
    due = pipeline.close_windows(whole)
    (scored,) = pipeline.score_windows(due)
    assert len(scored.row) == 3 * 9
    assert np.ptp(scored.outputs.score.reshape(3, 9), axis=0).max() < 1e-5


def test_a_model_that_fails_does_not_stop_the_others() -> None:
    """The second model looks a value up in a table that is too short for it."""
    uses = (ModelUse(Name("lookup")), ModelUse(Name("mean")))
    template = replace(plants.config().templates[Name("pump")], models=uses)
    made = plants.config(models_dir=_for_any_asset(), templates={"pump": template})
    replay = plants.prepared(made)
    steps = list(replay.walk([plants.values(plants.healthy(40, seed=5) + 100.0)]))
    assert sum(s.windows for s in steps) == 9
    assert value_of(replay.metrics.windows.labels("lookup", "failed")) == 9


def _for_any_asset() -> Path:
    """Bundles that were not learned for one asset: a mean (also as `base`), and a lookup."""
    folder = plants.models() / "foreign"
    if not folder.exists():
        for name in ("mean", "base"):
            _bundle(folder, name, [_node("ReduceMean", ["x"], axes=[1, 2], keepdims=0)])
        lookup = [
            _node("ReduceMax", ["x"], "top", axes=[1, 2], keepdims=0),
            _node("Cast", ["top"], "index", to=TensorProto.INT64),
            _node("Gather", ["table", "index"]),
        ]
        _bundle(folder, "lookup", lookup, {"table": np.zeros(60, np.float32)})
    return folder


def _node(kind: str, inputs: list[str], output: str = "score", **options: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **options)


def _bundle(
    folder: Path, name: str, nodes: list[Any], tables: dict[str, object] | None = None
) -> None:
    model = tiny_graph(nodes, {"x": ("N", 32, 3)}, {"score": ("N",)}, tables)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / f"{name}.onnx")
    inputs = tuple(InputSpec(n, valid=(0.0, 30.0)) for n in plants.INPUTS)
    manifest = Manifest(
        name=Name(name),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=inputs,
        outputs=OutputNames(score="score"),
        window=WindowSpec(1.0, 32, 1),
        threshold=1e9,
    )
    bundle_from_onnx(folder / f"{name}.onnx", folder / name, manifest)
