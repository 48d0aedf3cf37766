"""A learned baseline as an ONNX graph. Only a learning process has the required package `onnx`.

Inputs: x float32 [N, W, C], unit int64 [N] (which asset each window is of). Everything is in the
graph: scaling, the form of each asset, smoothing, variability, the distance from healthy, and the
contributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, helper

from edge_agent.learning.forms import CLIP
from edge_agent.learning.network_graph import (
    feature_nodes,
    feature_tables,
    network_nodes,
    network_tables,
    phase_nodes,
    phase_tables,
)
from edge_agent.learning.onnx_graph import model_of
from edge_agent.learning.season_graph import SEASON, season_tables
from edge_agent.learning.statistics import (
    MOST_BEYOND,
    STATISTICS,
    STILLNESS,
    USUAL_EVENT,
    has_season,
)
from edge_agent.models import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.statistics import Baseline

_FAR: Final = 1e6  # from any reading: a state that no row is nearest to

_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]  # operator, inputs, output, attributes
_Tables = dict[str, "NDArray[np.generic]"]
# x becomes z, ...
_SCALING: Final[_Nodes] = (
    ("Sub", "x center_n", "centered", {}),
    ("Mul", "centered scale_n", "scaled", {}),
    ("Clip", "scaled clip_low clip_high", "z", {}),
)
# ... less the nearest state, if any asset has several, ...
_STATES: Final[_Nodes] = (
    ("MatMul", "z toward_n", "alike", {}),
    ("Sub", "size_n alike", "distance", {}),
    ("ArgMin", "distance", "nearest", {"axis": 2, "keepdims": 1}),
    ("Equal", "nearest numbers", "is_nearest", {}),
    ("Cast", "is_nearest", "chosen", {"to": TensorProto.FLOAT}),
    ("MatMul", "chosen states_n", "state", {}),
    ("Sub", "z state", "rest", {}),
)
# ... its statistics less their middle, ...
_STATISTICS: Final[_Nodes] = (
    ("Sub", "later earlier", "differences", {}),
    ("Abs", "differences", "steps", {}),
    ("MatMul", "changes_n steps", "change", {}),
    ("Mul", "change restless_scale_n", "change_share", {}),
    ("Add", "change_share stillness", "change_offset", {}),
    ("Log", "change_offset", "restless", {}),
    ("Concat", "mean restless", "statistics", {"axis": 1}),
    ("Sub", "statistics middle_n", "away", {}),
)
# ... in sigmas, ...
_SIGMAS: Final[_Nodes] = (("Mul", "away sigma_scale_n", "deviation", {}),)
# ... less what has been followed, their T² and largest inputs.
_CHARTS: Final[_Nodes] = (
    ("Sub", "deviation followed", "d", {}),
    ("Unsqueeze", "d last_axis", "d_column", {}),
    ("MatMul", "precision_n d_column", "pull_column", {}),
    ("Squeeze", "pull_column last_axis", "pull", {}),
    ("Mul", "d pull", "terms", {}),
    ("ReduceSum", "terms last_axis", "total", {"keepdims": 1}),
    ("MatMul", "causes_n pull_column", "cause_column", {}),
    ("Squeeze", "cause_column last_axis", "cause", {}),
    ("Mul", "cause cause", "cause_squared", {}),
    ("Mul", "cause_squared alone_scale_n", "alone", {}),
    ("ReduceMax", "alone", "largest", {"axes": [2], "keepdims": 1}),
    ("Mul", "d events_n", "event_parts", {}),
    ("ReduceSum", "event_parts second_axis", "event", {"keepdims": 1}),
    ("Sub", "event usual_n", "place", {}),
    ("Abs", "place", "farness", {}),
    ("Sub", "farness usual_event", "beyond", {}),
    ("Clip", "beyond no_event largest_event", "outside", {}),
    ("Mul", "outside outside", "event_squares", {}),
    ("ReduceMax", "event_squares", "farthest", {"axes": [2], "keepdims": 1}),
    ("Concat", "total largest farthest", "squares", {"axis": 1}),
    ("Mul", "squares limit_scale_n", "charts", {}),
    ("Mul", "d own_n", "own_size", {}),
    ("Mul", "cause related_n", "related_size", {}),
    ("Add", "own_size related_size", "shift_size", {}),
    ("Mul", "cause shift_size", "signed_blame", {}),
    ("Relu", "signed_blame", "blame", {}),
    ("ReduceSum", "blame last_axis", "blame_sum", {"keepdims": 1}),
    ("Max", "blame_sum tiny", "blame_total", {}),
    ("Div", "blame blame_total", "weight", {}),
    ("Slice", "weight first second second_axis", "quick_weight", {}),
    ("Concat", "weight weight quick_weight", "weights", {"axis": 1}),
    ("Mul", "weights charts", "shares", {}),
    ("Squeeze", "charts last_axis", "chart", {}),
    ("ArgMax", "chart", "worst", {"axis": 1, "keepdims": 1}),
    ("GatherND", "shares worst", "contributions", {"batch_dims": 1}),
    ("ReduceSum", "contributions last_axis", "score", {"keepdims": 0}),
    ("Add", "score one", "score_plus_one", {}),
    ("Reciprocal", "score_plus_one", "health", {}),
)


def build_graph(baselines: Sequence[Baseline], length: int) -> bytes:
    """The model of these assets, in this order, for windows of `length` rows.

    score [N]: the largest chart relative to its limit; contributions [N, C]: its parts by input,
    which sum to the score; health [N] = 1 / (1 + score): 1 is healthy, 1/2 the limit; deviation
    [N, S, C]: the statistics in sigmas from their middle. `followed` [1 or N, S, C], by how much
    the middle has moved, is 0 if it is not fed. If an asset has a season, `hour` [1 or N] is that
    of the week; without it the deviations keep their season.
    """
    channels = len(baselines[0].center)
    nodes = _nodes(baselines)
    values = _constants(baselines, length)
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    gathered = [name for name in values if f"{name}_n" in used]
    shared = [name for name in gathered if (values[name] == values[name][:1]).all()]
    values |= {f"{name}_n": values[name][:1] for name in shared}
    nodes = _gathers([name for name in gathered if name not in shared]) + nodes
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    values = {name: value for name, value in values.items() if name in used}
    state = [STATISTICS, channels]
    inputs: dict[str, Sequence[str | int]] = {"x": ["N", length, channels], "unit": ["N"]}
    inputs |= {"followed": ["F", *state], **({HOUR: ["H"]} if HOUR in used else {})}
    made = (helper.make_node(op, i.split(), [o], **extra) for op, i, o, extra in nodes)
    return model_of("baseline", made, inputs, state, values)


def _nodes(baselines: Sequence[Baseline]) -> _Nodes:
    """The steps that these baselines need."""
    nodes, z = _SCALING, "z"
    if any(len(b.form.states) > 1 for b in baselines):
        nodes, z = nodes + _STATES, "rest"
    if any(b.form.network or b.form.phases for b in baselines):
        nodes += feature_nodes(z)
    if any(b.form.network for b in baselines):
        nodes, z = nodes + network_nodes(z), "left"
    if any(b.form.phases for b in baselines):
        nodes, z = nodes + phase_nodes(z), "in_phase"
    if any((b.form.mixing != np.eye(len(b.center))).any() for b in baselines):
        nodes, z = nodes + _mixing(z), "y"
    sigmas = SEASON if any(map(has_season, baselines)) else _SIGMAS
    return nodes + _smoothing(z) + _STATISTICS + sigmas + _CHARTS


def _mixing(z: str) -> _Nodes:
    """Less what the other inputs explain, in spreads of what is left."""
    return (
        ("MatMul", f"{z} mixing_n", "mixed", {}),
        ("Add", "mixed shift_n", "shifted", {}),
        ("Clip", "shifted clip_low clip_high", "y", {}),
    )


def _smoothing(y: str) -> _Nodes:
    """Both means of the rows, and the rows before and after each step."""
    return (
        ("MatMul", f"means_n {y}", "mean", {}),
        ("Slice", f"{y} first end rows", "later", {}),
        ("Slice", f"{y} zero before_end rows", "earlier", {}),
    )


def _gathers(names: Sequence[str]) -> _Nodes:
    """One row of each table of numbers for each window, by its asset."""
    return tuple(("Gather", f"{name} unit", f"{name}_n", {"axis": 0}) for name in names)


def _constants(baselines: Sequence[Baseline], length: int) -> _Tables:
    """All tables by name; some may not be used."""
    forms = [b.form for b in baselines]
    return (
        feature_tables(length)
        | network_tables([form.network for form in forms], length)
        | phase_tables([form.phases for form in forms])
        | season_tables([b.season for b in baselines])
        | _state_tables(baselines)
        | _asset_tables(baselines)
        | _numbers(len(baselines[0].center), length)
    )


def _state_tables(baselines: Sequence[Baseline]) -> _Tables:
    """The operating points, as many for each asset."""
    most = max(len(b.form.states) for b in baselines)
    states = np.stack([_padded_states(b.form.states, most) for b in baselines])
    weight = np.stack([b.form.state_weight for b in baselines])[:, None, :]
    return {
        "states": states.astype(np.float32),
        "toward": (2 * states * weight).transpose(0, 2, 1).astype(np.float32),
        "size": (states**2 * weight).sum(axis=2)[:, None, :].astype(np.float32),
        "numbers": np.arange(most, dtype=np.int64),
    }


def _asset_tables(baselines: Sequence[Baseline]) -> _Tables:
    """What was learned of each asset."""
    return {
        "center": _stack([b.center for b in baselines])[:, None, :],
        "scale": _stack([1.0 / b.spread for b in baselines])[:, None, :],
        "mixing": _stack([b.form.mixing for b in baselines]),
        "shift": _stack([b.form.shift for b in baselines])[:, None, :],
        "means": _stack([b.form.means for b in baselines]),
        "changes": _stack([b.form.changes for b in baselines])[:, None, :],
        "restless_scale": _stack([1.0 / b.restless for b in baselines])[:, None, :],
        "middle": _stack([b.middle for b in baselines]),
        "sigma_scale": _stack([1.0 / b.sigma for b in baselines]),
        "precision": _stack([b.precision for b in baselines]),
        "causes": _stack([b.causes for b in baselines]),
        "events": _stack([b.events for b in baselines]),
        "usual": _stack([b.usual for b in baselines])[:, None, :],
        "limit_scale": _stack([1.0 / b.limit.reshape(-1, 1) for b in baselines]),
        "alone_scale": _stack([b.alone_scale for b in baselines]),
        "own": _stack([b.sizes[0] for b in baselines]),
        "related": _stack([b.sizes[1] for b in baselines]),
    }


def _numbers(channels: int, length: int) -> _Tables:
    """What is the same for all assets."""
    floats = {
        "usual_event": USUAL_EVENT,
        "no_event": 0.0,
        "largest_event": MOST_BEYOND,
        "stillness": STILLNESS,
        "clip_low": -CLIP,
        "clip_high": CLIP,
        "tiny": float(np.finfo(np.float32).tiny),
        "one": 1.0,
    }
    places = {
        "last_axis": -1,
        "second_axis": 1,
        "rows": 1,
        "zero": 0,
        "first": 1,
        "second": 2,
        "before_end": -1,
        "end": length,
    }
    return {
        "followed": np.zeros((1, STATISTICS, channels), np.float32),
        **{name: np.array(value, np.float32) for name, value in floats.items()},
        **{name: np.array([value], np.int64) for name, value in places.items()},
    }


def _padded_states(states: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """States [K, C] and as many unreachable ones as are missing to `most`."""
    return np.concatenate([states, np.full((most - len(states), states.shape[1]), _FAR)])


def _stack(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    return np.stack(arrays).astype(np.float32)
