"""The parts of a baseline's graph that read the newest rows: `networks` and `phases`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto

from edge_agent.learning.networks import taps_for, toeplitz
from edge_agent.learning.phases import FARTHEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.networks import Network
    from edge_agent.learning.phases import Phases

    Floats = NDArray[np.float64]

_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]  # operator, inputs, output, attributes
_UNREACHED: Final = 1e9  # farther than any phase

_FEATURES: Final[_Nodes] = (
    ("MatMul", "toeplitz one_row", "tapped", {}),
    ("Transpose", "tapped", "by_row", {"perm": [0, 2, 1, 3]}),
    ("Reshape", "by_row flat", "features", {}),
)
_PREDICTION: Final[_Nodes] = (
    ("MatMul", "features inward_n", "sums", {}),
    ("Add", "sums lift_n", "biased", {}),
    ("Relu", "biased", "hidden", {}),
    ("MatMul", "hidden onward_n", "more_sums", {}),
    ("Add", "more_sums turn_n", "turned", {}),
    ("Relu", "turned", "hidden_again", {}),
    ("MatMul", "hidden_again outward_n", "bent", {}),
    ("MatMul", "features linear_n", "straight", {}),
    ("Add", "bent straight", "both", {}),
    ("Add", "both base_n", "predicted", {}),
)
_PHASE: Final[_Nodes] = (
    ("Clip", "features phase_low phase_high", "course", {}),
    ("MatMul", "course course_toward_n", "course_alike", {}),
    ("Sub", "course_size_n course_alike", "course_distance", {}),
    ("ArgMin", "course_distance", "phase", {"axis": 2, "keepdims": 1}),
    ("Equal", "phase phase_numbers", "is_phase", {}),
    ("Cast", "is_phase", "phase_chosen", {"to": TensorProto.FLOAT}),
    ("MatMul", "phase_chosen phase_means_n", "phase_mean", {}),
    ("MatMul", "phase_chosen phase_scales_n", "phase_scale", {}),
)


def feature_nodes(z: str) -> _Nodes:
    """The `features` [N, W, M C] of rows `z` [N, W, C]."""
    return (("Unsqueeze", f"{z} second_axis", "one_row", {}), *_FEATURES)


def network_nodes(z: str) -> _Nodes:
    """`left` is the rows `z` [N, W, C] less their prediction from `features`."""
    return (*_PREDICTION, ("Sub", f"{z} predicted", "left", {}))


def phase_nodes(z: str) -> _Nodes:
    """`in_phase` is what is left of the rows `z` [N, W, C] in their phases, by `features`."""
    return (
        *_PHASE,
        ("Sub", f"{z} phase_mean", "off_phase", {}),
        ("Mul", "off_phase phase_scale", "in_phase", {}),
    )


def feature_tables(length: int) -> dict[str, NDArray[np.generic]]:
    """The numbers by which windows of `length` rows become features."""
    return {
        "toeplitz": toeplitz(taps_for(length), length)[None].astype(np.float32),
        "second_axis": np.array([1], np.int64),
        "flat": np.array([0, 0, -1], np.int64),
    }


def phase_tables(phases: Sequence[Phases | None]) -> dict[str, NDArray[np.generic]]:
    """The numbers of the phases by asset; assets without any have one that changes nothing."""
    known = [each for each in phases if each]
    if not known:
        return {}
    count = max(len(each.courses) for each in known)
    channels, inputs = known[0].means.shape[1], known[0].courses.shape[1]
    tables = [_phase_table(each, count, channels, inputs) for each in phases]
    return {
        **{name: np.stack([one[name] for one in tables]).astype(np.float32) for name in tables[0]},
        "phase_numbers": np.arange(count, dtype=np.int64),
        "phase_low": np.array(-FARTHEST, np.float32),
        "phase_high": np.array(FARTHEST, np.float32),
    }


def _phase_table(
    phases: Phases | None, count: int, channels: int, inputs: int
) -> dict[str, Floats]:
    """Phases that an asset lacks are out of reach."""
    table = {
        "course_toward": np.zeros((inputs, count)),
        "course_size": np.full((1, count), _UNREACHED),
        "phase_means": np.zeros((count, channels)),
        "phase_scales": np.ones((count, channels)),
    }
    if phases is None:
        return table
    used = len(phases.courses)
    table["course_toward"][:, :used] = 2 * (phases.courses * phases.weight).T
    table["course_size"][0, :used] = (phases.courses**2 * phases.weight).sum(axis=1)
    table["phase_means"][:used], table["phase_scales"][:used] = phases.means, phases.scales
    return table


def network_tables(
    networks: Sequence[Network | None], length: int
) -> dict[str, NDArray[np.generic]]:
    """The numbers of the networks by asset; 0 for assets without one, and for hidden units less."""
    known = [network for network in networks if network]
    if not known:
        return {}
    hidden = max(len(network.bias) for network in known)
    channels = len(known[0].offset)
    tables = [_table(network, len(taps_for(length)), channels, hidden) for network in networks]
    return {name: np.stack([one[name] for one in tables]).astype(np.float32) for name in tables[0]}


def _table(network: Network | None, taps: int, channels: int, hidden: int) -> dict[str, Floats]:
    inputs = taps * channels
    table = {
        "linear": np.zeros((inputs, channels)),
        "inward": np.zeros((inputs, hidden)),
        "lift": np.zeros((1, hidden)),
        "onward": np.zeros((hidden, hidden)),
        "turn": np.zeros((1, hidden)),
        "outward": np.zeros((hidden, channels)),
        "base": np.zeros((1, channels)),
    }
    if network is not None:
        units = len(network.bias)
        table["linear"][:], table["base"][0] = network.linear, network.offset
        table["inward"][:, :units], table["lift"][0, :units] = network.first, network.bias
        table["onward"][:units, :units], table["turn"][0, :units] = network.second, network.turn
        table["outward"][:units] = network.last
    return table
