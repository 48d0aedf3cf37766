"""Losses of students: against the teacher's answers, and against the truth if it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.factory.recipe import Batch

    Loss = Callable[[torch.Tensor, Batch], torch.Tensor]

LIFE_QUANTILES = (0.1, 0.5, 0.9)


def squares(hard_share: float = 0.3) -> Loss:
    """Regression, forecast or reconstruction: squared distance to the teacher and to the truth.

    The truth may have columns beyond those of the prediction, for `metrics` alone.
    """

    def loss(prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
        soft = ((prediction - batch.soft) ** 2).mean(dim=1)
        known = batch.hard[:, : prediction.shape[1]]
        hard = ((prediction - known) ** 2).mean(dim=1)
        return _blend(soft, hard, batch.real, hard_share)

    return loss


def quantiles(hard_share: float = 0.3, scale: float = 1.0) -> Loss:
    """Remaining life [B, 3] as p10, p50, p90; teacher and truth are [B, 1].

    The teacher teaches the middle, the truth all three by the pinball loss (Koenker, Bassett:
    Regression Quantiles, Econometrica 46, 1978). scale: the unit of the loss, in the target's unit.
    """
    levels = torch.tensor(LIFE_QUANTILES)

    def loss(prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
        soft = ((prediction[:, 1:2] - batch.soft[:, :1]) / scale).square().mean(dim=1)
        error = (batch.hard[:, :1] - prediction) / scale
        pinball = torch.maximum(levels * error, (levels - 1) * error).sum(dim=1)
        return _blend(soft, pinball, batch.real, hard_share)

    return loss


def soft_targets(hard_share: float = 0.3, temperature: float = 2.0) -> Loss:
    """Classes: prediction and teacher's answers are logits [B, K], the truth is one-hot [B, K].

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015.
    """

    def loss(prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
        wanted = functional.softmax(batch.soft / temperature, dim=1)
        predicted = functional.log_softmax(prediction / temperature, dim=1)
        soft = functional.kl_div(predicted, wanted, reduction="none").sum(dim=1) * temperature**2
        hard = -(batch.hard * functional.log_softmax(prediction, dim=1)).sum(dim=1)
        return _blend(soft, hard, batch.real, hard_share)

    return loss


def _blend(
    soft: torch.Tensor, hard: torch.Tensor, real: torch.Tensor, hard_share: float
) -> torch.Tensor:
    """The mean over a batch; if the truth is unknown, only the teacher counts."""
    share = hard_share * real
    return ((1 - share) * soft + share * hard).mean()
