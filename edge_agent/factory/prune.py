"""Structured pruning: whole neurons and channels are removed, and the layers become smaller.

Zeros in a weight matrix change neither size nor speed of an ONNX graph; fewer rows do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLE = 4096  # rows by which units are ranked
_FLAT = 2  # dimensions of a weight matrix; a kernel has one more
# Modules allowed between two layers: they work on each channel separately.
_PER_CHANNEL = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Dropout,
    nn.BatchNorm1d,
    nn.MaxPool1d,
    nn.AvgPool1d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool1d,
    nn.Flatten,
)


class Cut(NamedTuple):
    """Units kept in layer `first` of the Sequential at `path`; `second` is the next layer."""

    path: str
    first: int
    second: int
    kept: list[int]


def shrink(body: nn.Module, features: torch.Tensor, share: float) -> list[Cut]:
    """Remove `share` of the hidden units from every Sequential in `body`; returns the cuts.

    A unit's worth is its effect on the next layer: the deviation of its activation times the norm
    of the weights that read it. Its mean is added to the next layer's bias.
    """
    cuts: list[Cut] = []
    if share <= 0:
        return cuts
    for path, first, second in list(_pairs(body)):
        sequence = _sequence(body, path)
        seen = _seen_by(body, sequence[second], features[:_SAMPLE])
        units = _outputs(sequence[first])
        kept = _worth_keeping(sequence[second], seen, units, share)
        _move_means_into_bias(sequence[second], seen, units, kept)
        cuts.append(Cut(path, first, second, kept))
        apply_cut(body, cuts[-1])
    return cuts


def apply_cut(body: nn.Module, cut: Cut) -> None:
    """Make the layers smaller."""
    sequence = _sequence(body, cut.path)
    kept = torch.tensor(cut.kept)
    per_unit = sequence[cut.second].weight.shape[1] // _outputs(sequence[cut.first])
    sequence[cut.first] = _smaller(sequence[cut.first], rows=kept)
    for index in range(cut.first + 1, cut.second):
        if isinstance(sequence[index], nn.BatchNorm1d):
            sequence[index] = _smaller_norm(sequence[index], kept)
    columns = (kept[:, None] * per_unit + torch.arange(per_unit)).flatten()
    sequence[cut.second] = _smaller(sequence[cut.second], columns=columns)


def parameters(module: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(each.numel() for each in module.parameters())


def _pairs(body: nn.Module) -> Iterator[tuple[str, int, int]]:
    """Pairs of layers with only modules between them that work on each channel separately."""
    for path, module in body.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        last: int | None = None
        for index, layer in enumerate(module):
            if _is_layer(layer):
                if last is not None:
                    yield path, last, index
                last = index
            elif not isinstance(layer, _PER_CHANNEL):
                last = None


def _is_layer(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv1d) and layer.groups == 1)


def _sequence(body: nn.Module, path: str) -> nn.Sequential:
    found = body.get_submodule(path)
    if not isinstance(found, nn.Sequential):
        raise TypeError(f"{path} is not a torch.nn.Sequential")
    return found


def _seen_by(body: nn.Module, layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """The input of a layer: [rows, its inputs]; each step of a sequence is a row."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    body.eval()
    with torch.no_grad():
        body(features)
    hook.remove()
    found = seen[0].transpose(1, 2) if isinstance(layer, nn.Conv1d) else seen[0]
    return found.flatten(0, -2)


def _worth_keeping(second: nn.Module, seen: torch.Tensor, units: int, share: float) -> list[int]:
    moved = _reach(second).norm(dim=0) * seen.std(dim=0)
    worth = moved.reshape(units, -1).square().sum(dim=1)
    keep = max(1, math.ceil(units * (1 - share)))
    return sorted(torch.argsort(worth, descending=True, stable=True)[:keep].tolist())


def _reach(layer: nn.Module) -> torch.Tensor:
    """Norms of a layer's weights [outputs, inputs]; a kernel counts as one weight."""
    weights = layer.weight.detach()
    return weights.norm(dim=-1) if weights.dim() > _FLAT else weights


def _move_means_into_bias(
    second: nn.Module, seen: torch.Tensor, units: int, kept: list[int]
) -> None:
    """Add the mean contribution of the removed units to the next layer's bias."""
    if second.bias is None:
        return
    gone = torch.ones(units, dtype=torch.bool)
    gone[torch.tensor(kept)] = False
    columns = gone.repeat_interleave(seen.shape[1] // units)
    weights = second.weight.detach()
    weights = weights.sum(dim=-1) if weights.dim() > _FLAT else weights
    second.bias.data += weights[:, columns] @ seen.mean(dim=0)[columns]


def _outputs(layer: nn.Module) -> int:
    return int(layer.weight.shape[0])


def _smaller(
    layer: nn.Module, *, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None
) -> nn.Module:
    """A layer with these outputs (rows) and inputs (columns) only."""
    weight, bias = layer.weight.detach(), layer.bias
    if rows is not None:
        weight = weight[rows]
        bias = None if bias is None else bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    new = _like(layer, int(weight.shape[1]), int(weight.shape[0]))
    new.weight.data = weight.clone()
    if bias is not None:
        new.bias.data = bias.detach().clone()
    return new


def _like(layer: nn.Module, inputs: int, outputs: int) -> nn.Module:
    with_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias=with_bias)
    return nn.Conv1d(
        inputs,
        outputs,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=with_bias,
    )


def _smaller_norm(norm: nn.BatchNorm1d, kept: torch.Tensor) -> nn.BatchNorm1d:
    new = nn.BatchNorm1d(len(kept), eps=norm.eps, momentum=norm.momentum)
    state = {k: v[kept] if v.dim() else v for k, v in norm.state_dict().items()}
    new.load_state_dict(state)
    return new
