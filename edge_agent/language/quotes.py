"""Quotes for a question: what is found, checked word by word against the stored page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.language.calibration import read
from edge_agent.language.passages import page_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.language.calibration import Calibration
    from edge_agent.language.evidence import Candidate
    from edge_agent.language.passages import Stored
    from edge_agent.language.retrieval import Retriever

    Quote = tuple[Stored, float, str]  # with its score and its role

MAX_PASSAGES: Final = 3
MAX_NEAREST: Final = 3
_FURTHER: Final = 0.75  # of the rank of the best: a further passage answers too, or is not shown
_MAX_WARNINGS: Final = 4


class Quoter:
    """Answers from one index."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._limits: dict[str, Calibration] = {}

    def answer(self, question: str, language: str) -> dict[str, Any]:
        """The passages that answer, warnings of their sections first; else the nearest headings."""
        if self._retriever.refresh():
            documents = self._retriever.index.documents()
            self._limits = {one.id: read(one.calibration) for one in documents}
        found = self._retriever.search(question, language)
        good = self._good(found, language)
        quotes = [(one.passage, one.score, "passage") for one in good]
        rows = [self._row(*one) for one in self._warnings(quotes) + quotes]
        passages = [row for row in rows if row is not None]
        headings = [] if passages else dict.fromkeys(one.passage.heading for one in found)
        return {"passages": passages, "nearest": [one for one in headings if one][:MAX_NEAREST]}

    def _good(self, found: Sequence[Candidate], language: str) -> list[Candidate]:
        """Those that answer, all of the language of the best one or all of others.

        If the best of all does not pass its threshold, the others are no answer either.
        """
        if not found or not self.is_good(found[0], language):
            return []
        is_own = found[0].evidence.is_own
        least = _FURTHER * found[0].rank
        group = [one for one in found if one.evidence.is_own == is_own and one.rank >= least]
        return [one for one in group[:MAX_PASSAGES] if self.is_good(one, language)]

    def _warnings(self, quotes: Sequence[Quote]) -> list[Quote]:
        """The passages with signal words in the sections of the quotes."""
        shown = {one.id for one, _, _ in quotes}
        warnings: list[Quote] = []
        for one, score, _ in quotes:
            for hazard in self._retriever.index.hazards(one):
                if hazard.id not in shown and len(warnings) < _MAX_WARNINGS:
                    shown.add(hazard.id)
                    warnings.append((hazard, score, "warning"))
        return warnings

    def is_good(self, one: Candidate, language: str) -> bool:
        """True if a candidate passes the threshold of its manual."""
        limits = self._limits[one.passage.document]
        return one.score >= limits.threshold(one.passage.language, language)

    def _row(self, one: Stored, score: float, role: str) -> dict[str, Any] | None:
        """A quote; None if the stored page does not hold it word for word."""
        stored = self._retriever.index.page(one.document, one.page)
        if stored is None or one.text not in stored[0] or page_hash(stored[0]) != stored[1]:
            return None
        return {
            "text": one.text,
            "document": one.name,
            "revision": one.revision,
            "page": one.page,
            "heading": one.heading,
            "sha256": stored[1],
            "url": f"/api/manuals/{one.document}/page/{one.page}",
            "score": round(score, 3),
            "role": role,
            "language": one.language,
        }


def overview(retriever: Retriever) -> list[Mapping[str, Any]]:
    """Every document with what is known of it."""
    return [
        {
            "id": one.id,
            "document": one.name,
            "revision": one.revision,
            "language": one.language,
            "pages": one.pages,
            "sha256": one.sha256,
            "note": one.note,
            "calibration": one.calibration,
        }
        for one in retriever.index.documents()
    ]
