"""A baseline of waveforms as an ONNX graph. Only a learning process has the package `onnx`.

Inputs: each waveform float32 [N, length] under its own name, unit int64 [N] (which asset each
window is of). Features, their scaling, both distances from healthy and the contributions are in
the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.learning.waveform import CLIP, LOUDEST, QUIETEST, TINY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.waveform import Bank, WaveBaseline

_OPSET: Final = 17
_IR_VERSION: Final = 8
_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]

# From one waveform `wave` to its features; names with a dot are of this input.
_FEATURES: Final[_Nodes] = (
    ("Clip", "wave quietest loudest", ".clipped", {}),
    ("ReduceMean", ".clipped", ".mean", {"axes": [1]}),
    ("Sub", ".clipped .mean", ".centered", {}),
    ("Abs", ".centered", ".sizes", {}),
    ("ReduceMax", ".sizes", ".largest", {"axes": [1]}),
    ("Add", ".largest silence", ".peak", {}),
    ("Log", ".peak", ".loud", {}),
    ("Div", ".centered .peak", ".x", {}),
    ("Mul", ".x .x", ".square", {}),
    ("ReduceMean", ".square", ".second", {"axes": [1]}),
    ("Add", ".second tiny", ".power", {}),
    ("Mul", ".square .square", ".fourth_each", {}),
    ("ReduceMean", ".fourth_each", ".fourth", {"axes": [1]}),
    ("Mul", ".power .power", ".power_squared", {}),
    ("Div", ".fourth .power_squared", ".ratio", {}),
    ("Add", ".ratio tiny", ".ratio_up", {}),
    ("Log", ".ratio_up", ".kurtosis", {}),
    ("Log", ".power", ".log_power", {}),
    ("Mul", ".log_power half", ".level", {}),
    ("Add", ".level .loud", ".loudness", {}),
    ("Neg", ".level", ".crest", {}),
    ("Unsqueeze", ".x one_axis", ".row", {}),
    # The spectrum: [N, 2 bins, parts].
    ("Conv", ".row .spectrum", ".spectra", {"strides": "segment_hop"}),
    ("Mul", ".spectra .spectra", ".spectra_squared", {}),
    ("ReduceMean", ".spectra_squared", ".bins", {"axes": [2], "keepdims": 0}),
    ("MatMul", ".bins .bands", ".band_powers", {}),
    ("Add", ".band_powers tiny", ".band_powers_up", {}),
    ("Log", ".band_powers_up", ".band_logs", {}),
    ("Mul", ".band_logs half", ".band_levels", {}),
    ("Add", ".band_levels .loud", ".band_loudness", {}),
    # The envelopes of the pools: [N, pools, frames].
    ("Conv", ".row .frames", ".framed", {"strides": "frame_hop"}),
    ("Mul", ".framed .framed", ".framed_squared", {}),
    ("MatMul", ".pools .framed_squared", ".envelopes", {}),
    ("ReduceMean", ".envelopes", ".envelope_mean", {"axes": [2]}),
    ("Add", ".envelope_mean tiny", ".envelope_level", {}),
    ("Div", ".envelopes .envelope_level", ".relative", {}),
    ("Sub", ".relative one", ".swing", {}),
)
_STRETCH: Final[_Nodes] = (
    ("Slice", ".swing .from@ .to@ two_axis", ".stretch@", {}),
    ("MatMul", ".stretch@ .turns", ".turned@", {}),
    ("Mul", ".turned@ .turned@", ".turned_squared@", {}),
)
_LINES: Final[_Nodes] = (
    ("ReduceMax", ".both", ".line_powers", {"axes": [1], "keepdims": 0}),
    ("Gather", ".line_powers .ranges", ".in_ranges", {"axis": 1}),
    ("ReduceMax", ".in_ranges", ".range_powers", {"axes": [2], "keepdims": 0}),
    ("Add", ".range_powers tiny", ".range_powers_up", {}),
    ("Log", ".range_powers_up", ".range_logs", {}),
    ("Mul", ".range_logs half", ".line_levels", {}),
    ("Concat", ".loudness .kurtosis .crest .band_loudness .line_levels", ".f", {"axis": 1}),
)
# From the features f [N, F] to score and contributions.
_JUDGEMENT: Final[_Nodes] = (
    ("Gather", "center unit", "center_n", {"axis": 0}),
    ("Gather", "scale unit", "scale_n", {"axis": 0}),
    ("Gather", "middle unit", "middle_n", {"axis": 0}),
    ("Gather", "precision unit", "precision_n", {"axis": 0}),
    ("Gather", "single unit", "single_n", {"axis": 0}),
    ("Sub", "f center_n", "off", {}),
    ("Mul", "off scale_n", "scaled", {}),
    ("Clip", "scaled clip_low clip_high", "z", {}),
    ("Sub", "z middle_n", "away", {}),
    ("Unsqueeze", "away one_axis", "deviation", {}),
    # Less what has been followed.
    ("Squeeze", "followed one_axis", "moved", {}),
    ("Sub", "away moved", "e", {}),
    ("Sub", "z moved", "z_left", {}),
    ("Unsqueeze", "e last_axis", "e_column", {}),
    ("MatMul", "precision_n e_column", "pull_column", {}),
    ("Squeeze", "pull_column last_axis", "pull", {}),
    ("Mul", "e pull", "shares", {}),
    ("ReduceSum", "shares last_axis", "together", {"keepdims": 1}),
    ("Mul", "z_left z_left", "alone_each", {}),
    ("Mul", "alone_each single_n", "alone_shares", {}),
    ("ReduceMax", "alone_shares", "alone", {"axes": [1], "keepdims": 1}),
    # The largest one is the score; all have their part of it.
    ("ReduceSum", "alone_shares last_axis", "alone_sum", {"keepdims": 1}),
    ("Div", "alone alone_sum", "alone_part", {}),
    ("Mul", "alone_shares alone_part", "alone_parts", {}),
    ("Greater", "alone together", "is_alone", {}),
    ("Where", "is_alone alone_parts shares", "contributions", {}),
    ("ReduceSum", "contributions last_axis", "score", {"keepdims": 0}),
    ("Add", "score one", "score_plus_one", {}),
    ("Reciprocal", "score_plus_one", "health", {}),
)


@dataclass(slots=True)
class _Graph:
    """Nodes and constants as they are added."""

    nodes: list[onnx.NodeProto]
    values: dict[str, NDArray[np.generic]]

    def add(
        self,
        nodes: _Nodes,
        replaced: dict[str, str] | None = None,
        prefix: str = "",
        number: str = "",
        hops: dict[str, int] | None = None,
    ) -> None:
        """Add nodes; a name with a dot gets the prefix, and @ the number."""
        for op, inputs, output, attributes in nodes:
            names = [self._name(name, replaced or {}, prefix, number) for name in inputs.split()]
            extra: dict[str, Any] = {
                k: [(hops or {})[v]] if isinstance(v, str) else v for k, v in attributes.items()
            }
            to = self._name(output, replaced or {}, prefix, number)
            self.nodes.append(helper.make_node(op, names, [to], **extra))

    @staticmethod
    def _name(name: str, replaced: dict[str, str], prefix: str, number: str) -> str:
        name = replaced.get(name, name).replace("@", number)
        return prefix + name if name.startswith(".") else name


def build_wave_graph(baselines: Sequence[WaveBaseline], banks: Mapping[str, Bank]) -> bytes:
    """The model of these assets, in this order, for windows of each input.

    banks: what is measured in each input, by its name.

    contributions [N, features]: shares in the score, which they sum to. score [N]: the
    larger one of T² by its limit and of the largest single deviation squared by its own limit;
    health [N] = 1 / (1 + score); deviation [N, 1, features]: from the middle, in spreads.
    `followed` [1 or N, 1, features], by how much the middle has moved, is 0 if it is not fed.
    """
    graph = _Graph([], _shared_values(baselines))
    distinct = list(dict.fromkeys(banks.values()))
    features = []
    for number, (name, bank) in enumerate(banks.items()):
        _add_input(graph, f"input{number}", name, bank, f"bank{distinct.index(bank)}")
        features.append(f"input{number}.f")
    graph.nodes.append(helper.make_node("Concat", features, ["f"], axis=1))
    graph.add(_JUDGEMENT)
    size = sum(bank.size for bank in banks.values())
    tensor = helper.make_tensor_value_info
    made = helper.make_graph(
        graph.nodes,
        "waveforms",
        [tensor(name, TensorProto.FLOAT, ["N", bank.length]) for name, bank in banks.items()]
        + [
            tensor("unit", TensorProto.INT64, ["N"]),
            tensor("followed", TensorProto.FLOAT, ["F", 1, size]),
        ],
        [
            tensor("score", TensorProto.FLOAT, ["N"]),
            tensor("health", TensorProto.FLOAT, ["N"]),
            tensor("contributions", TensorProto.FLOAT, ["N", size]),
            tensor("deviation", TensorProto.FLOAT, ["N", 1, size]),
        ],
        [numpy_helper.from_array(value, name) for name, value in graph.values.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(made, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _add_input(graph: _Graph, prefix: str, name: str, bank: Bank, constants: str) -> None:
    """Add the nodes from one waveform to its features."""
    tables = _tables(bank)
    shared = {f".{key}": f"{constants}.{key}" for key in tables}
    graph.values |= {f"{constants}.{key}": value for key, value in tables.items()}
    hops = {"segment_hop": bank.segment // 2, "frame_hop": bank.hop}
    graph.add(_FEATURES, {**shared, "wave": name}, prefix, hops=hops)
    frames = (bank.length - bank.frame) // bank.hop + 1
    starts = range(0, frames - bank.stretch + 1, bank.stretch_hop)
    for number, start in enumerate(starts):
        graph.values[f"{prefix}.from{number}"] = np.array([start], np.int64)
        graph.values[f"{prefix}.to{number}"] = np.array([start + bank.stretch], np.int64)
        graph.add(_STRETCH, shared, prefix, str(number))
    parts = [f"{prefix}.turned_squared{number}" for number in range(len(starts))]
    graph.nodes.append(helper.make_node("Mean", parts, [f"{prefix}.averaged"]))
    halves = [f"{prefix}.real", f"{prefix}.imaginary"]
    graph.nodes.append(helper.make_node("Split", [f"{prefix}.averaged"], halves, axis=2))
    graph.nodes.append(helper.make_node("Add", halves, [f"{prefix}.both"]))
    graph.add(_LINES, shared, prefix)


def _tables(bank: Bank) -> dict[str, NDArray[np.generic]]:
    """The constants of the features: real and imaginary parts of a bin are summed alike."""
    tables = bank.tables
    return {
        "spectrum": tables.spectrum.T[:, None, :].astype(np.float32),
        "bands": np.concatenate([tables.bands, tables.bands]).astype(np.float32),
        "frames": tables.frames.T[:, None, :].astype(np.float32),
        "pools": np.concatenate([tables.pools, tables.pools]).T.astype(np.float32),
        "turns": tables.turns.T.astype(np.float32),
        "ranges": tables.ranges,
    }


def _shared_values(baselines: Sequence[WaveBaseline]) -> dict[str, NDArray[np.generic]]:
    def stacked(arrays: list[NDArray[np.float64]]) -> NDArray[np.float32]:
        return np.stack(arrays).astype(np.float32)

    numbers = {
        "quietest": -LOUDEST,
        "loudest": LOUDEST,
        "silence": QUIETEST,
        "tiny": TINY,
        "half": 0.5,
        "one": 1.0,
        "clip_low": -CLIP,
        "clip_high": CLIP,
    }
    return {
        "center": stacked([b.center for b in baselines]),
        "scale": stacked([1.0 / b.spread for b in baselines]),
        "middle": stacked([b.middle for b in baselines]),
        "precision": stacked([b.precision / b.limits[0] for b in baselines]),
        "followed": np.zeros((1, 1, len(baselines[0].center)), np.float32),
        "single": stacked([np.array([1.0 / b.limits[1]]) for b in baselines]),
        **{name: np.array(value, np.float32) for name, value in numbers.items()},
        "last_axis": np.array([-1], np.int64),
        "one_axis": np.array([1], np.int64),
        "two_axis": np.array([2], np.int64),
    }
