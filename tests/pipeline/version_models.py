"""Tiny real models in several versions, good and bad, and a plant whose every window is noted."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import orjson
from live_plants import BEGIN_S, Live
from onnx import TensorProto, helper, numpy_helper
from plants import S

from edge_agent.config.schema import AlarmRule, Asset, ModelUse, Runtime, Signal, Template
from edge_agent.inference import InputSpec, Manifest, Model, OutputNames, Task, WindowSpec
from edge_agent.records import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config import Config
    from edge_agent.pipeline import Step
    from edge_agent.records import Transition

NAME = "watch"
LENGTH = 4
INPUTS = ("flow", "pressure")


def _node(kind: str, inputs: Sequence[str], output: str, **more: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], **more)


_MEAN = _node("ReduceMean", ["x"], "mean", axes=[1, 2], keepdims=0)
_TOP = _node("ReduceMax", ["x"], "top", axes=[1, 2], keepdims=0)


def _model(
    version: str,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Any],
    *,
    length: int = LENGTH,
    threshold: float = 10.0,
    units: tuple[str, ...] = (),
) -> Model:
    cells = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", length, len(INPUTS)])]
    if units:
        cells.append(helper.make_tensor_value_info("unit", TensorProto.INT64, ["N"]))
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        cells,
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    raw = bytes(made.SerializeToString())
    manifest = Manifest(
        name=NAME,
        version=version,
        task=Task.ANOMALY,
        inputs=tuple(InputSpec(name) for name in INPUTS),
        outputs=OutputNames(score="score"),
        window=WindowSpec(1.0, length, 1),
        threshold=threshold,
        units=units,
    )
    digest = sha256(raw + version.encode()).hexdigest()
    return Model(manifest, raw, digest, providers=["CPUExecutionProvider"], max_batch=64)


def mean(version: str = "1", factor: float = 1.0, **changes: Any) -> Model:
    """score = factor * mean of the window."""
    nodes = [_MEAN, _node("Mul", ["mean", "factor"], "score")]
    return _model(version, nodes, {"factor": np.float32(factor)}, **changes)


def nan_over(limit: float, version: str = "2", **changes: Any) -> Model:
    """score = mean, but no number once a value is over the limit."""
    nodes = [
        _MEAN,
        _TOP,
        _node("Sub", ["limit", "top"], "room"),
        _node("Sqrt", ["room"], "root"),
        _node("Mul", ["root", "zero"], "nothing"),
        _node("Add", ["mean", "nothing"], "score"),
    ]
    weights = {"limit": np.float32(limit), "zero": np.float32(0)}
    return _model(version, nodes, weights, **changes)


def fails_over(limit: int, version: str = "2", **changes: Any) -> Model:
    """score = mean, but the run fails once a value is over the limit: it looks it up in a table."""
    nodes = [
        _MEAN,
        _TOP,
        _node("Cast", ["top"], "index", to=TensorProto.INT64),
        _node("Gather", ["table", "index"], "nothing"),
        _node("Add", ["mean", "nothing"], "score"),
    ]
    return _model(version, nodes, {"table": np.zeros(limit + 1, np.float32)}, **changes)


def slow(version: str = "2", size: int = 700, **changes: Any) -> Model:
    """score = mean, after some milliseconds of multiplying matrices by each other."""
    nodes = [
        _MEAN,
        _TOP,
        _node("ReduceMax", ["x"], "most", keepdims=0),
        _node("Mul", ["matrix", "most"], "a"),
        _node("MatMul", ["a", "a"], "b"),
        _node("MatMul", ["b", "a"], "c"),
        _node("ReduceMax", ["c"], "d", keepdims=0),
        _node("Mul", ["d", "zero"], "nothing"),
        _node("Add", ["mean", "nothing"], "score"),
    ]
    weights = {"matrix": np.full((size, size), 1e-3, np.float32), "zero": np.float32(0)}
    return _model(version, nodes, weights, **changes)


def config(assets: str = "P-{1..2}", *, budget_s: float = 5.0, **rule: Any) -> Config:
    """Pumps with two signals and one use of the model `watch`."""
    import plants  # noqa: PLC0415

    signals = {name: Signal(source="bus") for name in INPUTS}
    use = ModelUse(NAME, alarm=AlarmRule(**{"off_delay": 0.0, **rule}))
    return plants.config(
        templates={"pump": Template(signals, (use,))},
        assets={assets: Asset("pump")},
        runtime=Runtime(latency_budget=budget_s),
    )


class Watched(Live):
    """A plant that gets a row a second; notes the score of every window by asset and time."""

    def __init__(self, made: Config) -> None:
        super().__init__(made)
        self.scores: dict[str, dict[int, float]] = {id_: {} for id_ in self.plant.assets}
        self.shadow_told: list[Transition] = []
        self.t = 0

    def row(self, *levels: float, busy: bool = False) -> Step:
        """One more second: all signals of the n-th asset have the n-th level, or the last."""
        self.t += 1
        signal, value = [], []
        for number, asset in enumerate(self.plant.assets.values()):
            for one in asset.signals.values():
                signal.append(one.index)
                value.append(levels[min(number, len(levels) - 1)])
        time_us = np.full(len(signal), (BEGIN_S + self.t) * S)
        step = self.turn(float(self.t), columns(signal, time_us, value))
        self.shadow_told += self.pipeline.shadow(busy=busy)
        for _, payload in step.scores:
            said = orjson.loads(payload)
            seen = self.scores[said["asset"]]
            assert said["ts"] not in seen, "a window is told once"
            seen[said["ts"]] = said["score"]
        return step

    def rows(self, n: int, *levels: float) -> None:
        """`n` more seconds."""
        for _ in range(n):
            self.row(*levels)

    def missing(self, length: int = LENGTH) -> list[tuple[str, int]]:
        """Windows without a score that is a number: (asset, second)."""
        wanted = range(length, self.t + 1)
        return [
            (asset, t)
            for asset, seen in self.scores.items()
            for t in wanted
            if not np.isfinite(seen.get((BEGIN_S + t) * 1000) or np.nan)
        ]

    def at_work(self) -> set[str]:
        """The versions at work."""
        return {group.model.manifest.version for group in self.pipeline.groups}
