# ruff: noqa: ANN401 (the struct defines the type of a value at run time)
"""Converts trees to structs by the type of each field.

A wrong field is noted and gets its default, so that the search continues and finds the rest;
the result is only used if nothing was noted.
"""

from __future__ import annotations

import os
import re
import types
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from edge_agent.config.problem import KeyPath, Notes, Wrong, shown
from edge_agent.config.scalars import SCALARS
from edge_agent.config.types import Between, Secret
from edge_agent.config.yaml_reader import ListNode, MapNode, Node, TextNode
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENV_HINT: Final = "write {env: NAME} or {env: NAME, default: TEXT}"
_SECRET_HINT = "write {file: PATH}, {env: NAME} or {credential: NAME}"  # noqa: S105 (a hint)
_SECRET_PLACE: Final = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "credential": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
}
_SECRET_NOUN: Final = {"env": "an environment variable", "credential": "a systemd credential"}


@dataclass(frozen=True, slots=True, eq=False)  # a table has no hash, but Annotated needs one
class OneOf:
    """Marks a field whose struct is chosen by the value's `type:` key."""

    structs: Mapping[str, type]


@dataclass(slots=True)
class Builder:
    """Builds values of any supported type; `hints` replaces the type of some fields of `root`."""

    notes: Notes
    root: type
    hints: Mapping[str, Any]

    def build(self, tree: MapNode) -> Any:
        """A `root`, even if it has problems: check the notes before using it."""
        return self._value(tree, self.root, ())

    def _value(self, node: Node, kind: Any, path: KeyPath, default: Any = MISSING) -> Any:
        """`node` as a `kind`, or its default after noting what is wrong with it."""
        try:
            return self._convert(node, kind, path, default)
        except Wrong as wrong:
            self.notes.add(path, wrong.message, wrong.hint)
            return _blank(kind) if default is MISSING else default

    def _convert(self, node: Node, kind: Any, path: KeyPath, base: Any) -> Any:
        if kind in SCALARS:
            return SCALARS[kind](text_of(from_environment(node)))
        generic = _GENERIC.get(get_origin(kind))
        if generic is not None:
            return generic(self, node, get_args(kind), path, base)
        if kind is Path:
            return _path(node)
        if kind is Secret:
            return _secret(node)
        if issubclass(kind, StrEnum):
            return self._enum(text_of(node), kind)
        return self._struct(node, kind, path, base)

    def _enum(self, text: str, kind: type[StrEnum]) -> StrEnum:
        values = [member.value for member in kind]
        if text not in values:
            raise Wrong(f"{shown(text)} is not allowed", self.notes.nearest(text, values))
        return kind(text)

    def _annotated(self, node: Node, args: tuple[Any, ...], path: KeyPath, base: Any) -> Any:
        kind, *markers = args
        for marker in markers:
            if isinstance(marker, OneOf):
                return self._choice(node, marker.structs, path)
        value = self._convert(node, kind, path, base)
        for marker in markers:
            if isinstance(marker, Between) and not marker.low <= value <= marker.high:
                raise Wrong(f"must be between {marker.low:.15g} and {marker.high:.15g}")
        return value

    def _optional(self, node: Node, args: tuple[Any, ...], path: KeyPath, base: Any) -> Any:
        if isinstance(node, TextNode) and node.is_null:
            return None
        (kind,) = (arg for arg in args if arg is not types.NoneType)
        return self._convert(node, kind, path, base)

    def _tuple(self, node: Node, args: tuple[Any, ...], path: KeyPath, _base: Any) -> Any:
        items = _items(node)
        repeated = args[-1] is Ellipsis
        if not repeated and len(items) != len(args):
            raise Wrong(f"takes {len(args)} values, not {len(items)}")
        kinds = args[:1] * len(items) if repeated else args
        for number, item in enumerate(items):
            self.notes.marks[(*path, number)] = item.at
        noted = len(self.notes.problems)
        values = tuple(
            self._value(item, kind, (*path, number))
            for number, (item, kind) in enumerate(zip(items, kinds, strict=True))
        )
        if args == (float, float) and noted == len(self.notes.problems) and values[0] > values[1]:
            raise Wrong("the first value is above the second", "write [low, high]")
        return values

    def _dict(self, node: Node, args: tuple[Any, ...], path: KeyPath, _base: Any) -> Any:
        key_kind, kind = args
        result = {}
        for key, entry in _map(node).entries.items():
            inner = (*path, key)
            self.notes.marks[inner] = entry.at
            name = self._value(TextNode(entry.at, key, plain=False), key_kind, inner, key)
            result[name] = self._value(entry.value, kind, inner)
        return result

    def _choice(self, node: Node, structs: Mapping[str, type], path: KeyPath) -> Any:
        entries = dict(_map(node).entries)
        chosen = entries.pop("type", None)
        if chosen is None:
            raise Wrong("missing key 'type'", self.notes.nearest("", structs))
        self.notes.marks[(*path, "type")] = chosen.at
        name = self._value(chosen.value, str, (*path, "type"))
        if name is None:
            return None
        if name not in structs:
            hint = self.notes.nearest(name, structs)
            self.notes.add((*path, "type"), f"unknown type {shown(name)}", hint)
            return None
        return self._struct(MapNode(node.at, entries), structs[name], path, None)

    def _struct(self, node: Node, kind: type, path: KeyPath, base: Any) -> Any:
        """A struct; missing fields come from `base` if the parent's default is one."""
        short = getattr(kind, "shorthand", {})
        if isinstance(node, TextNode) and not node.is_null and node.text in short:
            return kind(**short[node.text])
        if isinstance(node, TextNode) and not node.is_null and hasattr(kind, "from_text"):
            return kind.from_text(node.text)
        entries = _map(node).entries
        known = _fields(kind)
        for key in entries:
            self.notes.marks[(*path, key)] = entries[key].at
            if key not in known:
                hint = self.notes.nearest(key, known)
                self.notes.add((*path, key), f"unknown key {shown(key)}", hint)
        noted = len(self.notes.problems)  # an unknown key is no problem of the other keys
        base = base if isinstance(base, kind) else None
        values = {}
        for name, (spec, hint) in known.items():
            values[name] = default = _default(spec, hint, base)
            if name in entries:
                wanted = self.hints.get(name, hint) if kind is self.root else hint
                values[name] = self._value(entries[name].value, wanted, (*path, name), default)
            elif base is None and _is_required(spec):
                self.notes.add(path, f"missing key {shown(name)}")
        for name, (others, value) in getattr(kind, "implied", {}).items():
            if name not in entries and not entries.keys().isdisjoint(others):
                values[name] = value
        return self._finish(kind, values, path, sound=noted == len(self.notes.problems))

    def _finish(self, kind: type, values: dict[str, Any], path: KeyPath, *, sound: bool) -> Any:
        """Make the struct; it checks itself, but only if all its fields are valid."""
        if not sound and hasattr(kind, "__post_init__"):
            return None
        try:
            struct = kind(**values)
            found = list(struct.problems()) if sound and hasattr(struct, "problems") else []
        except (EdgeAgentError, ValueError) as error:
            self.notes.add(path, " ".join(str(error).split()))
            return None
        for key, message in found:
            self.notes.add((*path, *_keys(key)), message)
        return struct


def from_environment(node: Node) -> Node:
    """The text that `{env: NAME}` (or `{env: NAME, default: TEXT}`) stands for; else the node."""
    if not isinstance(node, MapNode) or "env" not in node.entries:
        return node
    if not node.entries.keys() <= {"env", "default"}:
        raise Wrong("takes env and default only", _ENV_HINT)
    name = text_of(node.entries["env"].value)
    if not _SECRET_PLACE["env"].fullmatch(name):
        raise Wrong(f"{shown(name)} is not the name of an environment variable", _ENV_HINT)
    value = os.environ.get(name)
    if value is not None:
        return TextNode(node.at, value, plain=False)
    if "default" in node.entries:
        return node.entries["default"].value
    raise Wrong(f"environment variable {name} is not set", "set it, or add a default: " + _ENV_HINT)


def text_of(node: Node) -> str:
    """The text of a scalar; raises Wrong if there is none."""
    if isinstance(node, TextNode):
        if node.is_null:
            raise Wrong("has no value", "remove the key, or quote the text")
        return node.text
    what = "a list" if isinstance(node, ListNode) else "a map"
    raise Wrong(f"takes one value, not {what}", "quote text that begins with { or [")


def _blank(kind: Any) -> Any:
    """A placeholder for a wrong value: an empty struct, map or list if others read it, or None."""
    if (outer := get_origin(kind)) in {dict, tuple, list}:
        return outer()
    if not (isinstance(kind, type) and is_dataclass(kind)) or hasattr(kind, "__post_init__"):
        return None
    return kind(
        **{name: _default(spec, hint, None) for name, (spec, hint) in _fields(kind).items()}
    )


@cache
def _fields(kind: type) -> dict[str, tuple[Field[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return {spec.name: (spec, hints[spec.name]) for spec in fields(kind) if spec.init}


def _keys(dotted_key: str) -> KeyPath:
    """The key path of `topics.0.pattern`, as a struct names its own parts."""
    return tuple(int(key) if key.isdecimal() else key for key in dotted_key.split(".") if key)


def _is_required(spec: Field[Any]) -> bool:
    return spec.default is MISSING and spec.default_factory is MISSING


def _default(spec: Field[Any], hint: Any, base: Any) -> Any:
    if base is not None:
        return getattr(base, spec.name)
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    return _blank(hint) if spec.default is MISSING else spec.default


def _items(node: Node) -> list[Node]:
    if isinstance(node, ListNode):
        return node.items
    if isinstance(node, TextNode) and node.is_null:
        return []
    raise Wrong("takes a list", "write [a, b], or one '- item' a line")


def _map(node: Node) -> MapNode:
    if isinstance(node, MapNode):
        return node
    if isinstance(node, TextNode) and node.is_null:
        return MapNode(node.at, {})
    raise Wrong("takes a map of keys", "write 'key: value' lines, indented")


def _path(node: Node) -> Path:
    """A path relative to the file that contains it."""
    text = text_of(node)
    if not text:
        raise Wrong("is empty", "write the path of a file or folder")
    return node.at.file.parent / text


def _secret(node: Node) -> Secret:
    """The place of a secret. No message repeats the text: it may be the secret itself."""
    if not isinstance(node, MapNode):
        raise Wrong("a secret is never written into the config", _SECRET_HINT)
    if len(node.entries) != 1 or not node.entries.keys() <= {"file", "env", "credential"}:
        raise Wrong("a secret has exactly one of the keys file, env, credential", _SECRET_HINT)
    ((place, entry),) = node.entries.items()
    if place == "file":
        return Secret(file=_path(entry.value))
    name = text_of(entry.value)
    if not _SECRET_PLACE[place].fullmatch(name):
        raise Wrong(f"not the name of {_SECRET_NOUN[place]}", _SECRET_HINT)
    return Secret(env=name) if place == "env" else Secret(credential=name)


_GENERIC: Final[Mapping[Any, Callable[..., Any]]] = {
    Annotated: Builder._annotated,  # noqa: SLF001 (this class's own table)
    Union: Builder._optional,  # noqa: SLF001
    types.UnionType: Builder._optional,  # noqa: SLF001
    tuple: Builder._tuple,  # noqa: SLF001
    dict: Builder._dict,  # noqa: SLF001
}
