"""Shared by the verbs of `edge-agent models`: declaration, folder of the bundles, printing."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.config.settings import Trust
from edge_agent.errors import ModelError, UsageError
from edge_agent.models import copied, unpacked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.config.schema import Config


class Verb(NamedTuple):
    """One action: its texts, its arguments, and its function (returns the exit code)."""

    help: str
    example: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="one JSON object; of several bundles one a line"
    )


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare the folder of the bundles, and `--json`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="use its models_dir and trust"
    )
    where.add_argument("--models-dir", type=Path, metavar="DIR", help="default: models")
    add_json(parser)


def config_of(args: argparse.Namespace) -> Config | None:
    """The config that `-c` names."""
    if args.config is None:
        return None
    daemon = importlib.import_module("edge_agent.daemon")
    config: Config = daemon.load_config(args.config, files=False, live=False)
    return config


def models_dir_of(args: argparse.Namespace, config: Config | None) -> Path:
    """The folder of the bundles."""
    if config is not None:
        return Path(config.models_dir)
    return Path(args.models_dir or "models")


def existing_dir(folder: Path) -> Path:
    """`folder`; UsageError if it does not exist."""
    if not folder.is_dir():
        raise UsageError("no such folder", where=str(folder), hint="use --models-dir or -c")
    return folder


def trust_of(config: Config | None) -> Trust:
    """The trusted keys of the config."""
    return Trust() if config is None else config.trust


def bundle_folder(text: str, models_dir: Path) -> Path:
    """The folder of a bundle: a path as it is, or a name in the folder of bundles."""
    given = Path(text)
    is_path = len(given.parts) > 1 or given.is_absolute() or text in {".", ".."}
    return given if is_path else models_dir / given


@contextmanager
def private_copy(source: Path) -> Iterator[Path]:
    """A private copy of a bundle's folder or archive, for the time of a `with`.

    The copy is verified and used, so nobody can change it in between; the original stays as it is.
    """
    with copied(source) if source.is_dir() else unpacked(source) as folder:
        try:
            yield folder
        except ModelError as error:
            # The user does not know the copy's name.
            message, where = (
                t.replace(str(folder), str(source)) for t in (error.message, error.where)
            )
            raise ModelError(message, where=where, hint=error.hint) from error


def say(args: argparse.Namespace, row: dict[str, Any], text: str) -> None:
    """Print the outcome: as JSON if requested, else as a sentence."""
    print(json.dumps(row, ensure_ascii=False) if args.json else text)


def complain(problems: Sequence[object]) -> None:
    """Print one line each on stderr."""
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
