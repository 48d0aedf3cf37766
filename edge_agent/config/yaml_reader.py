"""Converts YAML text to a tree of texts, lists and maps, each with its line.

Values have no type here: the field decides what `no`, `1:30` or `0123` means.
The tree is built from parser events, because composing recurses in C without a limit on depth, and
because an alias must be counted at each use: a file of 300 bytes can expand to billions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from edge_agent.config.problem import Mark, Notes, Wrong, shown

if TYPE_CHECKING:
    from pathlib import Path

MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 50

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT = re.compile(r" *\t")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_END: Final = "found unexpected end of stream"  # the parser's own message
_MERGE: Final = "<<"


@dataclass(frozen=True, slots=True)
class TextNode:
    """A scalar as written; `plain`: without quotes."""

    at: Mark
    text: str
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """No value at all: nothing, `~` or `null` without quotes."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    at: Mark
    items: list[Node]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line of its key."""

    at: Mark
    value: Node


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping, in the order of the file."""

    at: Mark
    entries: dict[str, Entry]


Node = TextNode | ListNode | MapNode


@dataclass(slots=True)
class Budget:
    """The number of nodes that all files of a config may still have, aliases counted in full."""

    nodes: int = MAX_NODES

    def spend(self, nodes: int) -> None:
        """Subtract `nodes`, or refuse the file."""
        self.nodes -= nodes
        if self.nodes < 0:
            raise Wrong(f"more than {MAX_NODES} values", "each use of an alias counts")


@dataclass(slots=True)
class _Open:
    """A list or map whose end has not been read."""

    node: ListNode | MapNode
    anchor: str | None
    key: TextNode | None = None
    merges: list[MapNode] | None = None
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


def parse(text: str, file: Path, notes: Notes, budget: Budget) -> MapNode | None:
    """The map that is the one document in `text`; None after a problem was noted."""
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        what = "NUL" if bad[0] == "\0" else f"control character U+{ord(bad[0]):04X}"
        notes.refuse_file(f"{what} in the text", at=Mark(file, line))
        return None
    tree = _Tree(file, notes, budget)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            tree.add_event(event)
    except Wrong as wrong:
        notes.refuse_file(wrong.message, wrong.hint, at=Mark(file, tree.line))
    except yaml.YAMLError as error:
        _syntax_error(error, text, file, notes)
    else:
        if isinstance(tree.root, MapNode):
            return tree.root
        empty = tree.root is None or (isinstance(tree.root, TextNode) and tree.root.is_null)
        if empty and notes.may_be_empty:
            return MapNode(Mark(file, 1), {})
        what = "the file is empty" if empty else "the file is not a map of keys"
        notes.refuse_file(what, "write 'key: value' lines", at=Mark(file, 1))
    return None


def _syntax_error(error: yaml.YAMLError, text: str, file: Path, notes: Notes) -> None:
    said, context = getattr(error, "problem", None), getattr(error, "context", None)
    line, begun = _line(getattr(error, "problem_mark", None)), getattr(error, "context_mark", None)
    if said == _END and begun is not None:
        line = _line(begun)  # the opening quote is more useful than the end of the file
    line = min(line, text.rstrip().count("\n") + 1)
    near = text.split("\n")[max(0, line - 2) : line]
    tabs = any(_TAB_INDENT.match(row) for row in near)
    hint = "indent with spaces, never with tabs" if tabs else "look at this line and the one above"
    words = f"not valid YAML: {context or 'reading it'}, {said or 'this was found'}"
    notes.refuse_file(" ".join(words.split()), hint, at=Mark(file, line))


def _line(mark: object) -> int:
    """The line of a parser's mark, or the first if there is none."""
    return int(getattr(mark, "line", 0)) + 1


class _Tree:
    """Builds the tree of one document from events, within the limits."""

    def __init__(self, file: Path, notes: Notes, budget: Budget) -> None:
        self.root: Node | None = None
        self.line = 1
        self._file = file
        self._notes = notes
        self._budget = budget
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._documents = 0

    def add_event(self, event: yaml.Event) -> None:
        """Handle the next event; Wrong if the file must be refused."""
        self.line = _line(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event.tag)
            plain = event.style in (None, "")
            self._close(TextNode(self._mark(), event.value, plain), event.anchor, 1, 0)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._refuse_tag(event.tag)
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Wrong("a second document begins here", "one file holds one document")

    def _mark(self) -> Mark:
        return Mark(self._file, self.line)

    def _refuse_tag(self, tag: str | None) -> None:
        if tag is not None:
            raise Wrong(f"tag {shown(tag)} is not allowed", "the key defines the type of a value")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise Wrong(f"nested more than {MAX_DEPTH} deep")
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = MapNode(self._mark(), {}) if mapping else ListNode(self._mark(), [])
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(node, event.anchor))

    def _end(self) -> None:
        done = self._stack.pop()
        if isinstance(done.node, MapNode):
            for merged in done.merges or ():
                for key, entry in merged.entries.items():
                    done.node.entries.setdefault(key, entry)
        self._close(done.node, done.anchor, done.size, done.height)

    def _alias(self, name: str) -> None:
        if name not in self._anchors:
            raise Wrong(f"alias {shown('*' + name)} has no anchor before it")
        target = self._anchors[name]
        if target is None:
            raise Wrong(f"alias {shown('*' + name)} contains itself")
        if len(self._stack) + target.height > MAX_DEPTH:
            raise Wrong(f"nested more than {MAX_DEPTH} deep")
        self._budget.spend(target.size - 1)
        self._close(target.node, None, target.size, target.height)

    def _close(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        """Add a complete node to its parent."""
        self._budget.spend(1)
        if anchor is not None:
            self._anchors[anchor] = _Anchored(node, size, height)
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if isinstance(parent.node, ListNode):
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = self._key(node)
        else:
            self._entry(parent, parent.node.entries, parent.key, node)
            parent.key = None

    def _key(self, node: Node) -> TextNode:
        if not isinstance(node, TextNode):
            raise Wrong("a key must be text", "quote text that begins with { or [")
        if node.is_null:
            raise Wrong("a key is missing before ':'")
        return TextNode(self._mark(), node.text, node.plain)

    def _entry(self, parent: _Open, entries: dict[str, Entry], key: TextNode, value: Node) -> None:
        if key.plain and key.text == _MERGE:
            parent.merges = [*(parent.merges or ()), *_merged(value)]
        elif key.text in entries:
            first = entries[key.text].at.line
            path = (*self._path(), key.text)
            self._notes.add(path, f"written twice: first on line {first}", at=key.at)
        else:
            entries[key.text] = Entry(key.at, value)

    def _path(self) -> tuple[str | int, ...]:
        """The path of the innermost open node, for a message."""
        outer = self._stack[:-1]
        return tuple(
            level.key.text if level.key is not None else len(_items(level.node)) for level in outer
        )


def _items(node: ListNode | MapNode) -> list[Node]:
    return node.items if isinstance(node, ListNode) else []


def _merged(value: Node) -> list[MapNode]:
    """The maps that `<<` names: one, or a list of them, of which the first wins."""
    found = value.items if isinstance(value, ListNode) else [value]
    maps = [node for node in found if isinstance(node, MapNode)]
    if len(maps) != len(found):
        raise Wrong("'<<' takes an alias of a map, or a list of such aliases")
    return maps
