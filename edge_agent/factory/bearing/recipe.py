"""bearing-fault: which part of a rolling bearing is damaged, from a waveform and the speed.

edge-agent train bearing-fault --seeds 3
scripts/benchmark-models --only bearing      # or evaluate(): with sizes and loads left out
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.bearing import Bearing, Orders
from edge_agent.config.schema import Kind, Resample
from edge_agent.config.types import Name
from edge_agent.factory.bearing.bench import other_machines
from edge_agent.factory.bearing.card import CARD, FIGURES, PROTOCOL, TRIED
from edge_agent.factory.bearing.data import NONE, PATTERN, one_hot, read_windows, without_size
from edge_agent.factory.bearing.features import LENGTH, RATE_HZ, features_of
from edge_agent.factory.bearing.judge import (
    LOUDNESS_DB,
    MACHINES,
    Method,
    figures_of,
    named_figures,
    own_orders,
    strangely_mounted,
)
from edge_agent.factory.bearing.sim import CLASSES, simulate
from edge_agent.factory.bearing.student import Body, Seen
from edge_agent.factory.bearing.teacher import Known, teacher_of
from edge_agent.factory.calibrate import ClassGraph, alarm_threshold
from edge_agent.factory.losses import soft_targets
from edge_agent.factory.metrics import class_metrics, softmax
from edge_agent.factory.recipe import Context, Finished, Recipe, Samples, Splits, Training
from edge_agent.factory.stages import Workshop, code_of, read_json, source_digests, write_json
from edge_agent.factory.student import Student, run
from edge_agent.models import InputSpec, Manifest, OutputNames, Task, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from edge_agent.factory.bearing.sim import Simulated
    from edge_agent.factory.recipe import Answer, Arrays

    Floats = NDArray[np.float32]

NAME: Final = "bearing-fault"
WAVEFORM: Final = "acceleration"
SPEED: Final = "x"
GEOMETRY: Final = "bearing"
ORDERS: Final = Bearing(model="6205").orders
TRAINING: Final = Training(
    epochs=60, batch=128, learning_rate=2e-3, mix_up=0.0, prune=0.3, prune_epochs=30
)
METHOD: Final = Method(TRAINING, ORDERS)
WINDOW: Final = WindowSpec(step_s=1.4, length=1, hop=1)
_FALSE_SHARE: Final = 0.02  # of healthy held-out machines, whose first window is over
_DAY_S: Final = 86_400.0
_LEAST_FAULT: Final = 0.5
_THRESHOLDS: Final = 200
_VALID_MACHINES: Final = 120  # of each class
_TEST_MACHINES: Final = 25  # of each class and loudness
_TEST_DB: Final = (-15.0, -10.0, -5.0, 0.0)
# Groups: size * _BY_SIZE + recording; from _MADE_UP on simulated machines, one by one.
_BY_SIZE: Final = 1000
_SECOND_HALF: Final = 900
_MADE_UP: Final = 100_000


def recipe() -> Recipe:
    """How the bundle is made."""
    return Recipe(
        manifest=_manifest(),
        sources=(PATTERN,),
        data=_data,
        teacher=_teacher,
        as_outputs=lambda logits: {"probabilities": np.asarray(softmax(logits), np.float32)},
        student=_student,
        loss=soft_targets(0.0),
        finish=_finish,
        metrics=_metrics,
        training=TRAINING,
        keep_float=("student.features", "student.body.distance", "student.body.hand"),
        settings={"code": _code(), "orders": ORDERS._asdict()},
        card=CARD,
    )


def _manifest() -> Manifest:
    return Manifest(
        name=Name(NAME),
        version=Name("1.0"),
        task=Task.CLASSIFICATION,
        inputs=(
            InputSpec("speed", "1/min", valid=(600.0, 3600.0), resample=Resample.MEAN),
            InputSpec(WAVEFORM, "g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, length=LENGTH),
        ),
        outputs=OutputNames(probabilities="probabilities"),
        constants={GEOMETRY: len(Orders._fields)},
        window=WINDOW,
        classes=CLASSES,
        teacher={"model": "nine averaged regressions, a forest on simulated bearings, a gate"},
        benchmarks=FIGURES,
        training={
            "data": "Case Western Reserve University bearing data (drive end, 12 kHz); simulation",
            "licence": "none stated for the recordings",
        },
    )


# -- stages -----------------------------------------------------------------------------------


def _data(context: Context) -> Splits:
    """train: recordings; valid: the second half of the healthy one, and simulated machines.

    test: machines of another simulator, so that no recording is copied into the golden vectors.
    """
    windows = read_windows(context.data)
    learned, later = without_size(windows, NONE)
    group = windows.size * _BY_SIZE + windows.recording
    taught = simulate(MACHINES, context.random("machines"), LOUDNESS_DB)
    held_out = simulate(_VALID_MACHINES, context.random("held out"), LOUDNESS_DB)
    own = own_orders(len(windows.rpm), ORDERS)
    train = _samples(windows.rpm, windows.waveforms, own, windows.label, group).select(learned)
    valid = _samples(windows.rpm, windows.waveforms, own, windows.label, group + _SECOND_HALF)
    healthy = windows.select(learned & (windows.label == 0))
    others = strangely_mounted(healthy, context.random("geometries"))
    return Splits(
        _joined(train, _machines(taught, _MADE_UP), _machines(others, 20 * _MADE_UP)),
        _joined(valid.select(later), _machines(held_out, 2 * _MADE_UP)),
        _bench(context),
    )


def _bench(context: Context) -> Samples:
    found = [
        _machines(
            other_machines(_TEST_MACHINES, db, context.random(f"test {db}")),
            (3 + number) * _MADE_UP,
        )
        for number, db in enumerate(_TEST_DB)
    ]
    return _joined(*found)


def _machines(made: Simulated, first: int) -> Samples:
    group = first + np.arange(len(made.label))
    return _samples(made.rpm, made.waveforms, made.orders, made.label, group)


def _samples(
    rpm: Floats,
    waveforms: Floats,
    orders: Floats,
    label: NDArray[np.int64],
    group: NDArray[np.int64],
) -> Samples:
    speed = rpm.astype(np.float32)[:, None, None]
    inputs = {SPEED: speed, WAVEFORM: waveforms, GEOMETRY: orders}
    return Samples(inputs, one_hot(label), group, label > 0)


def _joined(*parts: Samples) -> Samples:
    return Samples(
        {name: np.concatenate([one.inputs[name] for one in parts]) for name in parts[0].inputs},
        np.concatenate([one.target for one in parts]),
        np.concatenate([one.group for one in parts]),
        np.concatenate([one.anomalous for one in parts]),
    )


def _known(samples: Samples, features: Floats) -> tuple[Known, NDArray[np.bool_]]:
    """The rows of recordings, and their mask."""
    real = samples.group < _MADE_UP
    label = samples.target[real].argmax(axis=1)
    return Known(features[real], label, samples.group[real] // _BY_SIZE), real


def _spectra(inputs: Arrays) -> Floats:
    return features_of(ORDERS, inputs[SPEED][:, 0, 0], inputs[WAVEFORM], inputs[GEOMETRY])


def _teacher(splits: Splits, context: Context) -> Answer:
    features = _spectra(splits.train.inputs)
    known, real = _known(splits.train, features)
    label = splits.train.target[~real].argmax(axis=1)
    teacher = teacher_of(known, features[~real], label, context.seed)
    return lambda inputs: teacher.logits(_spectra(inputs))


def _student(splits: Splits, _: Context) -> Student:
    features = _spectra(splits.train.inputs)
    seen = Seen(ORDERS, features)
    return Student(seen, Body(_known(splits.train, features)[0], seen.scale))


def _finish(student: torch.nn.Module, valid: Samples, _: Context) -> Finished:
    """Set the threshold; the teacher calibrates probabilities by sizes that were left out."""
    predicted = softmax(run(student, *valid.inputs.values(), batch=64))
    healthy = ~valid.anomalous
    seconds = float(healthy.sum()) * LENGTH / RATE_HZ
    machines = len(np.unique(valid.group[healthy]))
    threshold, stated = alarm_threshold(
        1.0 - predicted[healthy, 0],
        valid.group[healthy],
        np.linspace(_LEAST_FAULT, 1.0, _THRESHOLDS, endpoint=False),
        seconds=seconds,
        per_day=_FALSE_SHARE * machines / seconds * _DAY_S,
    )
    # No rate a day: that would rest on minutes, and machines differ more than their days.
    stated["false_alarm_share_of_machines"] = f"{_FALSE_SHARE:g}"
    changes = {"threshold": threshold, "calibration": stated}
    return Finished(ClassGraph(student, 1.0, "probabilities"), changes)


def _metrics(outputs: Arrays, samples: Samples) -> dict[str, float]:
    found = class_metrics(outputs["probabilities"], samples.target)
    predicted, truth = outputs["probabilities"].argmax(axis=1), samples.target.argmax(axis=1)
    if (truth == 0).any():
        found["false_alarm_share"] = float((predicted[truth == 0] > 0).mean())
    if (truth > 0).any():
        found["found_share"] = float((predicted[truth > 0] > 0).mean())
        found |= named_figures(outputs["probabilities"], truth)
    return found


# -- for scripts/benchmark-models ---------------------------------------------------------------


def evaluate(seeds: Sequence[int], work: Path, data: Path) -> dict[str, Any]:
    """Rows of figures with sizes and loads left out, each by seed; kept in the work folder."""
    by_seed = [_figures(seed, work, data) for seed in seeds]
    return {
        "rows": {
            name: {key: [one[name][key] for one in by_seed] for key in by_seed[0][name]}
            for name in by_seed[0]
        },
        "protocol": PROTOCOL,
        "tried": list(TRIED),
    }


def _figures(seed: int, work: Path, data: Path) -> dict[str, dict[str, float]]:
    identity = {
        "seed": seed,
        "code": _code(),
        "sources": source_digests(data, (PATTERN,)),
        "training": asdict(TRAINING),
        "orders": ORDERS._asdict(),
    }

    def make(folder: Path) -> None:
        context = Context(seed=seed, data=data, progress=lambda steps, _: steps)
        write_json(folder / "figures.json", figures_of(context, METHOD))

    shop = Workshop(work / f"{NAME}-evaluated", identity, lambda _: None)
    found: dict[str, dict[str, float]] = read_json(
        shop.stage("figures", make, code=("distill.py", "prune.py", "student.py")) / "figures.json"
    )
    return found


def test_set(data: Path) -> dict[str, Any]:
    """All recordings. The shipped weights were trained on them: use for parity, not accuracy."""
    source_digests(data, (PATTERN,))
    windows = read_windows(data)
    inputs = {
        SPEED: windows.rpm[:, None, None],
        WAVEFORM: windows.waveforms,
        GEOMETRY: own_orders(len(windows.rpm), ORDERS),
    }
    return {
        "inputs": inputs,
        "truth": windows.label,
        "anomalous": windows.label > 0,
        "held_out": False,
        "what": "All recordings, which the shipped weights have seen.",
    }


def _code() -> dict[str, str]:
    """Digests of the other files of this model."""
    return code_of(
        [
            figures_of,
            other_machines,
            read_windows,
            features_of,
            simulate,
            Body,
            teacher_of,
        ]
    )
