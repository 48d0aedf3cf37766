"""The command `scripts/train`."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.errors import EdgeAgentError, UsageError
from factory import RECIPES, Context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factory._recipe import Recipe

_EXTRA = "pip install -e '.[compress]'"


def main(root: Path) -> int:
    """Train what the arguments name; errors are one line."""
    args = _arguments(root)
    try:
        return _train(args)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in {"factory", "edge_agent"}:
            raise
        print(f"the Python package {package!r} is not installed: {_EXTRA}", file=sys.stderr)
        return 1
    except EdgeAgentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: what is done is kept, run it again to go on", file=sys.stderr)
        return 130


def _train(args: argparse.Namespace) -> int:
    recipe = _recipe(args)
    # Here, not above: the help must not wait for torch.
    build = importlib.import_module("factory._build")
    finish = importlib.import_module("factory._finish")
    made = []
    for seed in range(args.seed, args.seed + args.seeds):
        _say(f"-- {recipe.manifest.name}, seed {seed}")
        context = Context(seed=seed, data=args.data, progress=_progress)
        made.append(build.Run(recipe, context, args.work, _say).make())
    folder = args.output / recipe.manifest.name
    manifest = finish.write(recipe, made, folder, _command())
    _say(f"{folder}: {manifest.name} {manifest.version}, verified")
    print((folder / "card.md").read_text())
    return 0


def _recipe(args: argparse.Namespace) -> Recipe:
    if args.model in RECIPES:
        found: Recipe = importlib.import_module(f"factory.{RECIPES[args.model]}").recipe()
        return found
    path = Path(args.model)
    if path.suffix not in {".yaml", ".yml"}:
        hint = f"one of {', '.join(RECIPES)}, or a recipe's YAML file"
        raise UsageError(f"no model {args.model!r}", hint=hint)
    args.data = path.resolve().parent
    return importlib.import_module("factory.recordings").recipe(path)


def _arguments(root: Path) -> argparse.Namespace:
    data = os.environ.get("EDGE_AGENT_DATA", str(root.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(
        prog="scripts/train",
        description="Train a model, from raw recordings to a verified bundle.",
        epilog=f"models: {', '.join(RECIPES)}, or a YAML file of your own (docs/factory.md)",
    )
    parser.add_argument("model", help="a model's name, or a recipe's YAML file")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many of them")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder of the recordings")
    parser.add_argument("--work", type=Path, default=Path("build/factory"), help="kept stages")
    parser.add_argument("--output", type=Path, default=Path("models"), help="folder of bundles")
    return parser.parse_args()


def _command() -> str:
    return f"scripts/train {shlex.join(sys.argv[1:])}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _progress(steps: Iterable[Any], text: str) -> Iterable[Any]:
    """A bar where somebody looks."""
    from tqdm import tqdm  # noqa: PLC0415

    return tqdm(steps, desc=text, leave=False, disable=None)
