"""Markdown, HTML and plain text as numbered pages with headings; PDF is in `pdf`.

A page is what an answer links to. Files without pages get some: a new one begins at a form feed, or
at a heading when the page is long enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.language.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_PAGE: Final = 20_000  # characters; the rest of a longer page is not indexed
_FULL: Final = 3000  # a heading then begins a new page
_LONGEST: Final = 8000  # any paragraph then does
_MAX_HEADING: Final = 120
_MARKDOWN: Final = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-{3,})\s*$")
_FENCE: Final = re.compile(r"\s{0,3}(```|~~~)")
_COMMENT: Final = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_NUMBERED: Final = re.compile(r"(\d{1,2}(?:\.\d{1,2}){1,4})\.?\s+[^\s\d].*[^.,;:。、；：]$")  # noqa: RUF001
_CHAPTER: Final = re.compile(
    r"(?:第\s*[0-9一二三四五六七八九十百]+\s*[章节節部编編]|(?:Chapter|Kapitel|Section|Abschnitt)\s+\d+).*"
)
_CAPITALS: Final = re.compile(r"[^a-zß]*[A-ZÄÖÜ]{4}[^a-zß]*")
_CHARSET: Final = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)


class Block(NamedTuple):
    """A paragraph or a heading; level: 1 to 6 of a heading, 0 of a paragraph."""

    text: str
    level: int = 0


class Heading(NamedTuple):
    """A heading and where on its page it begins."""

    offset: int
    text: str
    level: int


@dataclass(slots=True)
class Page:
    """The text of a page, as it is stored and quoted."""

    number: int
    text: str = ""
    headings: list[Heading] = field(default_factory=list)

    def add(self, block: Block) -> None:
        """Append a block, after an empty line."""
        room = MAX_PAGE - len(self.text) - 2
        text = block.text.strip("\n")[: max(room, 0)]
        if not text.strip():
            return
        self.text += "\n\n" if self.text else ""
        if block.level:
            title = " ".join(text.split())[:_MAX_HEADING]
            self.headings.append(Heading(len(self.text), title, block.level))
        self.text += text


def read_file(path: Path) -> list[Page]:
    """The pages of a Markdown, HTML or text file, by its suffix."""
    raw = path.read_bytes()
    suffix = path.suffix.lower()
    text = _decoded(raw, is_html=suffix in HTML)
    if suffix in HTML:
        return paged(_html_blocks(text))
    blocks = _markdown_blocks(clean_lines(text)) if suffix in MARKDOWN else _text_blocks(text)
    return paged(blocks)


HTML: Final = frozenset({".html", ".htm", ".xhtml"})
MARKDOWN: Final = frozenset({".md", ".markdown"})
TEXT: Final = frozenset({".txt", ".text", ".rst", ".asc"})


def _decoded(raw: bytes, *, is_html: bool) -> str:
    """UTF-8 or UTF-16 with its mark, what an HTML file says, else Windows-1252."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    named = _CHARSET.search(raw[:2048]) if is_html else None
    try:
        return raw.decode(named[1].decode() if named else "cp1252", "replace")
    except LookupError:
        return raw.decode("cp1252", "replace")


def clean_lines(text: str) -> str:
    """A Markdown text without its comments, which no reader of the page sees."""
    return _COMMENT.sub("", text)


def paged(blocks: Iterable[Block]) -> list[Page]:
    """Pages of a file that has none of its own; a block of a form feed begins a new one."""
    pages = [Page(1)]
    for block in blocks:
        size = len(pages[-1].text)
        if block.text == "\f" or size > (_FULL if block.level else _LONGEST):
            if size:
                pages.append(Page(len(pages) + 1))
            if block.text == "\f":
                continue
        pages[-1].add(block)
    return pages


# Markdown -----------------------------------------------------------------------------------------


def _markdown_blocks(text: str) -> Iterator[Block]:
    lines: list[str] = []
    fenced = False
    for line in clean(text).split("\n"):
        fenced ^= bool(_FENCE.match(line))
        if fenced:
            lines.append(line)
        elif match := _MARKDOWN.match(line):
            yield from _paragraph(lines)
            yield Block(match[2], len(match[1]))
        elif _UNDERLINE.match(line) and len(lines) == 1 and lines[0].strip():
            yield Block(lines.pop(), 1 if "=" in line else 2)
        elif line.strip():
            lines.append(line)
        else:
            yield from _paragraph(lines)
    yield from _paragraph(lines)


def _paragraph(lines: list[str]) -> Iterator[Block]:
    if lines:
        yield Block("\n".join(lines))
        lines.clear()


# Plain text ---------------------------------------------------------------------------------------


def _text_blocks(text: str) -> Iterator[Block]:
    """Paragraphs between empty lines; a lone line that looks like a heading is one."""
    for number, part in enumerate(text.split("\f")):
        if number:
            yield Block("\f")
        lines: list[str] = []
        for line in [*clean(part).split("\n"), ""]:
            if _UNDERLINE.match(line) and len(lines) == 1:
                yield Block(lines.pop(), 1 if "=" in line else 2)
            elif line.strip():
                lines.append(line)
            elif lines:
                level = heading_level(lines[0])
                if level:
                    yield Block(lines.pop(0), level)
                yield from _paragraph(lines)


def heading_level(line: str) -> int:
    """The level of a line that looks like a heading: numbered, a chapter, capitals; else 0."""
    line = line.strip()
    if not 0 < len(line) <= _MAX_HEADING:
        return 0
    if match := _NUMBERED.fullmatch(line):
        return match[1].count(".") + 1
    if _CHAPTER.fullmatch(line) or (_CAPITALS.fullmatch(line) and line[-1] not in ".:!"):
        return 1
    return 0


# HTML ---------------------------------------------------------------------------------------------

_UNSEEN: Final = frozenset({"script", "style", "template", "noscript", "head", "svg", "object"})
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
_INLINE: Final = frozenset(
    {"a", "abbr", "b", "code", "em", "i", "kbd", "mark", "q", "s", "small", "span", "strong"}
    | {"sub", "sup", "tt", "u", "var", "font", "img", "wbr", "cite", "dfn", "samp", "label"}
)
_HIDING: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])",
    re.IGNORECASE,
)
_MAX_DEPTH: Final = 2000


def _html_blocks(text: str) -> list[Block]:
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    reader.end_block()
    return reader.blocks


class _HtmlReader(HTMLParser):
    """Collects what a browser would show as paragraphs and headings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._open: list[tuple[str, bool]] = []  # (tag, True if it hides its content)
        self._hidden = 0
        self._level = 0
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a block, or something that is not shown."""
        if tag not in _INLINE:
            self.end_block(keep_level=tag == "br")
        if tag in _VOID or len(self._open) >= _MAX_DEPTH:
            return
        given = dict(attrs)
        hides = (
            tag in _UNSEEN or "hidden" in given or bool(_HIDING.search(given.get("style") or ""))
        )
        self._open.append((tag, hides))
        self._hidden += hides
        if re.fullmatch("h[1-6]", tag):
            self._level = int(tag[1])

    def handle_endtag(self, tag: str) -> None:
        """End the block, and what was not closed inside it."""
        if tag not in _INLINE:
            self.end_block()
        if not any(name == tag for name, _ in self._open):
            return
        while self._open:
            name, hides = self._open.pop()
            self._hidden -= hides
            if name == tag:
                break

    def handle_data(self, data: str) -> None:
        """Keep what is shown."""
        if not self._hidden:
            self._text.append(data)

    def end_block(self, *, keep_level: bool = False) -> None:
        """Finish the paragraph or the heading so far."""
        text = " ".join(clean("".join(self._text)).split())
        if text:
            self.blocks.append(Block(text, self._level))
        self._text.clear()
        if not keep_level:
            self._level = 0
