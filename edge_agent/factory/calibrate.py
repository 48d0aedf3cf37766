"""Calibration by held-out groups, and its graphs: thresholds, intervals, temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from scipy.stats import chi2

from edge_agent.factory.metrics import best_temperature, conformal_margin, softmax
from edge_agent.factory.recipe import Finished
from edge_agent.factory.student import run
from edge_agent.models import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Context, Samples
    from edge_agent.models import WindowSpec

    Finish = Callable[[torch.nn.Module, Samples, Context], Finished]

_CONFIDENCE: Final = 0.95
_DAY_S: Final = 86_400.0
_LEAST_FAULT: Final = 0.5
_GRID: Final = 200


class LifeGraph(torch.nn.Module):
    """Quantiles of a student [N, 3] in hours, widened by the margin from held-out units."""

    def __init__(
        self, student: torch.nn.Module, margin_h: float, cap_h: float, output: str
    ) -> None:
        super().__init__()
        self.student = student
        self.output = output
        self.margin_h = margin_h
        self.cap_h = cap_h

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rul [N, 3], never crossing, between 0 and the cap; the margin applies to both sides."""
        low, middle, high = torch.split(self.student(*tensors), 1, dim=1)
        low = torch.minimum(low, middle) - self.margin_h
        high = torch.maximum(high, middle) + self.margin_h
        life = torch.cat([torch.minimum(low, middle), middle, torch.maximum(high, middle)], dim=1)
        return {self.output: torch.clamp(life, 0.0, self.cap_h)}


class ClassGraph(torch.nn.Module):
    """Probabilities from a student's logits, by a temperature from held-out groups."""

    def __init__(self, student: torch.nn.Module, temperature: float, output: str) -> None:
        super().__init__()
        self.student = student
        self.temperature = temperature
        self.output = output

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Probabilities [N, K]."""
        return {self.output: torch.softmax(self.student(*tensors) / self.temperature, dim=1)}


def finish_life(*, cap_h: float, coverage: float = 0.8, output: str = "rul") -> Finish:
    """Split conformal margins for a student with outputs p10, p50, p90 in hours, like its target.

    cap_h: the longest life in training. Romano, Patterson, Candes: Conformalized Quantile
    Regression, NeurIPS 2019. Truths at the cap do not inform about the width and are omitted.
    """

    def finish(student: torch.nn.Module, valid: Samples, _: Context) -> Finished:
        below = valid.target[:, 0] < cap_h
        held_out = valid.select(below if below.any() else np.ones(len(valid), np.bool_))
        predicted = run(student, *held_out.inputs.values())
        truth = held_out.target[:, 0]
        low, high = (
            np.minimum(predicted[:, 0], predicted[:, 1]),
            np.maximum(predicted[:, 2], predicted[:, 1]),
        )
        margin = conformal_margin(np.maximum(low - truth, truth - high), coverage)
        changes = {
            "interval": Interval(coverage=coverage, cap_h=cap_h),
            "calibration": {
                "method": "split conformal on held-out units",
                "margin_h": f"{margin:.4g}",
                "held_out_units": str(len(np.unique(held_out.group))),
            },
        }
        return Finished(LifeGraph(student, margin, cap_h, output), changes)

    return finish


def finish_classes(
    window: WindowSpec, *, per_day: float = 0.1, output: str = "probabilities"
) -> Finish:
    """A temperature, and the probability of any fault that raises an alarm.

    The threshold is the least one, from 0.5 on, at which healthy held-out groups raise at most
    `per_day` alarms a day. Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks,
    ICML 2017.
    """

    def finish(student: torch.nn.Module, valid: Samples, _: Context) -> Finished:
        logits = run(student, *valid.inputs.values())
        temperature = best_temperature(logits, valid.target)
        fault = 1.0 - softmax(logits / temperature)[:, 0]
        healthy = ~valid.anomalous
        threshold, stated = alarm_threshold(
            fault[healthy],
            valid.group[healthy],
            np.linspace(_LEAST_FAULT, 1.0, _GRID, endpoint=False),
            seconds=float(healthy.sum()) * window.step_s * window.hop,
            per_day=per_day,
        )
        stated["temperature"] = f"{temperature:.3g}"
        changes = {"threshold": threshold, "false_alarms_per_day": per_day, "calibration": stated}
        return Finished(ClassGraph(student, temperature, output), changes)

    return finish


def alarm_threshold(
    predicted: NDArray[np.floating[Any]],
    group: NDArray[np.int64],
    candidates: NDArray[np.floating[Any]],
    *,
    seconds: float,
    per_day: float,
) -> tuple[float, dict[str, str]]:
    """The least threshold (ascending candidates) with few enough alarms, and its basis.

    told [n]: outputs of healthy held-out windows in order, group by group; neighbours over the
    threshold are one alarm. seconds: their total time.
    """
    days = seconds / _DAY_S
    counts = [_alarms(predicted > threshold, group) for threshold in candidates]
    fitting = [i for i, count in enumerate(counts) if count <= per_day * days]
    chosen = fitting[0] if fitting else len(candidates) - 1
    most = float(chi2.ppf(_CONFIDENCE, 2 * (counts[chosen] + 1)) / 2)
    return float(candidates[chosen]), {
        "method": "alarms of healthy held-out groups",
        "held_out_asset_days": f"{days:.4g}",
        "held_out_alarms": str(counts[chosen]),
        "at_most_per_asset_day": f"{most / max(days, 1e-9):.4g}",
    }


def _alarms(over: NDArray[np.bool_], group: NDArray[np.int64]) -> int:
    """The number of windows over the limit whose predecessor in the group is not."""
    before = np.r_[False, over[:-1] & (group[1:] == group[:-1])]
    return int((over & ~before).sum())
