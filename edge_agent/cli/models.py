"""`edge-agent models`: what bundles there are, and whether they may be loaded."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.errors import ModelError, UsageError
from edge_agent.inference import Manifest, load_manifest, verify_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "List the model bundles of a folder, or verify one: checksums, graph, golden vectors."
EXAMPLE = "edge-agent models verify pump-baseline -c /etc/edge-agent/edge-agent.yaml"

_COLUMNS = ("NAME", "VERSION", "TASK", "INPUTS", "ASSETS", "THRESHOLD", "WINDOW")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`list` and `verify`, each with the folder of the bundles."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list all bundles")
    verifying = actions.add_parser("verify", help="verify one; exit code 1 where it is refused")
    verifying.add_argument("bundle", metavar="NAME|PATH", help="a bundle's name, or its folder")
    for each in (listing, verifying):
        where = each.add_mutually_exclusive_group()
        where.add_argument("-c", "--config", type=Path, metavar="FILE", help="take its models_dir")
        where.add_argument("--models-dir", type=Path, metavar="DIR", help="default: models")
        each.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List or verify."""
    if args.action == "list":
        return _list(_models_dir(args), as_json=args.json)
    return _verify(_folder(args), as_json=args.json)


def _list(models_dir: Path, *, as_json: bool) -> int:
    if not models_dir.is_dir():
        raise UsageError("no such folder", where=str(models_dir), hint="use --models-dir or -c")
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for file in sorted(models_dir.glob("*/model.yaml")):
        try:
            rows.append(_row(load_manifest(file.parent)))
        except ModelError as error:
            problems.append(str(error))
    if as_json:
        print(json.dumps({"bundles": rows, "unreadable": problems}))
    elif rows:
        print(_table([_COLUMNS, *([_cell(row[c.lower()]) for c in _COLUMNS] for row in rows)]))
    else:
        print(f"no bundles in {models_dir}")
    for problem in problems if not as_json else ():
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _verify(folder: Path, *, as_json: bool) -> int:
    problems = [str(problem) for problem in verify_bundle(folder)]
    if as_json:
        print(json.dumps({"bundle": str(folder), "ok": not problems, "problems": problems}))
        return 1 if problems else 0
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        manifest = load_manifest(folder)
        print(f"{manifest.name} {manifest.version}: ok (checksums, graph, golden vectors)")
    return 1 if problems else 0


def _models_dir(args: argparse.Namespace) -> Path:
    if args.config is not None:
        daemon = importlib.import_module("edge_agent.daemon")
        return Path(daemon.load_config(args.config, files=False).models_dir)
    return args.models_dir or Path("models")


def _folder(args: argparse.Namespace) -> Path:
    """A path is taken as it is; a bare name is looked up in the folder of bundles."""
    given = Path(args.bundle)
    is_path = len(given.parts) > 1 or given.is_absolute() or args.bundle in {".", ".."}
    return given if is_path else _models_dir(args) / given


def _row(manifest: Manifest) -> dict[str, Any]:
    window = manifest.window
    step = f"{window.step_s:g} s" if window.step_s else "each time stamp"
    return {
        "name": manifest.name,
        "version": manifest.version,
        "task": manifest.task.value,
        "inputs": [spec.name for spec in manifest.inputs],
        "assets": list(manifest.units),
        "threshold": manifest.threshold,
        "false_alarms_per_day": manifest.false_alarms_per_day,
        "window": f"{window.length} x {step}",
    }


def _cell(value: object) -> str:
    """A list by its length: names are for `--json`."""
    if isinstance(value, list):
        return str(len(value)) if value else "any"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
