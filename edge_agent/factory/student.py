"""Parts of students: features that are computed inside the graph, without learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIP = 10.0  # spreads; beyond it a feature adds no information
_TINY = 1e-6
_MEMORIES = (2.0, 6.0)  # rows of a window of 30; scaled to the window's length


class Student(torch.nn.Module):
    """`features` (no parameters, computed once) and `body` (trained and pruned)."""

    def __init__(self, features: torch.nn.Module, body: torch.nn.Module) -> None:
        super().__init__()
        self.features = features
        self.body = body

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The prediction [N, K]."""
        found: torch.Tensor = self.body(self.features(*tensors))
        return found


class Scale(torch.nn.Module):
    """(x - center) / spread over the last axis, clipped; fitted to rows [N, ..., C]."""

    def __init__(self, rows: NDArray[np.float32], clip: float = CLIP) -> None:
        super().__init__()
        flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)
        spread = np.where(spread > _TINY * (1 + np.abs(flat.mean(axis=0))), spread, 1.0)
        self.clip = clip
        self.register_buffer("center", torch.tensor(flat.mean(axis=0), dtype=torch.float32))
        self.register_buffer("gain", torch.tensor(1.0 / spread, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape, in spreads."""
        return torch.clamp((x - self.center) * self.gain, -self.clip, self.clip)


class WindowStatistics(torch.nn.Module):
    """Scaled windows [N, L, C] to [N, 7 C]: two EWMAs, mean, slope, deviation, least and largest.

    The linear ones are one matrix product; each has a plain meaning, so a pruned input can be
    read off the body's first layer.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(_linear(length), dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Statistics by channel, one after the other."""
        linear = torch.matmul(self.weights, x)  # [N, 4, C]
        mean = linear[:, 2:3]
        deviation = torch.sqrt(((x - mean) ** 2).mean(dim=1, keepdim=True) + _TINY)
        least = x.amin(dim=1, keepdim=True)
        largest = x.amax(dim=1, keepdim=True)
        return torch.cat([linear, deviation, least, largest], dim=1).flatten(1)


def _linear(length: int) -> NDArray[np.float64]:
    """Rows of weights [4, L], newest last: EWMA of two memories, mean, slope over the window."""
    age = np.arange(length - 1, -1, -1, dtype=np.float64)
    memories = [np.exp(-age / max(1.0, m * length / 30)) for m in _MEMORIES]
    ramp = np.linspace(-1.0, 1.0, length)
    slope = ramp / max(_TINY, float((ramp**2).sum()))
    return np.stack([*(m / m.sum() for m in memories), np.full(length, 1.0 / length), slope])


def fitted_features(x: NDArray[np.float32]) -> torch.nn.Module:
    """Scaling, window statistics, and scaling of these, fitted to windows [N, L, C]."""
    parts = torch.nn.Sequential(Scale(x), WindowStatistics(x.shape[1]))
    return torch.nn.Sequential(*parts, Scale(run(parts, x)))


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Sequential:
    """Linear and ReLU alternately; the last layer has no ReLU."""
    layers: list[torch.nn.Module] = []
    for width in hidden:
        layers += [torch.nn.Linear(inputs, width), torch.nn.ReLU()]
        inputs = width
    return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))


def run(
    module: torch.nn.Module, *arrays: NDArray[np.generic], batch: int = 1024
) -> NDArray[np.float32]:
    """The output of a module for arrays [N, ...], in batches and without gradients."""
    module.eval()
    found = []
    with torch.no_grad():
        for begin in range(0, len(arrays[0]), batch):
            part = [torch.from_numpy(a[begin : begin + batch].copy()) for a in arrays]
            found.append(module(*part).numpy())
    return np.concatenate(found).astype(np.float32)
