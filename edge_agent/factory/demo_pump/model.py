"""The demo plant's healthy baseline: one model, learned from many pumps, for any pump.

The daemon's own learner gets pumps of several seeds as one asset, so that differences between
pumps count as healthy. Then the asset is removed from the graph, and other pumps judge it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession

from edge_agent.config.types import Name
from edge_agent.demo import FAULTS, NAMES, SENSORS, PumpPlant
from edge_agent.learning import LearnedBundle, Recipe, learn
from edge_agent.models import Golden, InputSpec, Manifest, Tensors, histogram_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NAME: Final = "demo-pump"
STEP_S: Final = 0.1  # of the demo, in which a second is a minute of the plant
PLANT_STEP_S: Final = 6.0
LENGTH: Final = 32
FALSE_ALARMS_PER_DAY: Final = 0.1
LEARNED_SEEDS: Final = (1001, 1002, 1003, 1004)
LEARNED_PUMPS: Final = 32  # of each seed
LEARNED_ROWS: Final = 1500
JUDGED_SEED: Final = 2001
HEALTHY_PUMPS: Final = 100
HEALTHY_ROWS: Final = 36_000
FAULTY_PUMPS: Final = 100
FAULTY_ROWS: Final = 250
ONSET_ROW: Final = 100
SCORED_FAULTS: Final = ("bearing_wear", "cavitation", "blocked_valve")
_GOLDEN_EACH: Final = 16
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class Answer:
    """The model's result for one fault, over all judged pumps.

    delay_s: from the onset to the first window over the limit, of each; right: share whose first
    alarm names the input that the fault moves most.
    """

    delay_s: list[float]
    right: float


@dataclass(frozen=True)
class Judged:
    """Figures of the model on pumps that were not learned from."""

    healthy_days: float
    false_alarms: int
    largest: float
    faults: dict[str, Answer]


def simulated(seed: int, pumps: int, rows: int, fault: str = "", onset: int = 0) -> Floats:
    """Readings [pumps, rows, sensors]; the fault begins at row `onset` in all of them."""
    plant = PumpPlant(pumps, seed)
    found = np.empty((pumps, rows, len(NAMES)), np.float32)
    for row in range(rows):
        for pump in range(pumps if fault and row == onset else 0):
            plant.inject(pump, fault)
        plant.step(PLANT_STEP_S)
        found[:, row] = plant.readings
    return found


def rows_learned() -> Floats:
    """Healthy rows [T, sensors] of all pumps, one after the other with a break between them."""
    breaks = np.full((1, len(NAMES)), np.nan, np.float32)
    parts: list[Floats] = []
    for seed in LEARNED_SEEDS:
        for pump in simulated(seed, LEARNED_PUMPS, LEARNED_ROWS):
            parts += [pump, breaks]
    return np.concatenate(parts)


def learned(rows: Floats) -> LearnedBundle:
    """The bundle that the daemon's learner makes from these rows, as one asset."""
    inputs = tuple(
        InputSpec(name, unit=sensor.unit, valid=(sensor.low, sensor.high))
        for name, sensor in SENSORS.items()
    )
    recipe = Recipe(NAME, inputs, STEP_S, LENGTH, false_alarms_per_day=FALSE_ALARMS_PER_DAY)
    return learn({NAME: rows}, recipe, now_us=0)


def without_units(onnx_bytes: bytes) -> bytes:
    """The graph of one asset, changed for any: its input `unit` becomes a constant zero."""
    model = onnx.load_from_string(onnx_bytes)
    inputs = [value for value in model.graph.input if value.name != "unit"]
    zeros = [
        helper.make_node("Shape", ["x"], ["x_shape"]),
        helper.make_node("Slice", ["x_shape", "slice_begin", "slice_end"], ["batch"]),
        helper.make_node("ConstantOfShape", ["batch"], ["unit"], value=_one(0)),
    ]
    bounds = (_one(0, "slice_begin"), _one(1, "slice_end"))
    nodes = [*zeros, *model.graph.node]
    del model.graph.input[:], model.graph.node[:]
    model.graph.input.extend(inputs)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(bounds)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _one(value: int, name: str = "") -> onnx.TensorProto:
    """A tensor [1] of int64."""
    return numpy_helper.from_array(np.array([value], np.int64), name or None)


class Judge(Protocol):
    """Scores every window of a pump's rows."""

    def along(self, rows: Floats) -> tuple[Floats, Floats]:
        """Score [n] and contributions [n, sensors]."""


class Scorer:
    """Runs the model on windows of rows."""

    def __init__(self, onnx_bytes: bytes) -> None:
        self._session = InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])

    def outputs(self, windows: Floats) -> dict[str, Floats]:
        """Every output by name, for windows [N, LENGTH, sensors]."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {"x": windows}), strict=True))

    def along(self, rows: Floats) -> tuple[Floats, Floats]:
        """Score [n] and contributions [n, sensors] of every window of one pump's rows."""
        found = self.outputs(windows_of(rows))
        return found["score"], found["contributions"]


def windows_of(rows: Floats) -> Floats:
    """Every window of rows [T, sensors]: [T - LENGTH + 1, LENGTH, sensors]."""
    view = np.lib.stride_tricks.sliding_window_view(rows, LENGTH, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def judged(scorer: Judge) -> Judged:
    """False alarms of healthy pumps, and delays of failing pumps; none was learned from."""
    peaks, alarms = [], 0
    for pump in simulated(JUDGED_SEED, HEALTHY_PUMPS, HEALTHY_ROWS):
        score, _ = scorer.along(pump)
        over = score >= 1.0
        alarms += int((over & ~np.append(False, over[:-1])).sum())
        peaks.append(float(score.max()))
    days = HEALTHY_PUMPS * HEALTHY_ROWS * STEP_S / _DAY_S
    faults = {fault: _answer(scorer, fault) for fault in SCORED_FAULTS}
    return Judged(days, alarms, max(peaks), faults)


def _answer(scorer: Judge, fault: str) -> Answer:
    delays, right = [], 0
    for pump in simulated(JUDGED_SEED + 1, FAULTY_PUMPS, FAULTY_ROWS, fault, ONSET_ROW):
        score, contributions = scorer.along(pump[ONSET_ROW - LENGTH + 1 :])
        over = np.flatnonzero(score >= 1.0)
        delays.append(float(over[0]) * STEP_S if len(over) else float("inf"))
        if len(over):
            # The demo's alarm waits a second before it is raised.
            row = min(len(score) - 1, int(over[0]) + round(1 / STEP_S))
            right += NAMES[int(contributions[row].argmax())] == FAULTS[fault].leading
    return Answer(delays, right / FAULTY_PUMPS)


def golden_of(scorer: Scorer) -> Golden:
    """Windows of healthy pumps, and of failing pumps, each with a different extent."""
    well = simulated(JUDGED_SEED + 2, _GOLDEN_EACH, LENGTH)
    failing = []
    for number in range(_GOLDEN_EACH):
        fault = SCORED_FAULTS[number % len(SCORED_FAULTS)]
        rows = LENGTH + 4 * number
        (pump,) = simulated(JUDGED_SEED + 3 + number, 1, rows, fault, LENGTH // 2)
        failing.append(pump[-LENGTH:])
    x = np.concatenate([well, np.stack(failing)])
    outputs: Tensors = {name: np.asarray(value) for name, value in scorer.outputs(x).items()}
    return Golden({"x": x}, outputs, np.repeat([0, 1], _GOLDEN_EACH).astype(np.int64))


def manifest_of(
    bundle: LearnedBundle, rows: Floats, onnx_bytes: bytes, found: Judged, command: str
) -> Manifest:
    """The learner's manifest, with the facts of this model."""
    delays = [delay for answer in found.faults.values() for delay in answer.delay_s]
    right = float(np.mean([answer.right for answer in found.faults.values()]))
    return replace(
        bundle.manifest,
        version=Name(f"1.0-{sha256(onnx_bytes).hexdigest()[:8]}"),
        units=(),
        healthy={name: histogram_of(rows[:, i]) for i, name in enumerate(NAMES)},
        calibration=bundle.manifest.calibration
        | {
            "unseen_pump_days": f"{found.healthy_days:.3g}",
            "unseen_false_alarms": str(found.false_alarms),
            "unseen_largest_score": f"{found.largest:.2f}",
        },
        training={
            "data": f"edge_agent.demo.plant, {len(LEARNED_SEEDS) * LEARNED_PUMPS} simulated pumps, "
            f"seeds {LEARNED_SEEDS[0]} to {LEARNED_SEEDS[-1]}",
            "licence": "Apache-2.0 (simulated by this project)",
        },
        benchmarks={
            "command": command,
            "faults": f"{len(delays)} in pumps not learned from: {', '.join(SCORED_FAULTS)}",
            "slowest_s": f"{max(delays):.1f}",
            "right_input_first": f"{right:.3f}",
            "bytes": str(len(onnx_bytes)),
        },
    )
