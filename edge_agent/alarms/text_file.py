"""Reading a file of texts: three levels of maps, and nothing else that YAML can do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# (key, part, language) -> text
Entries: TypeAlias = dict[tuple[str, str, str], str]

MAX_BYTES: Final = 1 << 20
MAX_TEXT: Final = 1000
PARTS: Final = ("message", "advice", "decimal")

_DEPTH: Final = 3
_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_entries(text: str, where: str) -> Entries:
    """Read `key: {message: {language: text}}`; ConfigError names the line of what is wrong.

    Events instead of a loader: aliases can stand for billions of values, deep nesting overruns the
    stack of the C composer, and the language `no` would be read as False.
    """
    entries: Entries = {}
    try:
        for line, path, value in _leaves(text, where):
            _check(path, value, f"{where}:{line}")
            entries[path[0], path[1], path[2]] = value
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = where if mark is None else f"{where}:{mark.line + 1}"
        reason = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"not valid YAML: {reason}", where=at) from error
    return entries


def check_language(language: str, where: str) -> None:
    """Raise ConfigError where `language` is no language tag (BCP 47)."""
    if not _LANGUAGE.fullmatch(language):
        raise ConfigError(
            f"{language[:100]!r} is no language", where=where, hint="such as en or pt-BR"
        )


def read_file(path: Path) -> str:
    """Return a file's text; ConfigError where it is missing, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"larger than {MAX_BYTES} bytes", where=str(path))
        return data.decode()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8", where=str(path)) from error


def _leaves(text: str, where: str) -> Iterator[tuple[int, list[str], str]]:
    path: list[str] = []
    seen: set[tuple[str, ...]] = set()
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.MappingStartEvent) and depth < _DEPTH and len(path) == depth:
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent):
            depth -= 1
            path = path[: max(depth - 1, 0)]
        elif isinstance(event, yaml.ScalarEvent) and len(path) < depth:
            path = [*path, event.value]
            if tuple(path) in seen:
                raise ConfigError(f"{'.'.join(path)} stands here twice", where=f"{where}:{line}")
            seen.add(tuple(path))
        elif isinstance(event, yaml.ScalarEvent) and depth == _DEPTH:
            yield line, path, event.value
            path = path[: depth - 1]
        elif isinstance(event, yaml.NodeEvent):
            hint = "key: {message: {language: text}, advice: {language: text}}"
            raise ConfigError("does not have the form of texts", where=f"{where}:{line}", hint=hint)


def _check(path: list[str], value: str, where: str) -> None:
    key, part, language = path
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{key[:100]!r} is no key", where=where, hint="letters, digits and _.-")
    if part not in PARTS:
        raise ConfigError(f"unknown key {part[:100]!r}", where=where, hint=f"one of {PARTS}")
    check_language(language, where)
    if len(value) > MAX_TEXT or not value:
        raise ConfigError(f"a text has 1 to {MAX_TEXT} characters", where=where)
