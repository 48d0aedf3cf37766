"""A baseline of waveforms as an ONNX graph. Only a learning process has the package `onnx`.

Inputs: each waveform float32 [N, length] under its own name, unit int64 [N] (which asset each
window is of). Features, their scaling, both distances from healthy and the contributions are in
the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from edge_agent.learning.onnx_graph import model_of
from edge_agent.learning.waveform import LOUDEST, QUIETEST, REACH, TINY
from edge_agent.learning.waveform_conditions import BENDS, CLIP
from edge_agent.learning.waveform_nodes import (
    FEATURES,
    GIVEN,
    JUDGEMENT,
    LARGEST,
    LINES,
    ORDERS,
    RANGES,
    SPEED,
    STRETCH,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.waveform import Bank
    from edge_agent.learning.waveform_conditions import WaveBaseline
    from edge_agent.learning.waveform_nodes import Nodes


@dataclass(slots=True)
class _Graph:
    """Nodes and constants as they are added."""

    nodes: list[onnx.NodeProto]
    values: dict[str, NDArray[np.generic]]

    @property
    def used(self) -> set[str]:
        """The names of the constants that some node reads."""
        return self.values.keys() & {name for node in self.nodes for name in node.input}

    def add(
        self,
        nodes: Nodes,
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


def build_wave_graph(
    baselines: Sequence[WaveBaseline],
    banks: Mapping[str, Bank],
    conditions: int = 0,
    speed_hz: float = 0.0,
) -> bytes:
    """The model of these assets, in this order, for windows of each input.

    banks: what is measured in each input, by its name. conditions: their number K, of the input x
    [N, 1, K]; speed_hz: turns per second for each unit of the first one, 0: it is no speed.

    contributions [N, features]: shares in the score, which they sum to. score [N]: the
    larger one of T² by its limit and of the largest single deviation squared by its own limit;
    health [N] = 1 / (1 + score); deviation [N, 1, features]: from the middle, in spreads.
    `followed` [1 or N, 1, features], by how much the middle has moved, is 0 if it is not fed.
    """
    graph = _Graph([], _shared_values(baselines, speed_hz))
    if conditions:
        graph.nodes.append(helper.make_node("Squeeze", ["x", "one_axis"], ["conditions"]))
        graph.values |= _given_values(baselines)
    if speed_hz:
        graph.add(SPEED)
    _add_features(graph, banks, "measured" if conditions else "f")
    if conditions:
        graph.add(GIVEN)
    graph.add(JUDGEMENT)
    size = sum(bank.size for bank in banks.values())
    inputs: dict[str, Sequence[str | int]] = {"x": ["N", 1, conditions]} if conditions else {}
    inputs |= {name: ["N", bank.length] for name, bank in banks.items()}
    inputs |= {"unit": ["N"], "followed": ["F", 1, size]}
    values = {name: graph.values[name] for name in sorted(graph.used)}
    return model_of("waveforms", graph.nodes, inputs, [1, size], values)


def _add_features(graph: _Graph, banks: Mapping[str, Bank], measured: str) -> None:
    """Add the nodes from all waveforms to their features together."""
    distinct = list(dict.fromkeys(banks.values()))
    for number, (name, bank) in enumerate(banks.items()):
        _add_input(graph, f"input{number}", name, bank, f"bank{distinct.index(bank)}")
    features = [f"input{number}.f" for number in range(len(banks))]
    graph.nodes.append(helper.make_node("Concat", features, [measured], axis=1))


def _add_input(graph: _Graph, prefix: str, name: str, bank: Bank, constants: str) -> None:
    """Add the nodes from one waveform to its features."""
    tables = _tables(bank)
    shared = {f".{key}": f"{constants}.{key}" for key in tables}
    graph.values |= {f"{constants}.{key}": value for key, value in tables.items()}
    hops = {"segment_hop": bank.segment // 2, "frame_hop": bank.hop}
    graph.add(FEATURES, {**shared, "wave": name}, prefix, hops=hops)
    frames = (bank.length - bank.frame) // bank.hop + 1
    starts = range(0, frames - bank.stretch + 1, bank.stretch_hop)
    for number, start in enumerate(starts):
        graph.values[f"{prefix}.from{number}"] = np.array([start], np.int64)
        graph.values[f"{prefix}.to{number}"] = np.array([start + bank.stretch], np.int64)
        graph.add(STRETCH, shared, prefix, str(number))
    parts = [f"{prefix}.turned_squared{number}" for number in range(len(starts))]
    graph.nodes.append(helper.make_node("Mean", parts, [f"{prefix}.averaged"]))
    halves = [f"{prefix}.real", f"{prefix}.imaginary"]
    graph.nodes.append(helper.make_node("Split", [f"{prefix}.averaged"], halves, axis=2))
    graph.nodes.append(helper.make_node("Add", halves, [f"{prefix}.both"]))
    kind = ORDERS if bank.orders else RANGES
    graph.add((*LARGEST, *kind, *LINES), shared, prefix)


def _tables(bank: Bank) -> dict[str, NDArray[np.generic]]:
    """The constants of the features: real and imaginary parts of a bin are summed alike."""
    tables = bank.tables
    ranges = _order_tables(bank) if bank.orders else {"ranges": tables.ranges}
    return {
        "spectrum": tables.spectrum.T[:, None, :].astype(np.float32),
        "bands": np.concatenate([tables.bands, tables.bands]).astype(np.float32),
        "frames": tables.frames.T[:, None, :].astype(np.float32),
        "pools": np.concatenate([tables.pools, tables.pools]).T.astype(np.float32),
        "turns": tables.turns.T.astype(np.float32),
        **ranges,
    }


def _order_tables(bank: Bank) -> dict[str, NDArray[np.generic]]:
    edges, bins = bank.order_edges.astype(np.float32), bank.bins.astype(np.float32)
    return {
        "order_first": edges[:, 0],
        "order_last": edges[:, 1],
        "bin_numbers": bins,
        "first_bin": bins[0],
        "last_bin": bins[-1],
    }


def _given_values(baselines: Sequence[WaveBaseline]) -> dict[str, NDArray[np.generic]]:
    given = [b.given for b in baselines]
    return {
        "condition_low": np.stack([each.low for each in given]).astype(np.float32),
        "condition_scale": np.stack([each.scale for each in given]).astype(np.float32),
        "bends": np.stack([each.bends for each in given]).astype(np.float32),
        "weights": np.stack([each.weights for each in given]).astype(np.float32),
        "basis_shape": np.array([-1, 1, len(given[0].low) * BENDS], np.int64),
    }


def _shared_values(
    baselines: Sequence[WaveBaseline], speed_hz: float
) -> dict[str, NDArray[np.generic]]:
    def stacked(arrays: list[NDArray[np.float64]]) -> NDArray[np.float32]:
        return np.stack(arrays).astype(np.float32)

    numbers = {
        "quietest": -LOUDEST,
        "loudest": LOUDEST,
        "silence": QUIETEST,
        "tiny": TINY,
        "half": 0.5,
        "one": 1.0,
        "zero": 0.0,
        "reach": REACH,
        "speed_scale": speed_hz,
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
        "first": np.array([0], np.int64),
        "last_axis": np.array([-1], np.int64),
        "one_axis": np.array([1], np.int64),
        "two_axis": np.array([2], np.int64),
    }
