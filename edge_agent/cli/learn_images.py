"""`edge-agent learn --images`: a model of good pictures, from a folder of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.progress import clear_progress, show_progress
from edge_agent.config import safe_name
from edge_agent.config.types import Name
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config
    from edge_agent.learning.pictures import LearnedPictures, PictureRecipe

_MOST_SHOWN = 10


def learn_images(args: argparse.Namespace) -> int:
    """Learn, and print what the limit promises, and which pictures were left out."""
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.learning.pictures import learn_pictures  # noqa: PLC0415

    recipe = _recipe(args)
    try:
        learned = learn_pictures(recipe, show_progress)
    finally:
        clear_progress()
    if args.json:
        print(json.dumps(_row(learned, recipe), ensure_ascii=False))
    else:
        _print(learned, recipe)
    return 0


def _recipe(args: argparse.Namespace) -> PictureRecipe:
    from edge_agent.daemon import load_config  # noqa: PLC0415 (as above)
    from edge_agent.learning.pictures import FALSE_ALARMS, PictureRecipe  # noqa: PLC0415

    if args.asset != safe_name(args.asset):
        raise UsageError(f"--asset {args.asset!r} is no name: pictures are of one asset")
    if args.again:
        raise UsageError("--again is not for --images", hint="learning replaces the model anyway")
    wanted = FALSE_ALARMS if args.false_alarms is None else args.false_alarms
    plain = PictureRecipe(
        args.asset, args.images, args.models_dir or Path("models"), false_alarms=wanted
    )
    return plain if args.config is None else _of_camera(plain, load_config(args.config), args)


def _of_camera(recipe: PictureRecipe, config: Config, args: argparse.Namespace) -> PictureRecipe:
    """The recipe for a camera of the config: its view, and the bundle that judges its pictures."""
    there = {name: one for name, one in config.cameras.items() if one.asset == args.asset}
    chosen = [name for name in there if name == (args.camera or name)]
    if len(chosen) != 1:
        names = ", ".join(there) or "none"
        raise UsageError(
            f"asset {args.asset} has {len(there)} cameras: {names}",
            where=str(args.config),
            hint="choose one with --camera" if there else "write it in `cameras`, or leave out -c",
        )
    (name,) = chosen
    camera = there[Name(name)]
    return replace(recipe, models_dir=config.models_dir, view=camera.view, bundle=camera.judged_by)


def _print(learned: LearnedPictures, recipe: PictureRecipe) -> None:
    manifest = learned.manifest
    print(
        f"{recipe.models_dir / recipe.name}: {learned.pictures} pictures of "
        f"{manifest.side} x {manifest.side} pixels, version {manifest.version}, "
        f"{learned.seconds:.0f} s"
    )
    for key, text in manifest.calibration.items():
        print(f"  {key}: {text}")
    for name, reason in [*learned.refused.items()][:_MOST_SHOWN]:
        print(f"{name}: not learned: {reason}", file=sys.stderr)
    if len(learned.refused) > _MOST_SHOWN:
        more = len(learned.refused) - _MOST_SHOWN
        print(f"and {more} more pictures: --json lists them", file=sys.stderr)


def _row(learned: LearnedPictures, recipe: PictureRecipe) -> dict[str, object]:
    manifest = learned.manifest
    return {
        "bundle": str(recipe.models_dir / recipe.name),
        "name": manifest.name,
        "version": manifest.version,
        "asset": recipe.asset,
        "pictures": learned.pictures,
        "seconds": round(learned.seconds, 1),
        "training": dict(manifest.training),
        "calibration": dict(manifest.calibration),
        "refused": learned.refused,
    }
