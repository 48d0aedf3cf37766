"""From torch to ONNX through optimum, and from there to int8."""

from __future__ import annotations

import inspect
import logging
import shutil
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import onnx
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType
from optimum.exporters.onnx import OnnxConfig, export
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import (
    AutoQuantizationConfig,
    CalibrationConfig,
    QuantizationConfig,
)
from optimum.utils import DummyInputGenerator, NormalizedConfig
from transformers import PretrainedConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.factory.recipe import Samples
    from edge_agent.models import Manifest

OPSET: Final = 17
# Preset of optimum to the variant's name in the bundle.
PRESETS: Final = {"avx2": "int8", "avx512_vnni": "int8-avx512", "arm64": "int8-arm64"}
CALIBRATION_ROWS: Final = 512
# The expensive operators, and those that fuse with them; all others stay in float.
_OPERATORS: Final = ("Conv", "Gemm", "MatMul", "Relu")
_BYTE: Final = 8
_EXAMPLES: Final = 2


class _Named(torch.nn.Module):
    """A module whose forward takes `t0`, `t1`, ...: a tensor's name need not be a Python name."""

    def __init__(self, module: torch.nn.Module, tensors: int) -> None:
        super().__init__()
        self.module = module
        self.config = PretrainedConfig()  # optimum sets return_dict on it
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [inspect.Parameter(f"t{n}", kind) for n in range(tensors)]

        def forward(*given: torch.Tensor) -> Any:  # noqa: ANN401
            return self.module(*given)

        forward.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
        self.forward = forward


class _Examples(DummyInputGenerator):
    """Inputs for tracing; the shapes are the manifest's."""

    def __init__(self, _: str, normalized_config: NormalizedConfig, **__: Any) -> None:  # noqa: ANN401
        self._tensors = normalized_config.config.tensors
        self.SUPPORTED_INPUT_NAMES = tuple(self._tensors)

    def generate(self, input_name: str, **_: Any) -> torch.Tensor:  # noqa: ANN401
        """Two rows."""
        dtype, shape = self._tensors[input_name]
        if dtype == "int64":
            return torch.zeros((_EXAMPLES, *shape), dtype=torch.int64)
        return torch.rand((_EXAMPLES, *shape))


class _GraphConfig(OnnxConfig):
    """Names and free axes of a manifest's tensors."""

    NORMALIZED_CONFIG_CLASS = NormalizedConfig
    DUMMY_INPUT_GENERATOR_CLASSES = (_Examples,)

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "N"} for name in self._config.tensors}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "N"} for name in self._config.outputs}

    @property
    def torch_to_onnx_input_map(self) -> dict[str, str]:
        names: dict[str, str] = self._config.names
        return names


def export_graph(module: torch.nn.Module, manifest: Manifest, path: Path) -> None:
    """Write the ONNX graph of a calibrated module, inputs and outputs named by the manifest."""
    tensors = manifest.tensors()
    config = PretrainedConfig()
    config.tensors = {f"t{n}": spec for n, spec in enumerate(tensors.values())}
    config.names = {f"t{n}": name for n, name in enumerate(tensors)}
    config.outputs = list(manifest.outputs.named().values())
    ordered = _Ordered(module.eval(), config.outputs)
    with _quiet():
        export(
            _Named(ordered, len(tensors)),
            _GraphConfig(config),
            path,
            opset=OPSET,
            disable_dynamic_axes_fix=True,
        )
    _tidy(path)


class _Ordered(torch.nn.Module):
    """The outputs in the manifest's order: tracing numbers them, it does not read their names."""

    def __init__(self, module: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.graph = module
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Outputs from the dict of the module of `finish`."""
        found = self.graph(*tensors)
        return tuple(found[name] for name in self.names)


def quantize(  # noqa: PLR0913 (each names a different thing)
    model: Path,
    manifest: Manifest,
    rows: Samples,
    keep_float: tuple[str, ...],
    scratch: Path,
    *,
    activation_bits: int = _BYTE,
) -> Iterator[tuple[str, bytes]]:
    """int8 graphs (QDQ) as (preset, bytes); calibrated on normal AND anomalous rows.

    Static int8 clamps values beyond its calibration; healthy rows alone would hide faults.
    """
    examples = [
        {name: rows.inputs[name][i] for name in manifest.tensors()} for i in range(len(rows))
    ]
    excluded = _nodes_within(model, keep_float)
    for preset in PRESETS:
        folder = scratch / preset
        folder.mkdir(parents=True)
        config = _quantization(preset, excluded, activation_bits)
        with _quiet():
            raw = _quantized(model, config, examples, folder)
        shutil.rmtree(folder)
        yield preset, raw


def _quantization(preset: str, excluded: list[str], activation_bits: int) -> QuantizationConfig:
    config: QuantizationConfig = getattr(AutoQuantizationConfig, preset)(
        is_static=True,
        per_channel=True,
        operators_to_quantize=list(_OPERATORS),
        nodes_to_exclude=excluded,
    )
    if activation_bits > _BYTE:
        config.activations_dtype = QuantType.QUInt16
        config.weights_dtype = QuantType.QInt8
    return config


def _quantized(
    model: Path, config: QuantizationConfig, examples: list[dict[str, Any]], folder: Path
) -> bytes:
    quantizer = ORTQuantizer(model, config=PretrainedConfig())
    ranges = quantizer.fit(
        examples,
        CalibrationConfig("rows", "", "", len(examples), CalibrationMethod.MinMax),
        onnx_augmented_model_name=(folder / "augmented.onnx").as_posix(),
        operators_to_quantize=config.operators_to_quantize,
    )
    quantizer.quantize(config, folder, "int8", calibration_tensors_range=ranges)
    found = folder / f"{model.stem}_int8.onnx"
    _tidy(found)
    return found.read_bytes()


def _nodes_within(model: Path, parts: tuple[str, ...]) -> list[str]:
    """Names of the nodes that submodules (`student.features`, `student.body.4`) became."""
    names = [node.name for node in onnx.load(model).graph.node]
    marks = tuple(f".{part}." for part in parts)
    return [name for name in names if any(mark in _module_path(name) for mark in marks)]


def _module_path(name: str) -> str:
    """`/module/graph/student/body/body.4/Gemm` as `.module.graph.student.body.4.`."""
    found: list[str] = []
    before = ""
    for part in name.strip("/").split("/")[:-1]:
        found.append(part.removeprefix(f"{before}."))
        before = part
    return f".{'.'.join(found)}."


def _tidy(path: Path) -> None:
    """Remove the notes of the tracer: same weights, same bytes."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress exporters' warnings that callers cannot act on; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
