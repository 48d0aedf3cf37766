"""Pages cut into passages: pieces of one section, each a stretch of its page word for word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.language.words import is_dense

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_agent.language.documents import Heading, Page

_LONG: Final = 700  # characters of a passage, about; a third of that in Chinese and Japanese
_DENSE: Final = 3
_PART: Final = 6 * _LONG  # the same of a part of a section, the unit that is ranked
_PIECE: Final = re.compile(r"\S(?:.|\n(?!\s*\n))*", re.MULTILINE)
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[。！？])|\n")  # noqa: RUF001
# Signal words of ANSI Z535, ISO 3864 and GB 2894: in capitals, or before a colon.
_HAZARD: Final = re.compile(
    r"^[\s*_>|【\[(!⚠\ufe0f-]*(?:"
    r"(?:DANGER|WARNING|CAUTION|GEFAHR|WARNUNG|VORSICHT)\b"
    r"|(?:Danger|Warning|Caution|Gefahr|Warnung|Vorsicht)\s*[*_]*[:!]"
    r"|(?:危険|危险|警告)(?![\w\u3040-\u30ff\u4e00-\u9fff])"
    r"|(?:注意|小心|当心)\s*[*_】\]]*(?:[:：!！]|\s|$))",  # noqa: RUF001
    re.MULTILINE,
)


class Passage(NamedTuple):
    """A passage; start, end: of its text on the page; section, part: numbers within the document.

    heading: of its section; path: the headings above it. hazard: it begins with a signal word.
    part: a section, or a piece of one that is long.
    """

    page: int
    start: int
    end: int
    text: str
    heading: str
    path: str
    section: int
    hazard: bool
    part: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """A passage of the index; part: what is ranked, see `Passage`."""

    id: int
    part: int
    document: str
    page: int
    text: str
    heading: str
    path: str
    section: int
    hazard: bool
    language: str
    name: str
    revision: str


def page_hash(text: str) -> str:
    """The SHA-256 of the text of a page."""
    return sha256(text.encode()).hexdigest()


def cut(pages: Iterable[Page]) -> Iterator[Passage]:
    """The passages of a document in their order; a section goes on over pages."""
    part, section, size = 0, -1, 0
    for one in _passages(pages):
        if one.section != section or size > _longest(one.text, _PART):
            part, section, size = part + 1, one.section, 0
        size += len(one.text)
        yield one._replace(part=part)


def _passages(pages: Iterable[Page]) -> Iterator[Passage]:
    above: list[Heading] = []
    section = 0
    for page in pages:
        marks = sorted(page.headings)
        ends = [mark.offset for mark in marks] + [len(page.text)]
        yield from _section(page, 0, ends[0], above, section)
        for mark, end in zip(marks, ends[1:], strict=True):
            above = [one for one in above if one.level < mark.level] + [mark]
            section += 1
            begin = page.text.find("\n", mark.offset)
            if 0 <= begin < end:
                yield from _section(page, begin, end, above, section)


def _section(
    page: Page, start: int, end: int, above: Sequence[Heading], section: int
) -> Iterator[Passage]:
    """The passages of a section on one page."""
    heading = above[-1].text if above else ""
    path = " / ".join(one.text for one in above)
    for first, last in _stretches(page.text, start, end):
        text = page.text[first:last]
        hazard = _HAZARD.match(text) is not None
        yield Passage(page.number, first, last, text, heading, path, section, hazard)


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs together up to the length of a passage; one with a signal word stands alone."""
    begin = last = -1
    for first, stop in _pieces(text, start, end):
        alone = _HAZARD.match(text, first, stop) is not None
        if begin >= 0 and (alone or stop - begin > _longest(text[begin:stop])):
            yield begin, last
            begin = -1
        if alone:
            yield first, stop
            continue
        begin, last = (first if begin < 0 else begin), stop
    if begin >= 0:
        yield begin, last


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs, those that are too long cut at sentences and lines, and before signal words."""
    for match in _PIECE.finditer(text, start, end):
        first, stop = match.start(), match.start() + len(match[0].rstrip())
        hazards = [m.start() for m in _HAZARD.finditer(text, first, stop)]
        borders = sorted({first, *(h for h in hazards if h > first), stop})
        for one, following in pairwise(borders):
            yield from _sentences(text, one, following)


def _sentences(text: str, first: int, stop: int) -> Iterator[tuple[int, int]]:
    longest = _longest(text[first:stop])
    if stop - first <= longest:
        yield _trimmed(text, first, stop)
        return
    begin = end = first
    for border in [m.end() for m in _SENTENCE.finditer(text, first, stop)] + [stop]:
        if border - begin > longest and end > begin:
            yield _trimmed(text, begin, end)
            begin = end
        while border - begin > 2 * longest:  # no sentence ends here
            yield _trimmed(text, begin, begin + longest)
            begin += longest
        end = border
    if stop > begin:
        yield _trimmed(text, begin, stop)


def _trimmed(text: str, first: int, stop: int) -> tuple[int, int]:
    piece = text[first:stop]
    first += len(piece) - len(piece.lstrip())
    return first, first + len(piece.strip())


def _longest(text: str, longest: int = _LONG) -> int:
    return longest // _DENSE if is_dense(text) else longest
