"""`edge-agent learn --images`: a model of good pictures, from a folder of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.progress import clear_progress, show_progress
from edge_agent.config import safe_name
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

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
    models_dir = args.models_dir or Path("models")
    if args.config is not None:
        models_dir = load_config(args.config, files=False).models_dir
    wanted = FALSE_ALARMS if args.false_alarms is None else args.false_alarms
    return PictureRecipe(args.asset, args.images, models_dir, false_alarms=wanted)


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
