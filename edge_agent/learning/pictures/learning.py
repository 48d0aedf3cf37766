"""Learning from a folder of good pictures, in a child process; blocking.

The child reads one JSON object and writes JSON lines: [share, what] while it works, then what it
has written. Exit code 3 and one line on stderr: learning is impossible, and why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.config.cameras import View
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.models import (
    LEARNED,
    ModelRepository,
    child_command,
    child_environment,
    limit_memory,
    load_manifest,
)
from edge_agent.ops.owner import become_owner_of
from edge_agent.signals import SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.models import Manifest

    Report = Callable[[float, str], None]

FALSE_ALARMS: Final = 0.02  # of good pictures, wanted
_MEMORY: Final = 1 << 30
_NICER: Final = 10
_REFUSED: Final = 3
_READING: Final = 0.2  # share of the work
_MAX_LINE: Final = 400
_NAMED: Final = 20  # files whose reason is told


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """What to learn. side: pixels of the square that the model sees; false_alarms: wanted share.

    bundle: its name, if it is not that of the asset's pictures.
    """

    asset: str
    images: Path
    models_dir: Path
    view: View = field(default_factory=View)
    false_alarms: float = FALSE_ALARMS
    side: int = SIZE
    bundle: str = ""

    @property
    def name(self) -> str:
        """Of the bundle."""
        return self.bundle or picture_bundle_name(self.asset)


@dataclass(frozen=True, slots=True)
class LearnedPictures:
    """What was learned. refused: by file, why it was not used; pictures: that were."""

    manifest: Manifest
    pictures: int
    refused: dict[str, str]
    seconds: float


def picture_bundle_name(asset: str) -> str:
    """The name of the bundle of an asset's pictures."""
    return f"{LEARNED}-pictures-{asset}"[:100]


def learn_pictures(
    recipe: PictureRecipe, report: Report = lambda _share, _what: None
) -> LearnedPictures:
    """Learn a bundle into `models_dir`, in a child; the previous one goes to the shelf.

    report: is told the share that is done, and what is done now. ModelError if it is impossible.
    """
    begun = time.monotonic()
    folder = recipe.models_dir / recipe.name
    command = child_command("edge_agent.learning.pictures.learning")
    try:
        child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        text = f"the learning process does not start: {error.strerror}"
        raise ModelError(text, where=recipe.name, hint=f"who may run {sys.executable}?") from error
    with child:
        told = _exchange(child, recipe, report)
        error_text = child.stderr.read() if child.stderr else ""
        code = child.wait()
    if code or told is None:
        last = error_text.strip().rsplit("\n", 1)[-1][:_MAX_LINE]
        raise ModelError(last or f"the learning process ended with code {code}", where=recipe.name)
    seconds = time.monotonic() - begun
    return LearnedPictures(
        load_manifest(folder), int(told["pictures"]), dict(told["refused"]), seconds
    )


def _exchange(
    child: subprocess.Popen[str], recipe: PictureRecipe, report: Report
) -> dict[str, Any] | None:
    """Hand the recipe over and listen; returns the last line, None if there is none."""
    if child.stdin is None or child.stdout is None:
        return None
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(asdict(recipe), default=str))
        child.stdin.close()
    found: dict[str, Any] | None = None
    for line in child.stdout:
        told = json.loads(line)
        if isinstance(told, dict):
            found = told
        else:
            report(float(told[0]), str(told[1]))
    return found


# -- in the child -----------------------------------------------------------------------------


def main() -> int:
    """Learn by the recipe on stdin; see the module's docstring for the output."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    limit_memory(_MEMORY)
    try:
        told = _learn(_recipe(json.load(sys.stdin)))
    except EdgeAgentError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return _REFUSED
    except MemoryError:
        print(f"learning needs more than {_MEMORY >> 20} MiB of memory", file=sys.stderr)  # noqa: T201
        return _REFUSED
    _tell(told)
    return 0


def _recipe(told: dict[str, Any]) -> PictureRecipe:
    view = told.pop("view")
    mask_file = Path(view["mask_file"]) if view["mask_file"] else None
    mask = tuple(tuple(corners) for corners in view["mask"])
    changed = {"mask_file": mask_file, "mask": mask, "region": tuple(view["region"])}
    told["images"], told["models_dir"] = Path(told["images"]), Path(told["models_dir"])
    return PictureRecipe(**told, view=View(**{**view, **changed}))


def _learn(recipe: PictureRecipe) -> dict[str, Any]:
    # Here, not above: only the child needs onnx and Pillow.
    from edge_agent.learning.pictures.bundle import picture_bundle  # noqa: PLC0415
    from edge_agent.learning.pictures.fit import fit  # noqa: PLC0415
    from edge_agent.learning.pictures.pictures import picture_files, read_squares  # noqa: PLC0415

    become_owner_of(recipe.models_dir)
    files = picture_files(recipe.images)
    squares = read_squares(
        files, recipe.view, recipe.side, lambda share: _tell([_READING * share, "pictures"])
    )
    fitted = fit(
        squares.pixels,
        recipe.false_alarms,
        lambda share, what: _tell([_READING + (1 - _READING) * share, what]),
    )
    unlike = {squares.files[n]: "unlike all the others" for n in fitted.strange}
    refused = squares.refused | unlike
    training = {
        "asset": recipe.asset,
        "pictures": str(fitted.pictures),
        "left_out": str(len(refused)),
        "view": f"rotate {recipe.view.rotate}, region {list(recipe.view.region)}, "
        f"{len(recipe.view.mask)} masks",
        "licence": "own",
    }
    now_us = time.time_ns() * US_PER_S // 10**9
    bundle = picture_bundle(recipe.name, fitted, squares.look, training, now_us)
    folder = recipe.models_dir / recipe.name
    recipe.models_dir.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        ModelRepository(recipe.models_dir).store_active(recipe.name)
    bundle.write(folder)
    return {"pictures": fitted.pictures, "refused": dict([*refused.items()][:_NAMED])}


def _tell(what: list[Any] | dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201
