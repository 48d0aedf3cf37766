"""Problems of a config and their places: every problem is noted, none stops the search."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KeyPath = tuple[str | int, ...]

MAX_PROBLEMS: Final = 1000
# Comparing two names takes tens of microseconds; a file full of unknown keys must stay fast.
_MAX_SUGGESTIONS: Final = 100
_MAX_CANDIDATES: Final = 500
_MAX_LISTED: Final = 16
_SHOWN_CHARACTERS: Final = 40
_SHOWN_PATH: Final = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of a file; the first is 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `hint`: how to fix it; `key_path`: empty if it concerns the whole file."""

    file: str
    line: int
    key_path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        key = f"{self.key_path}: " if self.key_path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}: {key}{self.message}{hint}"


class ConfigErrors(ConfigError):  # noqa: N818 (it is all of them)
    """All problems of a config at once; `str` returns one line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


class Wrong(Exception):  # noqa: N818 (never leaves the room: it becomes a Problem)
    """A value that is refused; the caller knows its place and continues with the next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TooManyError(Exception):
    """The list of problems is full."""


@dataclass(slots=True)
class Notes:
    """The problems found so far, and the line of every key path that was read."""

    main: Path
    may_be_empty: bool = False  # a file without any key is no problem
    live: bool = True  # false: it is used with recordings, and needs no sources
    problems: list[Problem] = field(default_factory=list)
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    broken: set[KeyPath] = field(default_factory=set)
    files: list[str] = field(default_factory=list)  # in the order of reading
    unread: bool = False  # a file was not read: references cannot be checked
    _suggestions: int = 0

    def add(self, path: KeyPath, message: str, hint: str = "", *, at: Mark | None = None) -> None:
        """Note a problem of the value at `path`, on the line of its key unless `at` is given."""
        mark = at or self.at(path)
        if len(self.problems) >= MAX_PROBLEMS:
            raise TooManyError
        self.broken.add(path)
        self.problems.append(Problem(_line(str(mark.file)), mark.line, dotted(path), message, hint))

    def refuse_file(self, message: str, hint: str = "", *, at: Mark, path: KeyPath = ()) -> None:
        """Note that a whole file is refused."""
        self.unread = True
        self.add(path, message, hint, at=at)

    def at(self, path: KeyPath) -> Mark:
        """The line of `path`, or of the nearest parent that is in a file."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path) or Mark(self.main, 1)

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """A hint that names the known word most like `word`, or all of them if they are few."""
        self._suggestions += 1
        if self._suggestions > _MAX_SUGGESTIONS:
            return ""
        names = [name for _, name in zip(range(_MAX_CANDIDATES), known, strict=False)]
        close = get_close_matches(word, names, n=1) if len(word) <= _MAX_CANDIDATES else []
        if close:
            return f"did you mean {shown(close[0])}?"
        return f"known: {', '.join(map(_line, names))}" if 0 < len(names) <= _MAX_LISTED else ""

    def listed(self) -> list[Problem]:
        """All problems, by file in the order of reading, then by line."""
        order = {file: number for number, file in enumerate(self.files)}
        return sorted(self.problems, key=lambda p: (order.get(p.file, -1), p.line))


def shown(text: str | Path) -> str:
    """`text` quoted, on one line, cut if it is long."""
    limit = _SHOWN_CHARACTERS if isinstance(text, str) else _SHOWN_PATH
    text = str(text)
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


def dotted(path: KeyPath) -> str:
    """`("models", 0, "alarm")` as `models[0].alarm`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{_line(key)}" for key in path)
    return text.removeprefix(".")


def _line(text: str) -> str:
    plain = text.isprintable() and text and len(text) <= _MAX_CANDIDATES
    return text if plain else shown(text)
