"""Words of plants in four languages (glossary.txt): how a question says a thing, how a manual may.

A question and a manual in different languages have few letters in common; these rows join them.
Within one language they are synonyms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LANGUAGES: Final = ("en", "de", "zh", "ja")
_FILE: Final = Path(__file__).with_name("glossary.txt")
_DENSE: Final = re.compile("[\u3041-\u30ff\u3400-\u9fff]")
_ENDING: Final = "(?:s|es|n|en|e|er|ed|d)?(?![^\\W_])"


class Row(NamedTuple):
    """The names of one thing by language, and what finds them in a question."""

    names: dict[str, tuple[str, ...]]
    patterns: dict[str, re.Pattern[str]]


class Said(NamedTuple):
    """What a question says of a row: the words as they stand in it, and the row's names."""

    words: tuple[str, ...]
    names: dict[str, tuple[str, ...]]


def fold(text: str) -> str:
    """A text as it is compared: one width of letters, no capitals."""
    return unicodedata.normalize("NFKC", text).casefold()


@lru_cache(maxsize=64)
def said_in(question: str, language: str) -> list[Said]:
    """The rows that a question in a language names; of overlapping ones the longest name."""
    text = fold(question)
    found = [
        (match.start(), match.end(), number)
        for number, row in enumerate(_rows())
        if any(name in text for name in row.names.get(language, ()))
        for match in row.patterns[language].finditer(text)
    ]
    found.sort(key=lambda one: (one[0] - one[1], one[0]))
    words: dict[int, list[str]] = {}
    kept: list[tuple[int, int]] = []
    for start, end, number in found:
        longer = (a <= start and end <= b and b - a > end - start for a, b in kept)
        if not any(longer):
            kept.append((start, end))
            words.setdefault(number, []).append(text[start:end])
    return [Said(tuple(texts), _rows()[number].names) for number, texts in words.items()]


def names_in(language: str) -> list[str]:
    """The first name of each row in a language."""
    return [row.names[language][0] for row in _rows() if row.names.get(language)]


@cache
def _rows() -> Sequence[Row]:
    return list(_read(_FILE.read_text("utf-8")))


def _read(text: str) -> Iterator[Row]:
    """The rows of a file: languages between semicolons, names between commas."""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        columns = [[fold(name.strip()) for name in cell.split(",")] for cell in line.split(";")]
        named = {
            language: [name for name in names if name != "-"]
            for language, names in zip(LANGUAGES, columns, strict=True)
        }
        yield Row(
            {key: tuple(name.rstrip("*") for name in names) for key, names in named.items()},
            {key: _pattern(names) for key, names in named.items() if names},
        )


def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(_one(name) for name in longest_first))


def _one(name: str) -> str:
    if _DENSE.search(name):
        return re.escape(name)
    begin = r"(?<![^\W_])"
    return begin + (re.escape(name[:-1]) if name.endswith("*") else re.escape(name) + _ENDING)
