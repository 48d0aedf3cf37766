"""Other YAML files (bundles, alarm texts) as typed values, read as strictly as the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.config.builder import Builder
from edge_agent.config.include import read_tree
from edge_agent.config.problem import ConfigErrors, Notes, TooManyError, shown
from edge_agent.config.yaml_reader import Budget, MapNode, TextNode, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


def parse_struct(text: str, file: Path, kind: type[T] | Mapping[str, type[T]]) -> T:
    """`text` as a `kind`; ConfigErrors lists the problems, with the lines of `file`.

    If `kind` is a table of structs: the one that the text's key `kind` names, else the first one.
    """
    return _build(Notes(file), kind, lambda notes: parse(text, file, notes, Budget()))


def read_struct(file: Path, kind: type[T], check: Callable[[T, Notes], None] | None = None) -> T:
    """The same for a file and its includes; it may be empty if all keys are optional.

    check: notes what the parts of the struct do not show by themselves. ConfigErrors also lists
    files that cannot be read.
    """
    notes = Notes(file, may_be_empty=True)
    return _build(notes, kind, lambda notes: read_tree(file, notes), check)


def _build(
    notes: Notes,
    kind: type[T] | Mapping[str, type[T]],
    read: Callable[[Notes], MapNode | None],
    check: Callable[[T, Notes], None] | None = None,
) -> T:
    struct: T | None = None
    try:
        tree = read(notes)
        chosen = None if tree is None else _chosen(tree, kind, notes)
        if tree is not None and chosen is not None:
            struct = Builder(notes, chosen, {}).build(tree)
            if check is not None and struct is not None:
                check(struct, notes)
    except TooManyError:
        struct = None
    if struct is None or notes.problems:
        raise ConfigErrors(notes.listed())
    return struct


def _chosen(tree: MapNode, kind: type[T] | Mapping[str, type[T]], notes: Notes) -> type[T] | None:
    if not isinstance(kind, Mapping):
        return kind
    entry = tree.entries.get("kind")
    if entry is None or not isinstance(entry.value, TextNode):
        return next(iter(kind.values()))
    named = entry.value.text
    if named not in kind:
        notes.marks["kind",] = entry.at
        notes.add(("kind",), f"{shown(named)} is not allowed", notes.nearest(named, kind))
    return kind.get(named)


def kind_of(table: Mapping[str, Any], struct: object) -> str:
    """The `type:` of a source's or sink's struct."""
    found: str = next(name for name, row in table.items() if row.config is type(struct))
    return found
