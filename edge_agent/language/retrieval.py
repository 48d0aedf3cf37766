"""Search: full text by trigrams, terms and names of the glossary, and an encoder.

Each language of the index is searched by itself: what is rare and what is near differs. The best of
all are then ordered by what speaks for them (`evidence`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.language.encoders import centre_of, remember_centre, unit
from edge_agent.language.evidence import Evidence, folded, judge, pieces, weigh, weights_of
from edge_agent.language.glossary import LANGUAGES, fold
from edge_agent.language.words import FIRST_DENSE, terms, trigrams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.language.encoders import Encoder
    from edge_agent.language.evidence import Candidate, Piece, Question
    from edge_agent.language.index import Index
    from edge_agent.language.passages import Stored

    Vector = NDArray[np.float32]
    Numbers = NDArray[np.int64]

DEPTH: Final = 40  # parts of a language that are looked at; so many of each list
_RRF: Final = 60.0  # Cormack, Clarke, Buettcher 2009
_MAX_TERMS: Final = 200
_NEAR_WEIGHT: Final = 0.15  # of a standard deviation, against the coverage, to choose a passage
_QUERY: Final = (
    "SELECT f.rowid, -bm25({table}, 2.0, 1.0) FROM {table} AS f JOIN parts AS t ON t.id = f.rowid"
    " WHERE {table} MATCH ? AND t.language = ? ORDER BY bm25({table}, 2.0, 1.0) LIMIT ?"
)
_LAST: Final = "\U0010ffff"
_QUOTED: Final = 10  # of the best; of the others the first passage stands for all
_PRIOR: Final = 5.0  # texts that the mean of few is as sure as


class Retriever:
    """Searches an index; loads the vectors again when the index has changed."""

    def __init__(self, index: Index, encoder: Encoder | None) -> None:
        self.index = index
        self.encoder = encoder
        self._weights = weights_of(None if encoder is None else encoder.name)
        self._generation = ""
        self._parts: dict[str, int] = {}  # of each language
        self._near: dict[str, _Vectors] = {}
        self._counts: dict[str, int] = {}
        query = "CREATE VIRTUAL TABLE IF NOT EXISTS temp.term_row USING fts5vocab(main, term, row)"
        index.db.execute(query)

    def refresh(self) -> bool:
        """Load what has changed since the last call; True if anything has."""
        generation = self.index.meta("generation")
        if generation == self._generation:
            return False
        self._generation = generation
        self._counts.clear()
        self._parts = self.index.languages()
        self._near = {}
        if self.encoder is not None and self.index.meta("encoder") == self.encoder.name:
            for language in LANGUAGES:
                if kept := self.index.meta(f"centre {language}"):
                    remember_centre(self.encoder, language, kept)
            ids, parts, vectors, languages = self.index.vectors()
            for one in self._parts:
                mine = languages == one
                if mine.any():
                    prior = centre_of(self.encoder, one)
                    self._near[one] = _Vectors(ids[mine], parts[mine], vectors[mine], prior)
        return True

    def search(
        self, question: str, language: str, vector: Vector | None = None, only: str = ""
    ) -> list[Candidate]:
        """Candidates for a question in a language, the best first.

        vector: of the question, if known; only: a language of manuals, else all are searched.
        """
        if self.encoder is None or not self._near:
            vector = None
        else:
            if vector is None:
                vector = self.encoder.encode_questions([question])[0]
            about = vector.astype(np.float32) - centre_of(self.encoder, language)
            vector = unit(about)[0]
        found: list[_Found] = []
        for target in (one for one in self._parts if only in {"", one}):
            found += self._in_language(question, language, target, vector)
        found.sort(key=lambda one: (-one.candidate.rank, one.candidate.passage.id))
        return [one.quoted() for one in found[:_QUOTED]] + [
            one.candidate for one in found[_QUOTED:]
        ]

    def _in_language(
        self, question: str, language: str, target: str, vector: Vector | None
    ) -> list[_Found]:
        """What is found in one language of the index."""
        is_own = language == target
        wanted, lost = pieces(question, language, target)
        near = _Near()
        if vector is not None and target in self._near:
            near = self._near[target].near(vector)
        lists = self._full_text(question, wanted, target, is_own=is_own)
        places = [*(list(one) for one in lists.values()), near.best()]
        pool = [part for part, _ in fuse(places)][:DEPTH]
        counts = [self._count(piece) for piece in wanted]
        asked = weigh(wanted, counts, lost, self._parts[target])
        shares = {name: _shares(scores) for name, scores in lists.items()}
        found = []
        for passages in self._of_parts(pool):
            evidence = _evidence(passages, asked, shares, near, is_own=is_own)
            candidate = judge(passages[0], evidence, self._weights)
            found.append(_Found(candidate, passages, asked, near))
        return found

    def _full_text(
        self, question: str, wanted: Sequence[Piece], target: str, *, is_own: bool
    ) -> dict[str, dict[int, float]]:
        """Parts with their BM25, by the name of the list."""
        names = [" ".join(terms(name)) for piece in wanted for name in piece.others or piece.own]
        lists = {"names": self._matches("term", names, target)}
        if is_own:
            lists["trigrams"] = self._matches("trigram", trigrams(question), target)
            lists["terms"] = self._matches("term", terms(question, question=True), target)
        return lists

    def _matches(self, table: str, words: Iterable[str], language: str) -> dict[int, float]:
        distinct = list(dict.fromkeys(word for word in words if word))[:_MAX_TERMS]
        if not distinct:
            return {}
        quoted = ('"' + word.replace('"', '""') + '"' for word in distinct)
        query = _QUERY.format(table=table)
        rows = self.index.db.execute(query, (" OR ".join(quoted), language, DEPTH))
        return {int(part): float(score) for part, score in rows}

    def _count(self, piece: Piece) -> int:
        """In how many parts a piece is, about."""
        return sum(self._count_of(word) for word in piece.words)

    def _count_of(self, word: str) -> int:
        """Parts with words that begin so; of Chinese and Japanese, with its rarest pair."""
        if word not in self._counts:
            tokens = terms(word)
            if word[:1] >= FIRST_DENSE and len(word) > 1:
                tokens = [word[i : i + 2] for i in range(len(word) - 1)]
            self._counts[word] = min((self._parts_with(one) for one in tokens), default=0)
        return self._counts[word]

    def _parts_with(self, token: str) -> int:
        last = token if token[0] >= FIRST_DENSE else token + _LAST
        query = "SELECT COALESCE(SUM(doc), 0) FROM temp.term_row WHERE term >= ? AND term <= ?"
        return int(self.index.db.execute(query, (token, last)).fetchone()[0])

    def _of_parts(self, parts: Sequence[int]) -> Iterable[list[Stored]]:
        by_part: dict[int, list[Stored]] = {}
        for one in self.index.passages(parts):
            by_part.setdefault(one.part, []).append(one)
        return by_part.values()


class _Near:
    """How near the parts of a language are to a question, and their passages."""

    def __init__(self, parts: Sequence[int] = (), nearest: Vector | None = None) -> None:
        self._products = np.zeros(0) if nearest is None else nearest
        mean, deviation = 0.0, 1.0
        if len(self._products):
            mean, deviation = float(self._products.mean()), float(self._products.std()) + 1e-6
        self._parts = parts
        self._places = {part: place for place, part in enumerate(parts)}
        self._mean, self._deviation = mean, deviation
        self.passages: Mapping[int, float] = {}

    def best(self) -> list[int]:
        """Parts, the nearest first."""
        order = np.argsort(-self._products, kind="stable")[:DEPTH]
        return [self._parts[place] for place in order]

    def of(self, part: int) -> tuple[float, float]:
        """The largest product, and the same in standard deviations; zeros if none is known."""
        place = self._places.get(part)
        if place is None:
            return 0.0, 0.0
        product = float(self._products[place])
        return product, (product - self._mean) / self._deviation

    def of_passage(self, passage: int) -> float:
        """The product of one passage, in standard deviations."""
        return (self.passages.get(passage, self._mean) - self._mean) / self._deviation


class _Vectors:
    """The vectors of the passages of one language, about their mean.

    Without the mean, which says what language a text is in and little more, an encoder finds texts
    in other languages much better (docs/adr/0022).
    """

    def __init__(self, ids: Numbers, parts: Numbers, vectors: Vector, prior: Vector) -> None:
        mean = (vectors.sum(0) + _PRIOR * prior) / (len(vectors) + _PRIOR)
        self._vectors = unit(vectors - mean)
        self._ids = ids
        self._parts, self._places = np.unique(parts, return_inverse=True)

    def near(self, vector: Vector) -> _Near:
        """How near all of them are to a question, which is about its own mean."""
        products = self._vectors @ vector
        nearest = np.full(len(self._parts), -1.0)
        np.maximum.at(nearest, self._places, products)
        found = _Near(self._parts.tolist(), nearest)
        found.passages = dict(zip(self._ids.tolist(), products.tolist(), strict=True))
        return found


def _evidence(
    passages: Sequence[Stored],
    asked: Question,
    shares: Mapping[str, Mapping[int, float]],
    near: _Near,
    *,
    is_own: bool,
) -> Evidence:
    path, text = folded(passages)
    part = passages[0].part
    trigram, term, name = (
        shares.get(one, {}).get(part, 0.0) for one in ("trigrams", "terms", "names")
    )
    covered, in_heading = asked.coverage(text), asked.coverage(path)
    return Evidence(covered, in_heading, trigram, term, name, *near.of(part), is_own)


class _Found(NamedTuple):
    """A candidate with all its passages, before one is chosen."""

    candidate: Candidate
    passages: Sequence[Stored]
    asked: Question
    near: _Near

    def quoted(self) -> Candidate:
        """With the passage that answers, not the warning beside it, which is shown anyway."""
        return self.candidate._replace(passage=max(self.passages, key=self._fitness))

    def _fitness(self, one: Stored) -> float:
        mine = self.asked.coverage(fold(f"{one.heading}\n{one.text}"))
        return mine + _NEAR_WEIGHT * self.near.of_passage(one.id) - one.hazard


def _shares(scores: Mapping[int, float]) -> dict[int, float]:
    most = max(scores.values(), default=0.0)
    return {part: score / most for part, score in scores.items()} if most > 0 else {}


def fuse(lists: Iterable[Sequence[int]]) -> list[tuple[int, float]]:
    """Reciprocal rank fusion of lists of ids, the best first."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, one in enumerate(ranked, 1):
            scores[one] = scores.get(one, 0.0) + 1.0 / (_RRF + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
