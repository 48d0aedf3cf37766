"""The child that reads one file of the manuals: whatever the file does, it does it here.

Arguments: the file, and a JSON object with max_pages, memory and cpu_s. On stdout one JSON object:
pages as [number, text, headings], count and note. Code 3 and a line on stderr: it is refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from edge_agent.language.documents import Page, read_file
from edge_agent.language.limits import limit_reader
from edge_agent.language.pdf import read_pdf

REFUSED: Final = 3
MAX_CHARACTERS: Final = 20_000_000  # of a document


def read(path: Path, max_pages: int) -> tuple[list[Page], int]:
    """The first pages of a file, and how many it has; ValueError if it cannot be read."""
    if path.suffix.lower() == ".pdf":
        return read_pdf(path, max_pages)
    pages = read_file(path)
    return pages[:max_pages], len(pages)


def told(pages: list[Page], count: int) -> dict[str, Any]:
    """What the index child is told, with a note if it is not the whole document."""
    size, kept = 0, list[Page]()
    for page in pages:
        size += len(page.text)
        if size > MAX_CHARACTERS:
            break
        kept.append(page)
    notes = []
    if len(kept) < count:
        notes.append(f"only the first {len(kept)} of {count} pages are indexed")
    if not any(page.text.strip() for page in kept):
        notes.append("no text: a scan needs text recognition (OCR) first")
    rows = [[page.number, page.text, page.headings] for page in kept]
    return {"pages": rows, "count": count, "note": "; ".join(notes)}


def main() -> int:
    """Read the file in the arguments."""
    path, rules = Path(sys.argv[1]), json.loads(sys.argv[2])
    limit_reader(rules["memory"], rules["cpu_s"])
    try:
        found = told(*read(path, rules["max_pages"]))
    except MemoryError:
        print("it needs more memory than manuals.memory", file=sys.stderr)  # noqa: T201
        return REFUSED
    except (ValueError, OSError, RecursionError) as error:
        print(" ".join(str(error).split())[:400] or "unreadable", file=sys.stderr)  # noqa: T201
        return REFUSED
    json.dump(found, sys.stdout, ensure_ascii=True)
    return 0
