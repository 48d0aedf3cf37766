"""Accuracy of the bearing model on damage and on machines that it has not seen.

In feature space: the teacher, student, distillation and pruning of the bundle, without
reading waveforms again for every fold.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from edge_agent.factory.bearing.bench import other_machines
from edge_agent.factory.bearing.data import (
    NONE,
    SIZES,
    at_random,
    one_hot,
    read_windows,
    without_load,
    without_size,
)
from edge_agent.factory.bearing.features import features_of
from edge_agent.factory.bearing.sim import (
    CLASSES,
    PARTS,
    UNKNOWN_ORDERS,
    Simulated,
    any_bearing,
    simulate,
)
from edge_agent.factory.bearing.student import Body
from edge_agent.factory.bearing.teacher import (
    NEVER,
    OWN,
    Known,
    clear_parts,
    regression,
    teacher_of,
)
from edge_agent.factory.distill import TrainingSet, train_student
from edge_agent.factory.losses import soft_targets
from edge_agent.factory.metrics import class_metrics, softmax
from edge_agent.factory.prune import parameters, shrink
from edge_agent.factory.student import Scale, Student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.bearing import Orders
    from edge_agent.factory.bearing.data import Windows
    from edge_agent.factory.bearing.teacher import Teacher
    from edge_agent.factory.recipe import Context, Training

    Floats = NDArray[np.float32]

LOUDNESS_DB: Final = (-18.0, 3.0)  # a simulated defect's power against all else
MACHINES: Final = 600  # simulated, of each class
_LOADS: Final = (0, 1, 2, 3)
# The folds of the goal: at 28 mils there is no outer race.
_COUNTED: Final = ("007", "014", "021")
STUDENT: Final = "student (fp32)"
_SURE: Final = 0.9  # from this probability on, a wrong part misleads
_STRANGE: Final = 3  # other geometries that each healthy window is heard with
_BENCH: Final = 100  # of each class
_BENCH_DB: Final = (-15.0, -10.0, -5.0, 0.0)


class Predictions(NamedTuple):
    """Probabilities [N, classes] and truth [N] of a fold."""

    fold: str
    probability: NDArray[np.floating]
    truth: NDArray[np.int64]


class Learned(NamedTuple):
    """A teacher and its pruned student."""

    teacher: Teacher
    student: Student
    scale: Scale

    def logits(self, features: Floats) -> Floats:
        """Of the student, [N, classes]."""
        with torch.no_grad():
            predicted = self.student.body(self.scale(torch.from_numpy(features)))
        return np.asarray(predicted.numpy(), np.float32)


class Material(NamedTuple):
    """Features of all recordings with their labels, and of simulated machines."""

    features: Floats
    windows: Windows
    made_up: Floats
    label: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Method:
    """The method of learning: how the student is taught, and the bearing's orders."""

    training: Training
    orders: Orders


def material_of(context: Context, method: Method) -> Material:
    """Read, simulate, and compute all features."""
    windows = read_windows(context.data)
    made = simulate(MACHINES, context.random("machines"), LOUDNESS_DB)
    own = own_orders(len(windows.rpm), method.orders)
    known = features_of(method.orders, windows.rpm, windows.waveforms, own)
    healthy = windows.select(without_size(windows, NONE)[0] & (windows.label == 0))
    others = strangely_mounted(healthy, context.random("geometries"))
    made_up = [_features(method.orders, each) for each in (made, others)]
    label = np.concatenate([made.label, others.label])
    return Material(known, windows, np.concatenate(made_up), label)


def _features(learned: Orders, made: Simulated) -> Floats:
    return features_of(learned, made.rpm, made.waveforms, made.orders)


def own_orders(count: int, orders: Orders) -> Floats:
    """The geometry of the learned machine for all its windows, [count, 4]."""
    return np.tile(np.array(orders, np.float32), (count, 1))


def strangely_mounted(healthy: Windows, random: np.random.Generator) -> Simulated:
    """Healthy windows, heard with no geometry, and with those of other bearings."""
    count = len(healthy.rpm)
    told = [UNKNOWN_ORDERS] * count
    told += [any_bearing(random) for _ in range((_STRANGE - 1) * count)]
    rpm, waves = np.tile(healthy.rpm, _STRANGE), np.tile(healthy.waveforms, (_STRANGE, 1))
    return Simulated(rpm, waves, np.array(told, np.float32), np.zeros(len(told), np.int64))


def learn(
    known: Known,
    made_up: Floats,
    label: NDArray[np.int64],
    context: Context,
    training: Training,
) -> Learned:
    """Teacher, distillation, pruning, all on features."""
    torch.manual_seed(int(context.random("student").integers(2**31)))
    teacher = teacher_of(known, made_up, label, context.seed)
    features = np.concatenate([known.features, made_up])
    scale = Scale(features)
    student = Student(torch.nn.Identity(), Body(known, scale))
    training_set = TrainingSet(
        scale(torch.from_numpy(features)),
        torch.from_numpy(one_hot(np.concatenate([known.label, label]))),
        torch.from_numpy(teacher.logits(features)),
        torch.ones(len(features)),
    )
    loss = soft_targets(0.0)
    few = training_set.select(torch.arange(0, len(features), 10))
    for purpose, epochs in (
        ("distillation", training.epochs),
        ("pruning", training.prune_epochs),
    ):
        if purpose == "pruning":
            shrink(student.body, training_set.features, training.prune)
        train_student(
            student,
            training_set,
            few,
            loss=loss,
            training=training,
            context=context,
            epochs=epochs,
            purpose=purpose,
        )
    student.eval()
    return Learned(teacher, student, scale)


def known_of(material: Material, mask: NDArray[np.bool_]) -> Known:
    """The training rows of the recordings."""
    windows = material.windows
    return Known(material.features[mask], windows.label[mask], windows.size[mask])


def figures_of(context: Context, method: Method) -> dict[str, dict[str, float]]:
    """Rows of figures of one seed: the student's, the teacher's, and the former method's."""
    material = material_of(context, method)
    folds = _folds(material.windows, context.random("leak"))
    predicted: dict[str, list[Predictions]] = {}
    for name, (learned, judged) in context.progress(list(folds.items()), "folds"):
        one = learn(
            known_of(material, learned), material.made_up, material.label, context, method.training
        )
        truth = material.windows.label[judged]
        features = material.features[judged]
        for who, logits in _answers(one, material, learned, features).items():
            predicted.setdefault(who, []).append(
                Predictions(name, np.asarray(softmax(logits)), truth)
            )
    found = {who: _row(parts) for who, parts in predicted.items()}
    whole = learn(
        known_of(material, np.ones(len(material.features), np.bool_)),
        material.made_up,
        material.label,
        context,
        method.training,
    )
    found[STUDENT] |= {"parameters": float(parameters(whole.student.body))}
    found[STUDENT] |= _elsewhere(whole, context, method.orders)
    return found


def _folds(
    windows: Windows, random: np.random.Generator
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    folds = {f"{size:03}": without_size(windows, size) for size in SIZES}
    folds |= {f"load{load}": without_load(windows, load) for load in _LOADS}
    return folds | {"random": at_random(windows, random)}


def _answers(
    one: Learned, material: Material, learned: NDArray[np.bool_], features: Floats
) -> dict[str, Floats]:
    """Logits of all judged models."""
    linear = regression(material.features[learned], material.windows.label[learned], (), 0)
    physicist = clear_parts(one.teacher.physicist.predict_proba(features[:, :OWN]))
    return {
        STUDENT: one.logits(features),
        "its teacher": one.teacher.logits(features),
        "linear classifier on the spectrum above 2 kHz alone": np.pad(
            linear(features), ((0, 0), (0, 1)), constant_values=NEVER
        ),
        "forest on defect lines of simulated bearings alone": np.log(np.maximum(physicist, 1e-3)),
    }


def _row(parts: Sequence[Predictions]) -> dict[str, float]:
    """Accuracy by fold, and over the folds of size together."""
    found = {f"accuracy_{part.fold}": _accuracy(part) for part in parts if "load" not in part.fold}
    loads = [_accuracy(part) for part in parts if "load" in part.fold]
    found |= {"accuracy_load": statistics.fmean(loads), "accuracy_load_least": min(loads)}
    counted = [part for part in parts if part.fold in _COUNTED]
    probability = np.concatenate([part.probability for part in counted])
    truth = np.concatenate([part.truth for part in counted])
    pooled = class_metrics(probability, one_hot(truth))
    found |= {f"sizes_{name}": value for name, value in pooled.items()}
    fault = probability.argmax(axis=1) > 0
    found["sizes_found_share"] = float(fault[truth > 0].mean())
    found["sizes_false_alarm_share"] = float(fault[truth == 0].mean())
    for part in counted:
        predicted = part.probability.argmax(axis=1)
        for label in np.unique(part.truth):
            hit = predicted[part.truth == label] == label
            found[f"recall_{part.fold}_{CLASSES[label]}"] = float(hit.mean())
    return found


def _accuracy(part: Predictions) -> float:
    return float((part.probability.argmax(axis=1) == part.truth).mean())


def _elsewhere(one: Learned, context: Context, orders: Orders) -> dict[str, float]:
    """Accuracy on machines of the other simulator, by the loudness of the defect.

    other_machines: with the learned machine's bearing; foreign: with any, some not configured.
    """
    found: dict[str, float] = {}
    for where, own in (("other_machines", orders), ("foreign", None)):
        for loudness_db in _BENCH_DB:
            random = context.random(f"bench {loudness_db}")
            bench = other_machines(_BENCH, loudness_db, random, own)
            told = np.asarray(softmax(one.logits(_features(orders, bench))))
            at = f"{where}_{loudness_db:+.0f}dB"
            found |= {f"{at}_{key}": v for key, v in _bench_figures(told, bench.label).items()}
    return found


def _bench_figures(told: NDArray[np.floating], truth: NDArray[np.int64]) -> dict[str, float]:
    best, fault, part = told.argmax(axis=1), truth > 0, _is_part(truth)
    return {
        "class": float((best == truth)[part].mean()),
        "found": float((best > 0)[fault].mean()),
        "false": float((best > 0)[~fault].mean()),
        **named_figures(told, truth),
    }


def named_figures(told: NDArray[np.floating], truth: NDArray[np.int64]) -> dict[str, float]:
    """Shares of damaged machines whose part was named wrongly: at all, and with a probability."""
    best, most = told.argmax(axis=1), told.max(axis=1)
    wrong = _is_part(best) & (best != truth) & (truth > 0)
    damaged = max(1, int((truth > 0).sum()))
    return {
        "wrong_part_share": float(wrong.sum() / damaged),
        "wrong_part_surely": float((wrong & (most >= _SURE)).sum() / damaged),
        "wrong_part_most": float(most[wrong].max(initial=0.0)),
    }


def _is_part(label: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (label >= 1) & (label <= len(PARTS))
