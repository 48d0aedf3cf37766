"""All stages of a classifier of pictures, from a recipe's folders to a verified bundle."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import UsageError
from edge_agent.factory.metrics import softmax
from edge_agent.factory.pictures.classifier import classifier_graph, quantized
from edge_agent.factory.pictures.features import VIEWS, PictureReader, features_of, run
from edge_agent.factory.pictures.figures import Figures, figures_of
from edge_agent.factory.pictures.folders import list_pictures
from edge_agent.factory.pictures.head import Settings
from edge_agent.factory.pictures.parts import drawn_test, fold_of
from edge_agent.factory.pictures.training import Examples, all_views, teach
from edge_agent.factory.stages import Workshop, code_of, read_arrays, write_arrays
from edge_agent.learning.pictures import backbone
from edge_agent.models import open_session
from edge_agent.signals import look_at, reference_look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.factory.pictures.folders import ClassifierRecipe, Labelled
    from edge_agent.factory.pictures.training import Taught
    from edge_agent.learning.pictures.backbone import Block
    from edge_agent.signals import Look

    Progress = Callable[[Iterable[Any], str], Iterable[Any]]
    Blocks = Sequence[Block]

INT8: Final = "int8"
_CALIBRATION: Final = 64  # pictures, for int8
_LOOKS: Final = 200  # good pictures
_GOLDEN: Final = 6  # pictures, good and defective ones each
_FEATURES: Final = "features.npz"
_HELD_FOLDS: Final = 8  # one of them is for the limits, where the backbone is trained, too


@dataclass(frozen=True, slots=True)
class Made:
    """The result of one seed. graphs: ONNX by variant; figures: by graph, and `teacher`.

    test: places of the pictures of the test part; answers: the probabilities [n, K] of these, by
    graph. off: the mean difference of int8's probabilities; golden: places of the golden pictures.
    """

    seed: int
    classes: tuple[str, ...]
    taught: Taught
    graphs: dict[str, bytes]
    figures: dict[str, Figures]
    answers: dict[str, NDArray[np.float32]]
    test: NDArray[np.int64]
    off: float
    parts: dict[str, int]
    golden: tuple[int, ...]


class Classifier:
    """The training of a recipe; its features are kept in the work folder."""

    def __init__(
        self, spec: ClassifierRecipe, folder: Path, work: Path, report: Callable[[str], None]
    ) -> None:
        self._spec = spec
        self._report = report
        self.pictures = list_pictures(spec, folder)
        others = {one.label for one in self.pictures} - {spec.healthy}
        self.classes = (spec.healthy, *sorted(others))
        self.truth = np.array([self.classes.index(one.label) for one in self.pictures])
        self._reader = PictureReader(spec.view, folder, spec.size)
        self._work = work / spec.name
        self._identity = {
            "view": asdict(spec.view),
            "size": spec.size,
            "symmetry": spec.symmetry,
            "pictures": sha256(_files_digest(self.pictures)).hexdigest(),
            "code": code_of([features_of, backbone.backbone_part]),
        }
        self._frozen: NDArray[np.float32] | None = None

    def features(self, progress: Progress) -> NDArray[np.float32]:
        """[N, V, D] of all pictures by the packaged backbone, or those of an earlier run."""

        def make(folder: Path) -> None:
            write_arrays(folder / _FEATURES, {"features": self._features(progress, None)})

        if self._frozen is None:
            shop = Workshop(self._work, self._identity, self._report)
            found = read_arrays(shop.stage("features", make) / _FEATURES)
            self._frozen = np.asarray(found["features"], np.float32)
        return self._frozen

    def _features(self, progress: Progress, blocks: Blocks | None) -> NDArray[np.float32]:
        files = [one.file for one in self.pictures]
        found = features_of(self._reader, files, self._spec.size, self._spec.symmetry, blocks)
        return np.stack([next(found) for _ in progress(range(len(files)), "features")])

    def make(self, seed: int, progress: Progress) -> Made:
        """Split, teach, export, quantize and judge with one seed."""
        spec = self._spec
        random = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
        test = drawn_test(self.pictures, spec.test, random)
        train, held, blocks = ~test, None, None
        if spec.fine_tune:
            held = train & (fold_of(self.pictures, _HELD_FOLDS, random) == 0)
            train &= ~held
            blocks = self._fine_tuned(train, seed, progress)
        features = self._features(progress, blocks) if blocks else self.features(progress)
        everything = Examples(features, self.truth, self.pictures)
        examples, judged = everything.rows(train), everything.rows(test)
        self._refuse_missing_classes(examples, judged)
        self._report(f"training: {len(examples.truth)} pictures")
        taught = teach(
            examples,
            len(self.classes),
            Settings(),
            random,
            progress,
            held=None if held is None else everything.rows(held),
            false_alarms=spec.false_alarms,
            sure=spec.sure,
        )
        raw = classifier_graph(taught.student, spec.size, blocks)
        self._report("int8")
        graphs = {"fp32": raw, INT8: quantized(raw, self._some(train))}
        self._report(f"judging: {len(judged.truth)} pictures")
        return self._judged(seed, taught, graphs, judged, np.flatnonzero(test))

    def _fine_tuned(self, train: NDArray[np.bool_], seed: int, progress: Progress) -> Blocks:
        """The backbone, trained on with some of the pictures."""
        from edge_agent.factory.pictures.fine_tune import fine_tuned  # noqa: PLC0415 (needs torch)

        places = np.flatnonzero(train)
        self._report(f"fine-tuning: {len(places)} pictures")
        return fine_tuned(
            backbone.backbone_blocks(),
            self.read(places.tolist()),
            np.eye(len(self.classes), dtype=np.float32)[self.truth[places]],
            np.array([self.pictures[place].weight for place in places.tolist()], np.float32),
            views=VIEWS[self._spec.symmetry],
            epochs=self._spec.fine_tune,
            seed=seed,
            progress=progress,
        )

    def _judged(
        self,
        seed: int,
        taught: Taught,
        graphs: dict[str, bytes],
        judged: Examples,
        places: NDArray[np.int64],
    ) -> Made:
        answers = {name: self.answers(raw, places) for name, raw in graphs.items()}
        cooled = taught.teacher.cooled(taught.limits.temperature)
        answers["teacher"] = np.asarray(softmax(all_views(cooled, judged.features)), np.float32)
        figures = {
            name: figures_of(found, judged.truth, taught.limits) for name, found in answers.items()
        }
        off = float(np.abs(answers[INT8] - answers["fp32"]).mean())
        fault = 1.0 - answers["fp32"][:, 0]
        kinds = (np.flatnonzero(judged.truth == 0), np.flatnonzero(judged.truth > 0))
        picked = [places[_spaced(rows, fault)] for rows in kinds]
        parts = {"train": len(self.pictures) - len(places), "test": len(places)}
        golden = tuple(np.concatenate(picked).tolist())
        return Made(
            seed, self.classes, taught, graphs, figures, answers, places, off, parts, golden
        )

    def answers(self, raw: bytes, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities [n, K] of a graph for some of the pictures, read again from their files."""
        session = open_session(raw)
        return np.concatenate([run(session, self.read([place])) for place in places.tolist()])

    def read(self, places: Sequence[int]) -> NDArray[np.uint8]:
        """Some of the pictures, [n, side, side, 3]."""
        return np.stack([self._reader.read(self.pictures[place].file) for place in places])

    def look(self) -> Look:
        """How good pictures look, so that the camera's later ones can be told to be blurred."""
        good = np.flatnonzero(self.truth == 0)
        index = np.unique(np.linspace(0, len(good) - 1, _LOOKS).round().astype(int))
        return reference_look(
            look_at(pixels, None) for place in good[index] for pixels in self.read([int(place)])
        )

    def _some(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Pictures for the calibration of int8, of all classes."""
        order = np.argsort(self.truth[mask], kind="stable")
        places = np.flatnonzero(mask)[order]
        index = np.unique(np.linspace(0, len(places) - 1, _CALIBRATION).round().astype(int))
        return self.read(places[index].tolist())

    def _refuse_missing_classes(self, examples: Examples, judged: Examples) -> None:
        for part, found in (("training", examples), ("test", judged)):
            missing = [c for k, c in enumerate(self.classes) if not (found.truth == k).any()]
            if missing:
                hint = "more products of it are needed: no product is in two parts"
                raise UsageError(f"the {part} has no picture of {', '.join(missing)}", hint=hint)


def _files_digest(pictures: Sequence[Labelled]) -> bytes:
    return b"".join(sha256(one.file.read_bytes()).digest() for one in pictures)


def _spaced(rows: NDArray[np.int64], fault: NDArray[np.float32]) -> NDArray[np.int64]:
    """Some of these rows, from the least to the most probable fault."""
    order = rows[np.argsort(fault[rows], kind="stable")]
    index = np.unique(np.linspace(0, len(order) - 1, _GOLDEN).round().astype(int))
    return np.asarray(order[index])
