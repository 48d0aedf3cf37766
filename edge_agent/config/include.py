"""The files of a config, merged into one tree.

`include:` at the top of a file lists files or globs, relative to that file. Maps of the same name
(`sources`, `assets`, ...) become one map; a key that two files define is a problem; there is no
order of precedence.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge_agent.config.problem import Mark, Notes, Wrong, shown
from edge_agent.config.yaml_reader import Budget, Entry, ListNode, MapNode, Node, TextNode, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_FILE_BYTES: Final = 4 << 20
MAX_FILES: Final = 1000
MAX_INCLUDE_DEPTH: Final = 10
_MAX_WILD_FOLDERS: Final = 2
_INCLUDE: Final = "include"


def read_tree(path: Path, notes: Notes) -> MapNode | None:
    """The merged tree of `path` and all its includes; None if `path` itself cannot be read."""
    return _Reader(notes).read(path, Mark(path, 1), ())


@dataclass(slots=True)
class _Reader:
    notes: Notes
    budget: Budget = field(default_factory=Budget)
    seen: dict[str, Mark] = field(default_factory=dict)  # real path -> where it was named

    def read(self, path: Path, named_at: Mark, above: tuple[str, ...]) -> MapNode | None:
        """One file with its includes; `above` are the files that include it."""
        try:
            text = self._text(path, named_at, above)
        except Wrong as wrong:
            key = (_INCLUDE,) if above else ()
            self.notes.refuse_file(wrong.message, wrong.hint, at=named_at, path=key)
            return None
        self.notes.files.append(str(path))
        root = parse(text, path, self.notes, self.budget) if text is not None else None
        if root is None:
            return None
        return self._with_includes(root, path, (*above, os.path.realpath(path)))

    def _text(self, path: Path, named_at: Mark, above: tuple[str, ...]) -> str | None:
        """The file's text; Wrong if its name is at fault, None if the file itself is."""
        real = os.path.realpath(path)
        if real in above:
            raise Wrong(f"{shown(path)} includes itself", "remove one of the includes")
        if real in self.seen:
            raise Wrong(f"{shown(path)} is already included", f"at {self.seen[real]}")
        if len(above) > MAX_INCLUDE_DEPTH:
            raise Wrong(f"includes are more than {MAX_INCLUDE_DEPTH} deep")
        if len(self.seen) >= MAX_FILES:
            raise Wrong(f"more than {MAX_FILES} files")
        self.seen[real] = named_at
        raw = _bytes(path)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.notes.refuse_file("not UTF-8 text", "save it as UTF-8", at=Mark(path, line))
            return None

    def _with_includes(self, root: MapNode, path: Path, above: tuple[str, ...]) -> MapNode:
        entry = root.entries.get(_INCLUDE)
        whole = MapNode(root.at, {k: e for k, e in root.entries.items() if k != _INCLUDE})
        if entry is None:
            return whole
        for file, mark in self._included(entry, path):
            part = self.read(file, mark, above)
            if part is not None:
                self._merge(whole, part)
        return whole

    def _included(self, entry: Entry, path: Path) -> Iterator[tuple[Path, Mark]]:
        """Every file that `include:` names, globs in the order of their names."""
        items = entry.value.items if isinstance(entry.value, ListNode) else [entry.value]
        for item in items:
            try:
                files = _matches(item, path.parent)
            except Wrong as wrong:
                self.notes.refuse_file(wrong.message, wrong.hint, at=item.at, path=(_INCLUDE,))
            else:
                yield from ((file, item.at) for file in files)

    def _merge(self, whole: MapNode, part: MapNode) -> None:
        for key, entry in part.entries.items():
            mine = whole.entries.get(key)
            if mine is None:
                whole.entries[key] = entry
            elif isinstance(mine.value, MapNode) and isinstance(entry.value, MapNode):
                both = MapNode(mine.value.at, dict(mine.value.entries))
                self._join(both, entry.value, key)
                whole.entries[key] = Entry(mine.at, both)
            else:
                self._twice((key,), mine, entry)

    def _join(self, both: MapNode, more: MapNode, key: str) -> None:
        for inner, entry in more.entries.items():
            if inner in both.entries:
                self._twice((key, inner), both.entries[inner], entry)
            else:
                both.entries[inner] = entry

    def _twice(self, path: tuple[str, ...], first: Entry, second: Entry) -> None:
        self.notes.add(path, f"written twice: first at {first.at}", at=second.at)


def _matches(item: Node, folder: Path) -> list[Path]:
    if not isinstance(item, TextNode) or item.is_null:
        raise Wrong("not a file name", "list files or globs")
    if not glob.has_magic(item.text):
        return [folder / item.text]
    if sum(map(glob.has_magic, item.text.split("/"))) > _MAX_WILD_FOLDERS:
        # `*/../*/../*` visits (number of folders) ** (number of stars) folders.
        raise Wrong(f"wildcards in more than {_MAX_WILD_FOLDERS} levels of {shown(item.text)}")
    names = glob.iglob(item.text, root_dir=folder)  # noqa: PTH207 (Path.glob refuses absolute patterns)
    return [folder / name for name in sorted(islice(names, MAX_FILES + 1))]


def _bytes(path: Path) -> bytes:
    """The file's bytes; Wrong if there is no regular file of an allowed size."""
    try:
        if path.exists() and not path.is_file():
            raise Wrong(f"{shown(path)} is not a regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise Wrong(f"there is no file {shown(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Wrong(f"cannot read {shown(path)}: {reason}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise Wrong(f"{shown(path)} is larger than {MAX_FILE_BYTES >> 20} MiB")
    return raw
