"""Tiny real models, and bundles made of them: good ones and bad ones."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from edge_agent.config.schema import Kind
from edge_agent.config.types import Name
from edge_agent.learning.fit import Recipe
from edge_agent.models.bundle.bundle import write_bundle as write
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.manifest_text import dump_manifest
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.testing import tiny_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

NOW_US = 1_767_225_600_000_000
LENGTH, CHANNELS = 8, 2
INPUTS = (InputSpec("flow", "m3/h"), InputSpec("pressure", "bar"))


def manifest(**changes: Any) -> Manifest:
    """A valid manifest of the mean model."""
    plain = Manifest(
        name=Name("mean"),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=INPUTS,
        outputs=OutputNames(score="score"),
        window=WindowSpec(1.0, LENGTH, 1),
        threshold=2.0,
    )
    return replace(plain, **changes)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Any] | None = None,
    *,
    batch: str | int = "N",
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    outputs: Sequence[str] = ("score",),
) -> onnx.ModelProto:
    """A model from x [N, 8, 2] to scores [N], whatever its nodes do."""
    shapes = dict.fromkeys(outputs, (batch,))
    x = {"x": (batch, LENGTH, CHANNELS)}
    return tiny_graph(nodes, x, shapes, weights, opsets=dict(opsets))


def mean_node(source: str = "x", target: str = "score") -> onnx.NodeProto:
    return helper.make_node("ReduceMean", [source], [target], axes=[1, 2], keepdims=0)


def mean_model(**changes: Any) -> bytes:
    """score = mean of the window."""
    return bytes(model([mean_node()], **changes).SerializeToString())


def scaled_model(factor: float) -> bytes:
    """score = factor * mean of the window."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["scaled"]), mean_node("scaled")]
    return bytes(model(nodes, {"factor": np.float32(factor)}).SerializeToString())


def endless_model() -> bytes:
    """A Loop whose condition is always true and whose trip count is the largest there is."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "sum"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        mean_node("x", "mean"),
        helper.make_node("Loop", ["trips", "yes", "mean"], ["score"], body=body),
    ]
    trips = {"trips": np.array(2**62, np.int64), "yes": np.array(True)}  # noqa: FBT003
    return bytes(model(nodes, trips).SerializeToString())


def giant_model(cells: int) -> bytes:
    """A few bytes that ask for 4 bytes times `cells`."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        mean_node("x", "mean"),
        helper.make_node("Add", ["mean", "nothing"], ["score"]),
    ]
    return bytes(model(nodes, {"shape": np.array([cells], np.int64)}).SerializeToString())


def external_model(location: str) -> bytes:
    """A model whose weight lies in another file."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["scaled"]), mean_node("scaled")]
    proto = model(nodes, {"factor": np.float32(1)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return bytes(proto.SerializeToString())


def golden_x(windows: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((windows, LENGTH, CHANNELS)).astype(np.float32)


def write_mean_bundle(folder: Path, factor: float = 1.0, **changes: Any) -> Manifest:
    """A good bundle; `factor` makes another version of it."""
    x = golden_x()
    golden = ({"x": x}, {"score": (factor * x).mean(axis=(1, 2))})
    return write(folder, manifest(name=folder.name, **changes), scaled_model(factor), golden)


def write_bundle_of(folder: Path, onnx_bytes: bytes, **changes: Any) -> None:
    """A bundle whose checksums and golden vectors fit, around any model at all."""
    x = golden_x()
    golden = ({"x": x}, {"score": x.mean(axis=(1, 2))})
    write(folder, manifest(name=folder.name, **changes), onnx_bytes, golden)


def replace_file(folder: Path, name: str, raw: bytes) -> None:
    """Put other content into a bundle and state its checksum, as an attacker would."""
    from edge_agent.models.bundle.bundle import load_manifest  # noqa: PLC0415

    (folder / name).write_bytes(raw)
    old = load_manifest(folder)
    new = replace(old, sha256={**old.sha256, name: sha256(raw).hexdigest()})
    (folder / "model.yaml").write_bytes(dump_manifest(new))


def recipe(channels: int = 3, length: int = 16, **changes: Any) -> Recipe:
    inputs = tuple(InputSpec(f"s{number}") for number in range(channels))
    return Recipe(**{"name": "learned", "inputs": inputs, "length": length, **changes})


def healthy(seed: int, rows: int = 600, channels: int = 3) -> np.ndarray:
    """Correlated noise around different levels, float32 [rows, channels]."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((rows, channels)) @ random.standard_normal((channels, channels))
    return (100 * random.random(channels) + mixed).astype(np.float32)


def wave(name: str, length: int) -> InputSpec:
    return InputSpec(name, kind=Kind.WAVEFORM, rate_hz=1000.0, length=length)
