"""The config: YAML to typed structs, with every problem at once.

`load` returns a Config or raises ConfigErrors; `find_problems` returns both a Config, if there is
one, and the list. The structs of sources and sinks come from the caller's tables.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from edge_agent.config import camera_check, cameras, schema
from edge_agent.config.assets import MAX_ASSETS, expand_range
from edge_agent.config.builder import Builder, OneOf
from edge_agent.config.config_warnings import paths_of, secrets_of, warnings
from edge_agent.config.cross_check import (
    NO_READERS,
    Readers,
    crosscheck,
    discovering,
    missing_files,
    walk,
)
from edge_agent.config.include import read_tree
from edge_agent.config.listing import Line, list_lines
from edge_agent.config.machine import default_gateway_id, hostname
from edge_agent.config.problem import (
    MAX_PROBLEMS,
    ConfigErrors,
    KeyPath,
    Mark,
    Notes,
    Problem,
    TooManyError,
    Wrong,
)
from edge_agent.config.scalars import to_cycle
from edge_agent.config.schema import Config
from edge_agent.config.snippet import id_ranges, render, safe_name
from edge_agent.config.types import Cycle, Name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_ASSETS",
    "Config",
    "ConfigErrors",
    "Line",
    "Marked",
    "Notes",
    "Problem",
    "Readers",
    "bearing",
    "camera_check",
    "cameras",
    "conditions",
    "control_charts",
    "discovering",
    "expand_range",
    "find_problems",
    "id_ranges",
    "language",
    "limit_rules",
    "limits",
    "line_check",
    "lines",
    "list_lines",
    "load",
    "local_time",
    "maintenance",
    "notify",
    "parse_cycle",
    "paths_of",
    "read_marked",
    "render",
    "safe_name",
    "schema",
    "secrets_of",
    "settings",
    "shifts",
    "structs",
    "types",
    "walk",
    "warnings",
]


def parse_cycle(text: str) -> Cycle:
    """The cycle of a machine as the config writes it; ValueError says what is wrong."""
    try:
        return to_cycle(text)
    except Wrong as error:
        raise ValueError(error.message) from None


def load(  # noqa: PLR0913 (each may be missing: by name)
    path: str | Path,
    *,
    sources: Mapping[str, type],
    sinks: Mapping[str, type],
    files: bool = True,
    live: bool = True,
    readers: Readers = NO_READERS,
) -> Config:
    """The config in `path` and its includes; ConfigErrors lists all its problems.

    `sources` and `sinks` map a `type:` to the frozen dataclass of its other keys. With `files`
    false, model bundles and texts may still be missing (a bundle will be learned)
    and `readers` do not read the files that the config names. With `live` false, the config is used
    with recordings and needs no sources.
    """
    config, problems = find_problems(
        path, sources=sources, sinks=sinks, files=files, live=live, readers=readers
    )
    if config is None:
        raise ConfigErrors(problems)
    return config


def find_problems(  # noqa: PLR0913 (as `load`)
    path: str | Path,
    *,
    sources: Mapping[str, type],
    sinks: Mapping[str, type],
    files: bool = True,
    live: bool = True,
    readers: Readers = NO_READERS,
) -> tuple[Config | None, list[Problem]]:
    """The config, or None, and all problems in the order of the files and their lines."""
    notes = Notes(Path(path), live=live)
    hints = {"sources": _named(sources), "sinks": _named(sinks)}
    try:
        config = _read(notes, hints)
        if config is not None and files and not notes.unread:
            missing_files(config, notes, readers)
    except TooManyError:
        config = None
        problems = notes.listed()
        last = problems[-1]
        more = Problem(last.file, last.line, "", f"and more: only {MAX_PROBLEMS} are shown")
        return None, [*problems, more]
    return (None if notes.problems else config), notes.listed()


class Marked(NamedTuple):
    """A config as it is on the disk: None if it is refused, with the line of each key.

    files: those that were read, the main one first; problem: the first one, empty if there is none.
    """

    config: Config | None
    marks: Mapping[KeyPath, Mark]
    files: list[str]
    problem: str = ""


def read_marked(
    path: str | Path, *, sources: Mapping[str, type], sinks: Mapping[str, type]
) -> Marked:
    """The config in `path` and its includes, with the place of each key; see `load`."""
    notes = Notes(Path(path))
    config = None
    with suppress(TooManyError):  # some of them are in the notes
        config = _read(notes, {"sources": _named(sources), "sinks": _named(sinks)})
    problems = notes.listed()
    problem = str(problems[0]) if problems else ""
    return Marked(None if problems else config, notes.marks, notes.files, problem)


def _named(structs: Mapping[str, type]) -> object:
    return dict[Name, Annotated[Any, OneOf(structs)]]


def _read(notes: Notes, hints: Mapping[str, Any]) -> Config | None:
    tree = read_tree(notes.main, notes)
    if tree is None:
        return None
    config: Config = Builder(notes, Config, hints).build(tree)
    config = replace(config, gateway=_identity(config, notes))
    # If a file was not read, the targets of references may be in it.
    if not notes.unread:
        crosscheck(config, notes)
    return config


def _identity(config: Config, notes: Notes) -> schema.Gateway:
    """The gateway's id, and which one of a pair it is."""
    gateway = config.gateway
    if ("gateway", "id") not in notes.marks:
        gateway = replace(gateway, id=default_gateway_id())
    if config.standby.enabled and not gateway.member:
        gateway = replace(gateway, member=Name(hostname()))
    return gateway
