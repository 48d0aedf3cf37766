"""The bearing model's graph: features, both experts as small layers, and the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from edge_agent.factory.bearing.features import PHYSICS, SHAPE, BearingFeatures
from edge_agent.factory.bearing.teacher import CEILING, MOST, NEVER, OWN, Known, gate_of, old_hand
from edge_agent.factory.student import Scale, mlp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.config.bearing import Orders
    from edge_agent.factory.bearing.teacher import Gate

_HIDDEN: Final = (64, 32)
_CLASSES: Final = 5
_TINY: Final = 1e-6
_SHARPNESS: Final = 10.0  # of the gate, at its limit: 1 / the teacher's width


class Seen(torch.nn.Module):
    """Speed, waveform and orders to features [N, PHYSICS + SHAPE], in spreads."""

    def __init__(self, orders: Orders, features: NDArray[np.float32]) -> None:
        super().__init__()
        self.spectra = BearingFeatures(orders)
        self.scale = Scale(features)

    def forward(
        self, x: torch.Tensor, waveform: torch.Tensor, orders: torch.Tensor
    ) -> torch.Tensor:
        """The input of the body."""
        scaled: torch.Tensor = self.scale(self.spectra(x, waveform, orders))
        return scaled


class Distance(torch.nn.Module):
    """Distance of a scaled shape [N, SHAPE] from the learned machine's: 1 at the limit, [N, 1]."""

    def __init__(self, gate: Gate, scale: Scale) -> None:
        super().__init__()
        spread = 1 / scale.gain.numpy()[PHYSICS:].astype(np.float64)
        center = scale.center.numpy()[PHYSICS:].astype(np.float64)
        root = gate.root / np.sqrt(SHAPE * gate.limit)
        weights, bias = spread[:, None] * root, (center - gate.center) @ root
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float32))

    def forward(self, shape: torch.Tensor) -> torch.Tensor:
        """The squared distance."""
        off = torch.matmul(shape, self.weights) + self.bias
        return (off * off).sum(dim=1, keepdim=True)


class Body(torch.nn.Module):
    """Scaled features to logarithms of probabilities [N, classes].

    `hand` starts as the regressions that teach it, `lines` starts untrained.
    """

    def __init__(self, known: Known, scale: Scale) -> None:
        super().__init__()
        self.distance = Distance(gate_of(known), scale)
        own = (0.5 - float(scale.center[OWN])) * float(scale.gain[OWN])
        self.register_buffer("own", torch.tensor(own))
        self.lines = mlp(OWN, _HIDDEN, _CLASSES)
        self.hand = torch.nn.Linear(PHYSICS + SHAPE, _CLASSES)
        map_ = old_hand(known.features, known.label)
        center = scale.center.numpy().astype(np.float64)
        spread = 1 / scale.gain.numpy().astype(np.float64)
        with torch.no_grad():
            self.hand.weight[:-1] = torch.tensor((spread[:, None] * map_.weights).T)
            self.hand.bias[:-1] = torch.tensor(map_.bias + center @ map_.weights)
            self.hand.weight[-1], self.hand.bias[-1] = 0.0, NEVER

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The old hand's logits for the learned machine, the physicist's for other machines."""
        distance = self.distance(features[:, PHYSICS:])
        own = (features[:, OWN:PHYSICS] > self.own).float()
        share = torch.sigmoid((1.0 - distance) * _SHARPNESS) * own
        hand: torch.Tensor = self.hand(features)
        lines: torch.Tensor = self.lines(features[:, :OWN])
        told = torch.softmax(share * hand + (1.0 - share) * lines, dim=1)
        healthy, parts, unknown = torch.split(told, [1, _CLASSES - 2, 1], dim=1)
        sure = CEILING + (MOST - CEILING) * (2.0 * share - 1.0).clamp(min=0.0)
        kept = torch.minimum(parts, sure)
        unknown = unknown + (parts - kept).sum(dim=1, keepdim=True)
        return torch.log(torch.cat([healthy, kept, unknown], dim=1).clamp(min=_TINY))
