"""The pages of a PDF, by pypdfium2 (extra `language`).

Its text is what a viewer would copy, also what is white or behind a picture: text is data here.
"""

from __future__ import annotations

import ctypes
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from edge_agent.language.documents import MAX_PAGE, Heading, Page, heading_level
from edge_agent.language.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MISSING: Final = "PDF files need a package: pip install -r requirements/language.txt"
_MAX_BOOKMARKS: Final = 20_000
_MAX_DEPTH: Final = 6
_MAX_HEADING: Final = 100
_LARGER: Final = 1.15  # times the usual size of a page's letters
_SOFT_HYPHENS: Final = ("\ufffe\n", "\x02\n", "\ufffe", "\x02")


def read_pdf(path: Path, max_pages: int) -> tuple[list[Page], int]:
    """The first `max_pages` pages, and how many there are; ValueError if it is no PDF."""
    try:
        import pypdfium2  # noqa: PLC0415 (an extra)
    except ImportError:
        raise ValueError(MISSING) from None
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"not a readable PDF: {error}") from None
    bookmarks = _bookmarks(document)
    count = len(document)
    pages = [_page(document, i, bookmarks.get(i, ())) for i in range(min(count, max_pages))]
    return pages, count


def _bookmarks(document: Any) -> dict[int, list[tuple[str, int]]]:  # noqa: ANN401 (untyped)
    """Titles and levels of the outline by index of the page."""
    found: dict[int, list[tuple[str, int]]] = {}
    for mark in islice(document.get_toc(max_depth=_MAX_DEPTH), _MAX_BOOKMARKS):
        destination = mark.get_dest()
        index = None if destination is None else destination.get_index()
        title = " ".join(clean(mark.get_title()).split())[:_MAX_HEADING]
        if index is not None and title:
            found.setdefault(index, []).append((title, mark.level + 1))
    return found


def _page(document: Any, index: int, marks: Any) -> Page:  # noqa: ANN401 (untyped)
    try:
        page = document[index]
        try:
            text_page = page.get_textpage()
            raw = str(text_page.get_text_range(0, min(text_page.count_chars(), MAX_PAGE)))
            sizes = list(_line_sizes(text_page, raw))
        finally:
            page.close()  # its text with it
    except Exception:  # noqa: BLE001 (a damaged page: the others go on)
        return Page(index + 1)
    return _with_headings(Page(index + 1), raw, sizes, marks)


def _line_sizes(text_page: Any, raw: str) -> Iterator[float]:  # noqa: ANN401 (untyped)
    """The size of the letters of each line, from its first letter."""
    from pypdfium2 import raw as pdfium  # noqa: PLC0415 (an extra)

    at = 0
    for line in raw.split("\n"):
        skipped = len(line) - len(line.lstrip())
        size = pdfium.FPDFText_GetFontSize(text_page, at + skipped)
        box = pdfium.FS_RECTF()
        # Many files scale a font of size 1: the box of the letter has the true height.
        if pdfium.FPDFText_GetLooseCharBox(text_page, at + skipped, ctypes.byref(box)):
            size = max(abs(box.top - box.bottom), 0.0)
        yield float(size)
        at += len(line) + 1


def _with_headings(page: Page, raw: str, sizes: list[float], marks: Any) -> Page:  # noqa: ANN401
    """Lines in larger letters, numbered like headings, or named by the outline are headings."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n")
    lines = raw.split("\n")
    usual = median([s for s, line in zip(sizes, lines, strict=False) if line.strip()] or [0.0])
    wanted = {_plain(title): level for title, level in marks}
    joined = ""
    for number, line in enumerate(lines):
        shown = clean(line)
        title = " ".join(shown.split())
        size = sizes[number] if number < len(sizes) else usual
        is_large = bool(usual) and size > _LARGER * usual and any(c.isalpha() for c in title)
        level = wanted.get(_plain(title), 0) or heading_level(title) or int(is_large)
        if level and 0 < len(title) <= _MAX_HEADING:
            page.headings.append(Heading(len(joined), title, level))
        cut = any(line.endswith(sign.rstrip("\n")) for sign in _SOFT_HYPHENS[:2])
        joined += shown if cut else shown + "\n"
    page.text = joined.rstrip("\n")
    return page


def _plain(title: str) -> str:
    """A title without its number, spaces and case, to compare that of the outline."""
    return "".join(c for c in title.casefold() if c.isalpha())
