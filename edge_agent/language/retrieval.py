"""Search: trigrams, terms with pairs of CJK signs, and an encoder; fused by reciprocal rank.

In the language of the question all three count. Across languages only the encoder does, and codes
of parts and figures, which are the same everywhere (measured: shared/SERVICE.md, docs/language.md).
"""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.language.words import FIRST_DENSE, TRIGRAM, codes, terms, trigrams, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.language.encoders import Encoder
    from edge_agent.language.index import Index, Stored

DEPTH: Final = 50  # of each list
_RRF: Final = 60.0  # Cormack, Clarke, Buettcher 2009
_MAX_TERMS: Final = 200
# Chosen on tests/language/questions.yaml, so the figures of docs/language.md are optimistic.
NEAR_WEIGHT: Final = 0.75
_NEAR_IN_ORDER: Final = 2.0
_RARITY: Final = 1.5
_SORTED: Final = 10  # of the best by rank, sorted by coverage and nearness
_QUERY: Final = (
    "SELECT f.rowid FROM {table} AS f JOIN parts AS t ON t.id = f.rowid"
    " WHERE {table} MATCH ? AND {where} ORDER BY bm25({table}, 2.0, 1.0) LIMIT ?"
)


class Candidate(NamedTuple):
    """A part that may answer a question.

    coverage: share of the question's telling pieces that the part has, 0 to 1; near: the largest
    product of the encoder over its passages, 0 without one; passage: the one to quote.
    """

    passage: Stored
    coverage: float
    near: float

    @property
    def score(self) -> float:
        """What is compared with the threshold of the manual."""
        return self.coverage + NEAR_WEIGHT * self.near


class Retriever:
    """Searches an index; loads the vectors again when the index has changed."""

    def __init__(self, index: Index, encoder: Encoder | None) -> None:
        self.index = index
        self.encoder = encoder
        self._generation = ""
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._parts: NDArray[np.int64] = np.zeros(0, np.int64)  # of each vector's passage
        self._vectors: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._count = 0
        query = "CREATE VIRTUAL TABLE IF NOT EXISTS temp.term_row USING fts5vocab(main, term, row)"
        index.db.execute(query)

    def refresh(self) -> bool:
        """Load what has changed since the last call; True if anything has."""
        generation = self.index.meta("generation")
        if generation == self._generation:
            return False
        self._generation = generation
        self._count = int(self.index.db.execute("SELECT COUNT(*) FROM parts").fetchone()[0])
        if self.encoder is not None and self.index.meta("encoder") == self.encoder.name:
            self._ids, self._parts, self._vectors = self.index.vectors()
        return True

    def search(
        self,
        question: str,
        language: str,
        vector: NDArray[np.float32] | None = None,
    ) -> list[Candidate]:
        """Candidates for a question in a language, the best first; vector: of it, if known."""
        lists = list(self._lexical(question, language))
        near: dict[int, float] = {}
        if self.encoder is not None and len(self._ids):
            if vector is None:
                vector = self.encoder.encode_questions([question])[0]
            products = self._vectors @ vector
            best = self._parts[np.argsort(-products, kind="stable")[: 4 * DEPTH]]
            lists.append(list(dict.fromkeys(best.tolist()))[:DEPTH])
            near = dict(zip(self._ids.tolist(), products.tolist(), strict=True))
        fused = [part for part, _ in fuse(lists)][:DEPTH]
        found = self._candidates(fused, self._weights(question), near)
        covering = sorted((one for one in found if one.coverage > 0), key=lambda one: -one.coverage)
        lists += [[one.passage.part for one in covering]] * 2
        by_part = {one.passage.part: one for one in found}
        ranked = [by_part[part] for part, _ in fuse(lists) if part in by_part]
        return sorted(ranked[:_SORTED], key=_order) + ranked[_SORTED:]

    def _lexical(self, question: str, language: str) -> Iterator[list[int]]:
        """The lists of the two full-text indexes, and of codes in other languages."""
        for table, words in (
            ("trigram", trigrams(question)),
            ("term", terms(question, question=True)),
        ):
            if words:
                yield self._matches(table, words, "t.language = ?", language)
        if words := [one for code in codes(question) for one in terms(code)]:
            yield self._matches("term", words, "t.language != ?", language)

    def _matches(self, table: str, words: Sequence[str], where: str, language: str) -> list[int]:
        quoted = ('"' + word.replace('"', '""') + '"' for word in words[:_MAX_TERMS])
        query = _QUERY.format(table=table, where=where)
        rows = self.index.db.execute(query, (" OR ".join(quoted), language, DEPTH))
        return [int(row[0]) for row in rows]

    def _weights(self, question: str) -> dict[str, float]:
        """How much each piece of a question tells: rare ones the most, unknown ones above all."""
        found: dict[str, float] = {}
        for unit in units(question)[:_MAX_TERMS]:
            count = self._count_of(unit)
            rarity = math.log((self._count + 1) / (min(count, self._count) + 0.5))
            found[unit] = max(rarity, 0.1) ** _RARITY
        return found

    def _count_of(self, unit: str) -> int:
        """How many parts have a piece: inside of words if it is long enough to be searched so."""
        if len(unit) < TRIGRAM or unit[0] >= FIRST_DENSE:
            query = "SELECT doc FROM temp.term_row WHERE term = ?"
            row = self.index.db.execute(query, (unit,)).fetchone()
            return 0 if row is None else int(row[0])
        query = "SELECT COUNT(*) FROM trigram WHERE trigram MATCH ?"
        quoted = '"' + unit.replace('"', '""') + '"'
        return int(self.index.db.execute(query, (quoted,)).fetchone()[0])

    def _candidates(
        self, parts: Sequence[int], weights: Mapping[str, float], near: Mapping[int, float]
    ) -> list[Candidate]:
        by_part: dict[int, list[Stored]] = {}
        for one in self.index.passages(parts):
            by_part.setdefault(one.part, []).append(one)
        return [_candidate(passages, weights, near) for passages in by_part.values()]


def _candidate(
    passages: Sequence[Stored], weights: Mapping[str, float], near: Mapping[int, float]
) -> Candidate:
    """A part with the passage that answers, not the warning beside it, which is shown anyway."""

    def fitness(one: Stored) -> float:
        mine = coverage(weights, f"{one.heading}\n{one.text}")
        return mine + NEAR_WEIGHT * near.get(one.id, 0.0) - one.hazard

    whole = coverage(weights, "\n".join([passages[0].path, *(one.text for one in passages)]))
    return Candidate(max(passages, key=fitness), whole, max(near.get(p.id, 0.0) for p in passages))


def _order(one: Candidate) -> float:
    return -(one.coverage + _NEAR_IN_ORDER * one.near)


def coverage(weights: Mapping[str, float], text: str) -> float:
    """Share of the weights of the pieces that a text has."""
    total = sum(weights.values())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return sum(w for unit, w in weights.items() if unit in folded) / total if total else 0.0


def fuse(lists: Iterable[Sequence[int]]) -> list[tuple[int, float]]:
    """Reciprocal rank fusion of lists of ids, the best first."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, one in enumerate(ranked, 1):
            scores[one] = scores.get(one, 0.0) + 1.0 / (_RRF + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
