"""Other YAML than the config as typed values, read with the same care: bundles, alarm texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.config.builder import Builder
from edge_agent.config.include import read_tree
from edge_agent.config.problem import ConfigErrors, Notes, TooManyError
from edge_agent.config.yaml_reader import Budget, MapNode, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")


def parse_struct(text: str, file: Path, kind: type[T]) -> T:
    """`text` as a `kind`; ConfigErrors lists what is wrong, with the lines of `file`."""
    return _build(Notes(file), kind, lambda notes: parse(text, file, notes, Budget()))


def read_struct(file: Path, kind: type[T]) -> T:
    """The same of a file and of those that it includes; it may be empty if all keys are optional.

    ConfigErrors also says why a file cannot be read.
    """
    return _build(Notes(file, may_be_empty=True), kind, lambda notes: read_tree(file, notes))


def _build(notes: Notes, kind: type[T], read: Callable[[Notes], MapNode | None]) -> T:
    struct: T | None = None
    try:
        tree = read(notes)
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
