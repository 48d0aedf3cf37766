"""All stages of one model, from recordings to bundle."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from edge_agent.factory.distill import TrainingSet, train_student, training_set_of
from edge_agent.factory.export import CALIBRATION_ROWS, PRESETS, export_graph, quantize
from edge_agent.factory.judge import judged
from edge_agent.factory.prune import Cut, apply_cut, parameters, shrink
from edge_agent.factory.recipe import Samples, Splits
from edge_agent.factory.split import mix_up, refuse_shared_groups
from edge_agent.factory.stages import (
    Workshop,
    code_of,
    read_arrays,
    read_json,
    source_digests,
    write_arrays,
    write_json,
)
from edge_agent.models import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Arrays, Context, Recipe
    from edge_agent.models import Manifest

_PARTS: Final = ("train", "valid", "test")
_TRUTH: Final = ("target", "group", "anomalous")


@dataclass(frozen=True, slots=True)
class Made:
    """The result of one seed. found: all figures of `judge`, as JSON; graphs: ONNX by variant."""

    manifest: Manifest
    graphs: dict[str, bytes]
    found: dict[str, Any]
    splits: Splits
    curves: dict[str, dict[str, list[float]]]


class Run:
    """One seed of a recipe: its stages in order, each kept in the work folder."""

    def __init__(
        self, recipe: Recipe, context: Context, work: Path, report: Callable[[str], None]
    ) -> None:
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        self._recipe = recipe
        self._context = context
        identity = {
            "name": recipe.manifest.name,
            "manifest": asdict(recipe.manifest),
            "settings": dict(recipe.settings),
            "seed": context.seed,
            "sources": source_digests(context.data, recipe.sources),
            "code": code_of(_functions(recipe)),
        }
        self._shop = Workshop(work / recipe.manifest.name, identity, report)

    def make(self) -> Made:
        """Run all stages up to `judge`."""
        splits = self._data()
        answers = self._teacher(splits)
        distilled = self._distill(splits, answers)
        pruned = self._prune(splits, answers, distilled)
        exported = self._export(splits, pruned)
        quantized = self._quantize(splits, exported)
        found = self._judge(splits, answers, (distilled, pruned, exported, quantized))
        graphs = {"fp32": (exported / "model.onnx").read_bytes()}
        graphs |= _variants(quantized)
        changes = read_json(exported / "changes.json")
        curves = {
            "distillation": read_json(distilled / "curve.json"),
            "pruning": read_json(pruned / "curve.json"),
        }
        return Made(_changed(self._recipe.manifest, changes), graphs, found, splits, curves)

    # -- stages -------------------------------------------------------------------------------

    def _data(self) -> Splits:
        def make(folder: Path) -> None:
            splits = self._recipe.data(self._context)
            refuse_shared_groups(splits)
            write_arrays(folder / "splits.npz", _flattened(splits))

        folder = self._shop.stage("data", make, code=("split.py",))
        return _unflattened(read_arrays(folder / "splits.npz"))

    def _teacher(self, splits: Splits) -> dict[str, NDArray[np.float32]]:
        def make(folder: Path) -> None:
            answer = self._recipe.teacher(splits, self._context)
            asked = {part: getattr(splits, part).inputs for part in _PARTS}
            if self._recipe.training.mix_up > 0:
                asked["queries"] = self._queries(splits)
            answers = {part: np.asarray(answer(i), np.float32) for part, i in asked.items()}
            write_arrays(folder / "answers.npz", answers)

        inputs = {"mix_up": self._recipe.training.mix_up}
        folder = self._shop.stage("teacher", make, inputs=inputs)
        return read_arrays(folder / "answers.npz")

    def _distill(self, splits: Splits, answers: Arrays) -> Path:
        def make(folder: Path) -> None:
            student = self._new_student(splits)
            self._train_student(student, splits, answers, "distillation", folder)

        training = asdict(self._recipe.training)
        inputs = {key: value for key, value in training.items() if not key.startswith("prune")}
        code = ("distill.py", "losses.py", "student.py")
        return self._shop.stage("distill", make, code=code, inputs=inputs)

    def _prune(self, splits: Splits, answers: Arrays, distilled: Path) -> Path:
        training = self._recipe.training

        def make(folder: Path) -> None:
            student = self._new_student(splits)
            student.body.load_state_dict(torch.load(distilled / "body.pt"))
            training_set = training_set_of(student, splits.train, answers["train"])
            cuts = shrink(student.body, training_set.features, training.prune)
            write_json(folder / "cuts.json", [list(cut) for cut in cuts])
            self._train_student(student, splits, answers, "pruning", folder)

        inputs = {"prune": training.prune, "epochs": training.prune_epochs}
        return self._shop.stage("prune", make, code=("prune.py",), inputs=inputs)

    def _export(self, splits: Splits, pruned: Path) -> Path:
        def make(folder: Path) -> None:
            student = self._new_student(splits)
            for cut in read_json(pruned / "cuts.json"):
                apply_cut(student.body, Cut(*cut))
            student.body.load_state_dict(torch.load(pruned / "body.pt"))
            student.eval()
            finished = self._recipe.finish(student, splits.valid, self._context)
            write_json(folder / "changes.json", _plain(finished.changes))
            manifest = _changed(self._recipe.manifest, _plain(finished.changes))
            export_graph(finished.module, manifest, folder / "model.onnx")

        return self._shop.stage("export", make, code=("export.py", "metrics.py"))

    def _quantize(self, splits: Splits, exported: Path) -> Path:
        recipe = self._recipe

        def make(folder: Path) -> None:
            rows = splits.train.select(self._calibration_rows(splits.train))
            model = exported / "model.onnx"
            written: dict[bytes, str] = {}
            same: list[str] = []
            with tempfile.TemporaryDirectory() as scratch:
                graphs = quantize(
                    model,
                    recipe.manifest,
                    rows,
                    recipe.keep_float,
                    Path(scratch),
                    activation_bits=recipe.activation_bits,
                )
                for preset, raw in self._context.progress(list(graphs), "quantize"):
                    if raw in written:
                        same.append(f"{preset} gives the same file as {written[raw]}.")
                        continue
                    written[raw] = preset
                    (folder / f"{PRESETS[preset]}.onnx").write_bytes(raw)
            write_json(folder / "same.json", same)

        inputs = {
            "keep_float": recipe.keep_float,
            "activation_bits": recipe.activation_bits,
            "rows": CALIBRATION_ROWS,
        }
        return self._shop.stage("quantize", make, inputs=inputs)

    def _judge(
        self, splits: Splits, answers: Arrays, done: tuple[Path, Path, Path, Path]
    ) -> dict[str, Any]:
        distilled, pruned, exported, quantized = done

        def make(folder: Path) -> None:
            graphs = {"fp32": (exported / "model.onnx").read_bytes()}
            graphs |= _variants(quantized)
            predicted = self._recipe.as_outputs(answers["test"])
            found = {
                "seed": self._context.seed,
                "split": {part: _counted(getattr(splits, part)) for part in _PARTS},
                "teacher": self._recipe.metrics(predicted, splits.test),
                "parameters_before": read_json(distilled / "size.json"),
                "parameters": read_json(pruned / "size.json"),
                "graphs": judged(graphs, self._recipe, splits.test),
                "same_file": read_json(quantized / "same.json"),
            }
            write_json(folder / "found.json", found)

        folder = self._shop.stage("judge", make, code=("judge.py", "metrics.py"))
        found: dict[str, Any] = read_json(folder / "found.json")
        return found

    # -- parts of stages ----------------------------------------------------------------------

    def _queries(self, splits: Splits) -> dict[str, NDArray[np.float32]]:
        count = round(self._recipe.training.mix_up * len(splits.train))
        return mix_up(splits.train.inputs, count, self._context.random("mix-up"))

    def _new_student(self, splits: Splits) -> torch.nn.Module:
        torch.manual_seed(int(self._context.random("student").integers(2**31)))
        return self._recipe.student(splits, self._context)

    def _train_student(
        self,
        student: torch.nn.Module,
        splits: Splits,
        answers: Arrays,
        purpose: str,
        folder: Path,
    ) -> None:
        """Teach a student and keep its body, its size and the curve."""
        training = self._recipe.training
        queries = self._queries(splits) if "queries" in answers else None
        training_set = training_set_of(
            student, splits.train, answers["train"], queries, answers.get("queries")
        )
        held_out: TrainingSet = training_set_of(student, splits.valid, answers["valid"])
        epochs = training.epochs if purpose == "distillation" else training.prune_epochs
        curve = train_student(
            student,
            training_set,
            held_out,
            loss=self._recipe.loss,
            training=training,
            context=self._context,
            epochs=epochs,
            purpose=purpose,
        )
        write_json(folder / "curve.json", curve)
        write_json(folder / "size.json", parameters(student.body))
        torch.save(student.body.state_dict(), folder / "body.pt")

    def _calibration_rows(self, train: Samples) -> NDArray[np.int64]:
        """Rows for calibration: half of them anomalous, if there are enough."""
        random = self._context.random("calibration")
        kinds = [np.flatnonzero(mask) for mask in (train.anomalous, ~train.anomalous)]
        half = CALIBRATION_ROWS // 2
        picked = [random.permutation(rows)[:half] for rows in kinds]
        return np.sort(np.concatenate(picked))


def _variants(quantized: Path) -> dict[str, bytes]:
    files = {variant: quantized / f"{variant}.onnx" for variant in PRESETS.values()}
    return {variant: file.read_bytes() for variant, file in files.items() if file.exists()}


def _functions(recipe: Recipe) -> list[Callable[..., Any]]:
    found = (getattr(recipe, field.name) for field in fields(recipe))
    return [value for value in found if callable(value)]


def _changed(manifest: Manifest, changes: Mapping[str, Any]) -> Manifest:
    """The manifest with the fields that calibration sets."""
    found = dict(changes)
    if found.get("interval") is not None:
        found["interval"] = Interval(**found["interval"])
    found["calibration"] = {**manifest.calibration, **found.get("calibration", {})}
    return replace(manifest, **found)


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes as plain JSON values."""
    return {
        key: asdict(value) if isinstance(value, Interval) else value
        for key, value in changes.items()
    }


def _flattened(splits: Splits) -> dict[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    for part in _PARTS:
        samples: Samples = getattr(splits, part)
        found |= {f"{part}.input.{name}": array for name, array in samples.inputs.items()}
        found |= {f"{part}.{name}": getattr(samples, name) for name in _TRUTH}
    return found


def _unflattened(arrays: Mapping[str, NDArray[Any]]) -> Splits:
    parts = []
    for part in _PARTS:
        begin = f"{part}.input."
        inputs = {k.removeprefix(begin): v for k, v in arrays.items() if k.startswith(begin)}
        parts.append(Samples(inputs, *(arrays[f"{part}.{name}"] for name in _TRUTH)))
    return Splits(*parts)


def _counted(samples: Samples) -> str:
    groups = len(np.unique(samples.group))
    return f"{len(samples)} windows, {int(samples.anomalous.sum())} anomalous, {groups} groups"
