"""The part of a baseline's graph that subtracts what a network predicts; see `networks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.learning.networks import taps_for, toeplitz

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.networks import Network

    Floats = NDArray[np.float64]

_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]  # operator, inputs, output, attributes

_PREDICTION: Final[_Nodes] = (
    ("MatMul", "toeplitz one_row", "tapped", {}),
    ("Transpose", "tapped", "by_row", {"perm": [0, 2, 1, 3]}),
    ("Reshape", "by_row flat", "features", {}),
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


def network_nodes(z: str) -> _Nodes:
    """`left` is the rows `z` [N, W, C] less their prediction."""
    return (
        ("Unsqueeze", f"{z} second_axis", "one_row", {}),
        *_PREDICTION,
        ("Sub", f"{z} predicted", "left", {}),
    )


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
    return {
        "toeplitz": toeplitz(taps_for(length), length)[None].astype(np.float32),
        **{name: np.stack([one[name] for one in tables]).astype(np.float32) for name in tables[0]},
        "second_axis": np.array([1], np.int64),
        "flat": np.array([0, 0, -1], np.int64),
    }


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
