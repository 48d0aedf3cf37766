"""The child that searches the index: its memory and its encoder are not the daemon's.

On stdin a JSON object a line, on stdout the answer to each: {"op": "search", "question",
"language"}, {"op": "comments", "rows"}, {"op": "documents"}, {"op": "page", "id", "number"}. It
ends with its stdin.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final

from edge_agent.language.documents import Page
from edge_agent.language.encoders import Encoder, embedded_text, open_encoder
from edge_agent.language.index import Document, Index
from edge_agent.language.limits import limit_memory
from edge_agent.language.quotes import Quoter, overview
from edge_agent.language.retrieval import Retriever

_NICE: Final = 10  # somebody waits for it
_MAX_COMMENTS: Final = 2


class Desk:
    """Answers requests; comments: what operators wrote, in an index in memory."""

    def __init__(self, index: Index | None, encoder: Encoder | None, trouble: str = "") -> None:
        self._encoder = encoder
        self._trouble = trouble
        self._retriever = None if index is None else Retriever(index, encoder)
        self._quoter = None if self._retriever is None else Quoter(self._retriever)
        self._comments = Retriever(Index.in_memory(), encoder)
        self._remarks = Quoter(self._comments)
        self._rows: dict[str, dict[str, Any]] = {}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if asked["op"] == "comments":
            return self._add_comments(asked["rows"])
        if asked["op"] == "search":
            return self._search(str(asked["question"]), str(asked["language"]))
        if self._retriever is None:
            return {"documents": [], "text": None, "trouble": self._trouble}
        if asked["op"] == "documents":
            indexed = self._retriever.index.meta("indexed")
            return {"documents": overview(self._retriever), "indexed": indexed}
        page = self._retriever.index.page(str(asked["id"]), int(asked["number"]))
        return {"text": None if page is None else page[0]}

    def _search(self, question: str, language: str) -> dict[str, Any]:
        found: dict[str, Any] = {"passages": [], "nearest": [], "trouble": self._trouble}
        if self._quoter is not None:
            found |= self._quoter.answer(question, language)
        said = self._remarks.answer(question, language)["passages"] if self._rows else []
        comments = [self._rows[one["document"]] | {"text": one["text"]} for one in said]
        return {**found, "comments": comments[:_MAX_COMMENTS]}

    def _add_comments(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Add rows of the audit: row, text, by, subject, action, at_ms."""
        index = self._comments.index
        for row in rows:
            name = str(row["row"])
            self._rows[name] = {key: row[key] for key in ("by", "subject", "action", "at_ms")}
            page = Page(1, str(row["text"]))
            index.add(Document(name.rjust(16, "0"), name, "", 0, 0), [page])
        if self._encoder is not None:
            index.set_meta("encoder", self._encoder.name)
            while batch := index.without_vectors(32):
                texts = [embedded_text(one) for one in batch]
                index.add_vectors([o.id for o in batch], self._encoder.encode_passages(texts))
            index.touch()
        return {"comments": len(self._rows)}


def main() -> int:
    """Answer what comes on stdin until it ends."""
    rules = json.loads(sys.stdin.readline())
    limit_memory(rules["memory"], _NICE)
    encoder, index, trouble = None, None, ""
    try:
        encoder = open_encoder(rules["encoder"], rules["encoder_model"], rules["encoder_key"])
    except (ValueError, OSError, MemoryError) as error:
        trouble = str(error)
    try:
        path = Path(rules["index"])
        if path.exists():
            index = Index.open_to_read(path)
            index.meta("version")
        else:
            trouble = "the index is not made yet"
    except sqlite3.Error as error:
        index, trouble = None, str(error)
    desk = Desk(index, encoder, trouble)
    for line in sys.stdin:
        try:
            answer = desk.answer(json.loads(line))
        except (sqlite3.Error, ValueError, KeyError, TypeError, OSError, MemoryError) as error:
            answer = {"error": " ".join(str(error).split())[:400] or type(error).__name__}
        print(json.dumps(answer), flush=True)  # noqa: T201
    return 0
