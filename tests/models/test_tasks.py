"""Tasks are rows: what their models' outputs mean, and how a new one is added."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

import insight_models
import numpy as np
import pytest
from insight_models import HEALTHY, NAMES, ROWS
from live_plants import BEGIN_S, Live, of
from onnx import TensorProto, helper
from plants import S

from edge_agent.config.schema import Signal
from edge_agent.config.types import Name
from edge_agent.models.bundle.kinds import WINDOW, BundleKind
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.tasks import ROLES, TASKS, OutputNames, Outputs, Role, Task, TaskRow
from edge_agent.models.runtime.graph_engine import model_of_graph
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

    from edge_agent.models.runtime.model import Model

SCHEMA = json.loads((files("edge_agent.alarms") / "alert.schema.json").read_text("utf-8"))
STAGES = SCHEMA["$defs"]["data"]["properties"]["stage"]["enum"]
FLOW_LOST = (5.0, 4.0, 20.0)  # of all models here an alarm


QUEUE = TaskRow(
    "advisory_generation",
    "anomaly",
    "waiting",
    watched=lambda parts: parts.sum(axis=1),
    falls=True,
    level=lambda parts, limit: limit / np.maximum(parts, 1.0),
    health=lambda _, level: np.clip(1.0 / level, 0, 1).astype(np.float32),
    roles={**ROLES, "waiting": Role(lambda _: (2,), relative_to="waiting")},
)


@dataclass(frozen=True, slots=True)
class MoreOutputs(OutputNames):
    """The outputs that any model has, and those of the task `queue`."""

    waiting: str = ""


@dataclass(frozen=True, slots=True)
class MoreTasks(Manifest):
    """A manifest that knows one task more: how many parts wait; few are alarming."""

    rules: ClassVar[BundleKind] = replace(WINDOW, tasks={**TASKS, "queue": QUEUE})
    outputs: MoreOutputs = MoreOutputs()


def from_flow(task: str, outputs: MoreOutputs, nodes: list[onnx.NodeProto], **more: Any) -> Model:
    """A model of the tiny plant whose nodes make `y` [N, 2] of the mean flow [N, 1]."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Split", ["mean"], ["flow", "pressure", "current"], axis=1),
            *nodes,
        ],
        "flow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", ROWS, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    manifest = MoreTasks(
        name=Name("flow"),
        version=Name("1"),
        task=task,
        inputs=tuple(InputSpec(name) for name in NAMES),
        outputs=outputs,
        window=WindowSpec(1.0, ROWS, 1),
        **more,
    )
    assert list(manifest.problems()) == []
    return model_of_graph(manifest, made.SerializeToString())


def fault(_: Path) -> Model:
    """P(healthy) = sigmoid(flow - 7.5): at a flow of 10 it is 0.92, at 5 it is 0.08."""
    nodes = [
        helper.make_node("Constant", [], ["middle"], value_float=7.5),
        helper.make_node("Sub", ["flow", "middle"], ["sound"]),
        helper.make_node("Neg", ["sound"], ["worn"]),
        helper.make_node("Concat", ["sound", "worn"], ["both"], axis=1),
        helper.make_node("Sigmoid", ["both"], ["y"]),
    ]
    names = MoreOutputs(probabilities="y")
    classes = ("healthy", "worn")
    return from_flow(Task.CLASSIFICATION, names, nodes, threshold=0.5, classes=classes)


def queue(_: Path) -> Model:
    """Parts that wait at two places: the flow, twice; an alarm below 15."""
    nodes = [helper.make_node("Concat", ["flow", "flow"], ["y"], axis=1)]
    return from_flow("queue", MoreOutputs(waiting="y"), nodes, threshold=15.0)


@pytest.mark.parametrize(
    ("make", "stage", "key"),
    [
        (insight_models.squares, "state_detection", "anomaly"),
        (fault, "health_assessment", "fault"),
        (insight_models.hours, "prognostics_assessment", "remaining_life"),
        (queue, "advisory_generation", "anomaly"),
    ],
)
def test_an_alarm_says_what_its_model_does(
    tmp_path: Path, make: Callable[[Path], Model], stage: str, key: str
) -> None:
    """Raised, it names the block of ISO 13374 and the text of the task, a new task's too."""
    model = make(tmp_path)
    live = Live(of(model.manifest.name, **{name: Signal(unit="u") for name in NAMES}))
    assert live.use(model) == [""]
    for second in range(30):
        live.turn(second, columns([0, 1, 2], [(BEGIN_S + second) * S] * 3, FLOW_LOST))
    raised = live.transitions[0].alarm
    assert raised.detail is not None
    assert (raised.stage, raised.detail.message_key) == (stage, key)


def test_an_alarm_says_what_its_model_does_before_its_first_raise(tmp_path: Path) -> None:
    """A shelved alarm that was never raised names the stage of its model's task, too."""
    model = fault(tmp_path)
    live = Live(of(model.manifest.name, **{name: Signal(unit="u") for name in NAMES}))
    assert live.use(model) == [""]
    (asset,) = live.plant.assets
    shelved = live.alarms.shelve(f"{asset}.{model.manifest.name}", 60.0, "ann")
    assert shelved.alarm.stage == "health_assessment"


@pytest.mark.parametrize("task", TASKS)
def test_every_stage_is_one_that_an_alert_can_have(task: str) -> None:
    """The words are those of alert.schema.json."""
    assert TASKS[task].stage in STAGES


def test_the_names_of_tasks_are_the_rows() -> None:
    """`Task` and TASKS list the same."""
    assert {*Task} == {*TASKS}


@pytest.mark.parametrize(
    ("task", "output", "level"),
    [
        (Task.ANOMALY, [1.0, 2.0, 4.0], [0.5, 1.0, 2.0]),
        (Task.CLASSIFICATION, [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.5]),
        (Task.REMAINING_LIFE, [[0, 4.0, 9], [0, 1.0, 9], [0, 0.0, 9]], [0.5, 2.0, 2000.0]),
    ],
)
def test_the_level_is_what_is_watched_by_its_limit(task: Task, output: Any, level: Any) -> None:
    """At a limit of 2: a score, the probability of any fault, hours of which few are alarming."""
    row = TASKS[task]
    outputs = row.outputs_of({row.needs: np.array(output, np.float32)})
    assert np.allclose(row.levels(outputs, 2.0), level)


def test_outputs_of_a_new_task_are_cut_with_all_others() -> None:
    """`rows` gives them of the same windows."""
    waiting = np.eye(4, dtype=np.float32)
    whole = Outputs(np.arange(4, dtype=np.float32), other={"waiting": waiting})
    part = whole.rows(1, 3)
    assert part.score.tolist() == [1.0, 2.0]
    assert np.array_equal(part.other["waiting"], np.eye(4)[1:3])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "prophecy"}, "'prophecy' is not allowed (known: anomaly, classification"),
        ({"outputs": MoreOutputs(score="y")}, "missing: task queue needs it"),
        ({"task": Task.ANOMALY}, "task anomaly has no such output"),
    ],
)
def test_what_a_task_may_not_have(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """A manifest is held against the row of its task."""
    good = queue(tmp_path).manifest
    fields = {name: getattr(good, name) for name in ("inputs", "outputs", "task", "threshold")}
    spoiled = MoreTasks(name=Name("flow"), version=Name("1"), **fields | changes)
    assert told in "; ".join(message for _, message in spoiled.problems())


def test_the_tiny_plant_is_healthy_by_all_of_them(tmp_path: Path) -> None:
    """So that the alarms above are of the lost flow."""
    x = np.tile(np.array(HEALTHY, np.float32), (1, ROWS, 1))
    for make in (insight_models.squares, fault, queue):
        model = make(tmp_path)
        row = model.manifest.task_row
        assert row.levels(model.infer({"x": x}), model.manifest.threshold)[0] < 1
