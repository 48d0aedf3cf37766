"""The bundle of a classifier of pictures: its manifest, golden pictures and card."""

from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.config.types import Name
from edge_agent.errors import ModelError
from edge_agent.factory.card import spread, table
from edge_agent.factory.pictures.build import INT8
from edge_agent.factory.pictures.classifier import PROBABILITIES
from edge_agent.factory.pictures.features import run
from edge_agent.factory.pictures.training import FOLDS
from edge_agent.learning.pictures import backbone, graph
from edge_agent.models import (
    Golden,
    InputSpec,
    OutputNames,
    PictureManifest,
    Task,
    open_session,
    verify_bundle,
    write_bundle,
)
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.factory.pictures.build import Classifier, Made
    from edge_agent.factory.pictures.figures import Figures
    from edge_agent.factory.pictures.folders import ClassifierRecipe

_GRAPHS = ("fp32", INT8)


def write(
    spec: ClassifierRecipe,
    classifier: Classifier,
    made: Sequence[Made],
    folder: Path,
    command: str,
) -> PictureManifest:
    """Write the bundle of the first seed and verify it; ModelError if it is refused."""
    first = made[0]
    raw = first.graphs["fp32"]
    look = {key: float(f"{value:.6g}") for key, value in asdict(classifier.look()).items()}
    manifest = replace(_manifest(spec, made, command), look=look)
    pictures = classifier.read(first.golden)
    golden = Golden(
        {graph.PICTURE: pictures},
        {PROBABILITIES: run(open_session(raw), pictures)},
        (classifier.truth[list(first.golden)] > 0).astype(np.int64),
    )
    variants = {INT8: first.graphs[INT8]}
    extras = {"card.md": card(spec, manifest, made, command).encode()}
    with as_owner_of(folder):
        write_bundle(folder, manifest, raw, golden, variants=variants, extras=extras)
    for problem in verify_bundle(folder):
        raise ModelError(f"the new bundle failed its verification: {problem}", where=str(folder))
    return manifest


def _manifest(spec: ClassifierRecipe, made: Sequence[Made], command: str) -> PictureManifest:
    first = made[0]
    taught = first.taught
    digest = sha256(first.graphs["fp32"]).hexdigest()[:8]
    return PictureManifest(
        name=spec.name,
        version=Name(f"{spec.version}-{digest}"),
        task=Task.CLASSIFICATION,
        inputs=(InputSpec(graph.PICTURE, kind="picture", length=spec.size),),
        outputs=OutputNames(probabilities=PROBABILITIES),
        threshold=taught.limits.threshold,
        classes=first.classes,
        calibration={
            "method": taught.method,
            "temperature": f"{taught.limits.temperature:.3g}",
            "not_sure_below": f"{taught.limits.not_sure_below:.4g}",
            **{f"held_out_{name}": f"{value:.4g}" for name, value in taught.held_out.items()},
        },
        teacher={
            "model": f"{FOLDS} heads on {backbone.PACKAGE}, mean of all views of a picture",
            "accuracy": _spread(made, "teacher", "accuracy"),
        },
        distillation={"neurons": str(len(taught.student.b1)), "of_the_teacher": _neurons(first)},
        quantization={f"{INT8}_off": f"{first.off:.3g}"},
        benchmarks={
            "command": command,
            **{
                f"{name}_{figure}": _spread(made, name, figure)
                for name in _GRAPHS
                for figure in first.figures[name].as_dict()
            },
        },
        training={
            **{f"{part}_pictures": str(count) for part, count in first.parts.items()},
            "backbone": f"{backbone.PACKAGE}, {backbone.LICENCE}",
            "fine_tuning": f"{spec.fine_tune} passes" if spec.fine_tune else "none",
            "seeds": " ".join(str(one.seed) for one in made),
        },
    )


def _neurons(made: Made) -> str:
    return str(len(made.taught.teacher.b1))


def _spread(made: Sequence[Made], name: str, figure: str) -> str:
    return spread([one.figures[name].as_dict()[figure] for one in made])


# -- the card -------------------------------------------------------------------------------------


def card(
    spec: ClassifierRecipe, manifest: PictureManifest, made: Sequence[Made], command: str
) -> str:
    """Markdown: what it is, and its figures on products that it never saw."""
    first = made[0]
    parts = [
        f"# {manifest.name} {manifest.version}",
        *([spec.card["About"]] if "About" in spec.card else []),
        _facts(spec, manifest, first),
        "## Figures on held-out products",
        _figures(made),
        "## Confusion",
        _confusion(manifest.classes, first.figures["fp32"]),
        *(f"## {title}\n\n{text}" for title, text in spec.card.items() if title != "About"),
        f"Built by `{command}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(spec: ClassifierRecipe, manifest: PictureManifest, made: Made) -> str:
    low, high = made.figures["fp32"].interval
    sizes = ", ".join(f"{len(raw)} ({name})" for name, raw in made.graphs.items())
    rows: list[tuple[str, Any]] = [
        ("task", "classification of pictures"),
        ("picture", f"{spec.size} x {spec.size}, RGB"),
        ("classes", ", ".join(manifest.classes)),
        ("accuracy", f"{made.figures['fp32'].accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%}"),
        ("alarm", f"from a probability of {manifest.threshold:.3f} of any defect"),
        ("not sure", f"below a probability of {manifest.calibration['not_sure_below']}"),
        ("symmetry", spec.symmetry),
        ("bytes", sizes),
        *((key.replace("_", " "), text) for key, text in manifest.calibration.items()),
        *((key.replace("_", " "), text) for key, text in manifest.training.items()),
    ]
    return table(("", ""), rows)


def _figures(made: Sequence[Made]) -> str:
    names = ("teacher", *_GRAPHS)
    rows = [
        (figure.replace("_", " "), *(_spread(made, name, figure) for name in names))
        for figure in made[0].figures["fp32"].as_dict()
    ]
    seeds = ", ".join(str(one.seed) for one in made)
    note = f"Seeds {seeds}; the bundle is of the first, whatever the others gave."
    return f"{table(('figure', *names), rows)}\n\n{note}"


def _confusion(classes: Sequence[str], figures: Figures) -> str:
    """Pictures of the first seed by truth (rows) and answer, with recall and precision."""
    rows = [
        (name, *map(str, counts), f"{recall:.2%}")
        for name, counts, recall in zip(
            classes, figures.confusion.tolist(), figures.recall, strict=True
        )
    ]
    last = ("precision", *(f"{share:.2%}" for share in figures.precision), "")
    return table(("is, answered", *classes, "recall"), [*rows, last])
