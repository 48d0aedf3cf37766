"""`turbofan-life`: remaining life of turbofan engines, learned from C-MAPSS FD001 (NASA).

    edge-agent train turbofan-life --seeds 3

One cycle counts as one hour, because a bundle predicts hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.types import Name
from edge_agent.diagnostics import AdaptiveInterval
from edge_agent.factory.judge import outputs_of
from edge_agent.factory.recipe import Context, Recipe, Training
from edge_agent.factory.turbofan import student as teaching
from edge_agent.factory.turbofan.card import CARD, TRIED
from edge_agent.factory.turbofan.fd001 import (
    CAP,
    CYCLE,
    LEAST,
    LENGTH,
    SENSORS,
    WORN,
    read_test,
    splits,
)
from edge_agent.models import InputSpec, Interval, Manifest, OutputNames, Task, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.build import Made
    from edge_agent.factory.recipe import Arrays, Samples

    Floats = NDArray[np.float32]

_LATE: Final = 10.0
_EARLY: Final = 13.0


def recipe() -> Recipe:
    """The recipe of `turbofan-life`."""
    return Recipe(
        manifest=_manifest(),
        sources=("cmapss/*FD001.txt",),
        data=splits,
        teacher=teaching.teacher,
        as_outputs=lambda answers: {"rul": np.repeat(answers, 3, axis=1)},
        student=teaching.student,
        loss=teaching.loss,
        finish=teaching.finish,
        metrics=metrics,
        training=Training(
            epochs=30,
            batch=256,
            learning_rate=4e-3,
            weight_decay=1e-3,
            mix_up=0.0,
            prune=0.25,
            prune_epochs=10,
        ),
        keep_float=("student.features", "student.body.4"),
        activation_bits=16,
        card=CARD,
    )


def _manifest() -> Manifest:
    sensors = [InputSpec(name, unit) for name, (_, unit) in SENSORS.items()]
    return Manifest(
        name=Name("turbofan-life"),
        version=Name("1.1"),
        task=Task.REMAINING_LIFE,
        inputs=(*sensors, InputSpec(CYCLE, "cycles")),
        outputs=OutputNames(rul="rul"),
        window=WindowSpec(step_s=0, length=LENGTH, hop=1, least=LEAST),
        threshold=WORN,
        teacher={"model": "mean of 3 networks (128, 64) on synthetic engines"},
        distillation={
            "loss": "squares to teacher 0.7 and truth 0.3; pinball of the truth for p10 and p90",
            "queries": "a sixth of the rows of 1,400 synthetic engines",
        },
        training={
            "data": "C-MAPSS FD001 (NASA), training engines alone",
            "licence": "public domain",
        },
    )


def metrics(outputs: Arrays, samples: Samples) -> dict[str, float]:
    """Error with truth capped and uncapped, the interval's coverage and width; in cycles.

    adapted: the daemon's interval if every truth is known before the next row.
    """
    predicted = outputs["rul"]
    rul = predicted.astype(float)
    capped, left = samples.target.T.astype(float)
    found = {
        "rmse": _rmse(rul[:, 1], capped),
        "score": nasa_score(rul[:, 1], capped),
        "rmse_uncapped": _rmse(rul[:, 1], left),
        "score_uncapped": nasa_score(rul[:, 1], left),
    }
    if (rul[:, 0] == rul[:, 2]).all():  # a teacher predicts no interval
        return found
    for suffix, each in (("", predicted), ("_adapted", adapted(predicted, samples.target[:, 1]))):
        interval = _interval(each, samples)
        found[f"coverage{suffix}"] = interval["coverage_capped"]
        found[f"width{suffix}"] = interval["width"]
    return found


def _rmse(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(predicted - truth).mean()))


def nasa_score(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Saxena, Goebel, Simon, Eklund: Damage Propagation Modeling, PHM 2008, equation 11."""
    late = predicted - truth
    return float(np.sum(np.where(late < 0, np.exp(-late / _EARLY), np.exp(late / _LATE)) - 1))


def _covered(rul: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (rul[:, 0] <= truth) & (truth <= rul[:, 2])


def _widths(rul: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widths of the intervals, clipped to 0 and the cap."""
    return np.clip(rul[:, 2], 0.0, CAP) - np.clip(rul[:, 0], 0.0, CAP)


# -- for scripts/benchmark-models ---------------------------------------------------------------


def test_set(data: Path) -> dict[str, Any]:
    """The test set of the shipped files: the 100 test engines, truth uncapped."""
    found = read_test(data / "cmapss")
    return {
        "inputs": found.inputs,
        "truth": found.target[:, 1],
        "anomalous": found.anomalous,
        "hours_per_cycle": 1.0,
        "held_out": True,
        "what": "The last window of each test engine, which no seed has learned from.",
    }


def evaluate(seeds: Sequence[int], work: Path, data: Path) -> dict[str, Any]:
    """Train again with each seed; figures by row, a list with one value per seed."""
    from edge_agent.factory.build import Run  # noqa: PLC0415 (torch: only where something is trained)

    rows: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        context = Context(seed=seed, data=data, progress=_silent)
        made = Run(recipe(), context, work, lambda _: None).make()
        for name, figures in _rows(made).items():
            for key, value in figures.items():
                rows.setdefault(name, {}).setdefault(key, []).append(value)
    return {"rows": rows, "protocol": _PROTOCOL, "tried": list(TRIED)}


_PROTOCOL: Final = (
    "70 training engines teach, 30 calibrate, drawn anew for each seed; 100 test engines, last "
    "window. Adapted on line: test engines in the order of the file, truth told after each; "
    "constant: one half-width for all, by split conformal prediction on the same 30 engines. "
    "Widths are of what lies between 0 and 125 cycles."
)


def _rows(made: Made) -> dict[str, dict[str, float]]:
    test, found = made.splits.test, made.found
    rows = {"teacher": _errors(found["teacher"])}
    for graph, raw in made.graphs.items():
        judged = found["graphs"][graph]
        rul = outputs_of(raw, made.manifest, test.inputs)["rul"]
        rows[f"student {graph}"] = {
            **_errors(judged["figures"]),
            "rmse_worn": judged["figures_anomalous"]["rmse"],
            "parameters": found["parameters"],
            "bytes": judged["bytes"],
            "p50_ms_1": judged["p50_ms_batch_1"],
            "p50_ms_64": judged["p50_ms_batch_64"],
        }
        rows[f"student {graph}, interval as calibrated"] = _interval(rul, test)
        rows[f"student {graph}, interval adapted on line"] = _interval(
            adapted(rul, test.target[:, 1]), test
        )
        constant = float(made.manifest.calibration["constant_half_width_h"])
        fixed = rul[:, 1:2] + np.array([-constant, 0.0, constant], np.float32)
        rows[f"student {graph}, constant interval"] = _interval(fixed, test)
        rows[f"student {graph}, constant interval adapted on line"] = _interval(
            adapted(fixed, test.target[:, 1]), test
        )
    return rows


def adapted(rul: Floats, truth: Floats) -> Floats:
    """The daemon's predictions [N, 3] if each truth is known before the next row."""
    interval = AdaptiveInterval(Interval(coverage=teaching.COVERAGE, rate=teaching.RATE, cap_h=CAP))
    predicted = np.empty_like(rul)
    for row in range(len(rul)):
        predicted[row] = interval.adapt(rul[row : row + 1])[0]
        interval = interval.after(predicted[row], truth[row])
    return predicted


def _errors(figures: dict[str, float]) -> dict[str, float]:
    names = {
        "rmse": "rmse_capped",
        "score": "score_capped",
        "rmse_uncapped": "rmse",
        "score_uncapped": "score",
    }
    return {ours: figures[name] for name, ours in names.items()}


def _interval(rul: Floats, test: Samples) -> dict[str, float]:
    predicted = rul.astype(float)
    capped, left = test.target.T.astype(float)
    return {
        "coverage_capped": float(_covered(predicted, capped).mean()),
        "coverage": float(_covered(predicted, left).mean()),
        "width": float(_widths(predicted).mean()),
    }


def _silent(steps: Iterable[Any], _: str) -> Iterable[Any]:
    return steps
