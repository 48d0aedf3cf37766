"""What the verbs of `edge-agent models` share: form, place of the bundles, printing."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.config.schema import Trust
from edge_agent.errors import ModelError, UsageError
from edge_agent.models import copied, unpacked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.config.schema import Config


class Verb(NamedTuple):
    """One action: its words, its arguments, and what it does (giving the exit code)."""

    help: str
    example: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare where the bundles are, and `--json`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="take its models_dir and trust"
    )
    where.add_argument("--models-dir", type=Path, metavar="DIR", help="default: models")
    add_json(parser)


def config_of(args: argparse.Namespace) -> Config | None:
    """The config that `-c` names."""
    if args.config is None:
        return None
    daemon = importlib.import_module("edge_agent.daemon")
    config: Config = daemon.load_config(args.config, files=False)
    return config


def models_dir_of(args: argparse.Namespace, config: Config | None) -> Path:
    """The folder of the bundles."""
    if config is not None:
        return Path(config.models_dir)
    return Path(args.models_dir or "models")


def existing_dir(folder: Path) -> Path:
    """`folder`; UsageError where there is none."""
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), hint="use --models-dir or -c")
    return folder


def trust_of(config: Config | None) -> Trust:
    """Whose bundles are loaded."""
    return Trust() if config is None else config.trust


def bundle_folder(text: str, models_dir: Path) -> Path:
    """A path is taken as it is; a bare name is looked up in the folder of bundles."""
    given = Path(text)
    is_path = len(given.parts) > 1 or given.is_absolute() or text in {".", ".."}
    return given if is_path else models_dir / given


@contextmanager
def private_copy(source: Path) -> Iterator[Path]:
    """A copy of a bundle's folder or archive that nobody else can change, for the time of a `with`.

    What is verified is what is used, and what was given stays as it is.
    """
    with copied(source) if source.is_dir() else unpacked(source) as folder:
        try:
            yield folder
        except ModelError as error:
            # Nobody knows the copy's name.
            message, where = (
                t.replace(str(folder), str(source)) for t in (error.message, error.where)
            )
            raise ModelError(message, where=where, hint=error.hint) from error


def say(args: argparse.Namespace, row: dict[str, Any], text: str) -> None:
    """Print the outcome: JSON where that was asked for, else a sentence."""
    print(json.dumps(row, ensure_ascii=False) if args.json else text)


def complain(problems: Sequence[object]) -> None:
    """One line each on stderr."""
    for problem in problems:
        print(problem, file=sys.stderr)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
