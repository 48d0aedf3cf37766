"""One YAML text as one struct, with the same care as the config; for the other files we read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edge_agent.config._build import Builder
from edge_agent.config._problem import ConfigErrors, Notes, TooManyError
from edge_agent.config._yaml import Budget, parse

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def parse_struct(text: str, file: Path, kind: type[T]) -> T:
    """`text` as a `kind`; ConfigErrors lists what is wrong, with the lines of `file`."""
    notes = Notes(file)
    struct: T | None = None
    try:
        tree = parse(text, file, notes, Budget())
        if tree is not None:
            struct = Builder(notes, kind, {}).build(tree)
    except TooManyError:
        struct = None
    if struct is None or notes.problems:
        raise ConfigErrors(notes.listed())
    return struct
