"""One YAML text as one struct, with the same care as the config; for the other files we read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.config.builder import Builder
from edge_agent.config.problem import ConfigErrors, Notes, TooManyError
from edge_agent.config.yaml_reader import Budget, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
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


def kind_of(table: Mapping[str, Any], struct: object) -> str:
    """The `type:` of a source's or sink's struct."""
    found: str = next(name for name, row in table.items() if row.config is type(struct))
    return found
