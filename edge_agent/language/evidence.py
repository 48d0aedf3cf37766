"""What speaks for a part of a manual as the answer to a question, and how much it counts.

The weights were fitted on tests/language/questions.yaml, tests/language/fresh1 and one half of the
titles of Debian Reference; docs/language.md has the figures of what they were not fitted on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.language.glossary import fold, said_in
from edge_agent.language.words import codes, units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.language.passages import Stored

_OTHER_WORD: Final = 0.9  # of a synonym, against the word of the question
_UNEXPLAINED: Final = 0.5  # of a word that the other language's manual cannot be searched for
_RARITY: Final = 1.5
# The same section often is in manuals of several languages: the reader's own comes first.
_OTHER_LANGUAGE: Final = -4.0


class Piece(NamedTuple):
    """A piece of a question: the words as it says them, and others that say the same."""

    own: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys(self.own + self.others))


def pieces(question: str, language: str, target: str) -> tuple[list[Piece], int]:
    """What to look for in texts of the target language, and how many words are lost on the way."""
    rows = said_in(question, language)
    own = units(question)
    explained = {unit for row in rows for unit in own for word in row.words if _same(unit, word)}
    found = [
        Piece(
            tuple(u for u in own if language == target and any(_same(u, w) for w in row.words)),
            row.names.get(target, ()),
        )
        for row in rows
    ]
    left = [unit for unit in own if unit not in explained]
    if language == target:
        found += [Piece((unit,)) for unit in left]
        return [one for one in found if one.words], 0
    figures = codes(question)
    found += [Piece((code,)) for code in figures]
    joined = " ".join(figures)
    return [one for one in found if one.words], sum(unit not in joined for unit in left)


def _same(unit: str, word: str) -> bool:
    return unit in word or word.startswith(unit) or word in unit


class Question(NamedTuple):
    """A question to texts of one language: its pieces with their weights, and the lost weight."""

    weighted: Sequence[tuple[Piece, float]]
    total: float

    def coverage(self, text: str) -> float:
        """Share of the weights that a folded text has, 0 to 1."""
        if not self.total:
            return 0.0
        return sum(weight * _has(piece, text) for piece, weight in self.weighted) / self.total


def weigh(found: Sequence[Piece], counts: Sequence[int], lost: int, parts: int) -> Question:
    """Rare pieces tell the most; counts: in how many of the parts each piece is."""
    weights = [_rarity(min(count, parts), parts) for count in counts]
    total = sum(weights) + lost * _UNEXPLAINED * _rarity(0, parts)
    return Question(list(zip(found, weights, strict=True)), total)


def _rarity(count: int, parts: int) -> float:
    return float(max(math.log((parts + 1) / (count + 0.5)), 0.1) ** _RARITY)


def _has(piece: Piece, text: str) -> float:
    if any(word in text for word in piece.own):
        return 1.0
    others = _OTHER_WORD if piece.own else 1.0
    return others if any(word in text for word in piece.others) else 0.0


class Evidence(NamedTuple):
    """What speaks for a part. Shares are 0 to 1, of the best in its language.

    coverage, in_heading: of the question; trigrams, terms, names: of the full-text indexes, names
    with the glossary. near: product of the encoder; nearness: the same in standard deviations
    above the texts of its language. is_own: question and part have one language.
    """

    coverage: float
    in_heading: float
    trigrams: float
    terms: float
    names: float
    near: float
    nearness: float
    is_own: bool


class Candidate(NamedTuple):
    """A part that may answer; passage: the one to quote. rank: the larger the better.

    score: how probable it is that it answers, 0 to 1; compared with the threshold of its manual.
    """

    passage: Stored
    evidence: Evidence
    rank: float
    score: float


class Weights(NamedTuple):
    """Of an encoder: in the order of the first five of `Evidence`, then nearness and constant.

    sure: of coverage, near, nearness and the constant.
    """

    own: tuple[float, ...]
    foreign: tuple[float, ...]
    own_sure: tuple[float, float, float, float]
    foreign_sure: tuple[float, float, float, float]


# By the name of the encoder; of another one, only what does not depend on its scale.
WEIGHTS: Final = {
    "": Weights(
        (3.39, 2.79, 1.61, 3.57, 1.8, 0, 0),
        (9.16, 4.03, 0, 0, 2.14, 0, -0.26),
        (6.49, 0, 0, -0.6),
        (6.17, 0, 0, -2.06),
    ),
    "use": Weights(
        (0.66, 3.84, 0.1, 4.25, 0.9, 1.13, 0),
        (9.88, 3.78, 0, 0, 1.03, 1.56, -0.37),
        (6.4, 9.01, 0.98, -5.97),
        (7.31, 16.13, 0.21, -5.58),
    ),
    "e5": Weights(
        (2.31, 1.06, 0, 3.73, 1.06, 2.25, 0),
        (11.52, 2.54, 0, 0, 1.16, 1.66, -0.09),
        (4.93, 13.01, 0.34, -5.91),
        (7.12, 20.19, 0, -5.26),
    ),
    "use+e5": Weights(
        (0.23, 3.07, 0, 3.44, 0.94, 1.52, 0),
        (8.93, 2.58, 0, 0, 0.85, 1.82, -0.62),
        (4.92, 15.78, 0.57, -6.86),
        (6.87, 22.56, 0.36, -6.61),
    ),
    "server": Weights(
        (0.23, 3.07, 0, 3.44, 0.94, 1.52, 0),
        (8.93, 2.58, 0, 0, 0.85, 1.82, -0.62),
        (5.52, 0, 1.52, -5.54),
        (6.93, 0, 1.73, -5.69),
    ),
}


def weights_of(encoder: str | None) -> Weights:
    """The weights for an encoder of a name; None: there is none."""
    return WEIGHTS.get("" if encoder is None else encoder) or WEIGHTS["server"]


def judge(passage: Stored, evidence: Evidence, weights: Weights) -> Candidate:
    """A part with its place and its score."""
    values = (*evidence[:5], evidence.nearness, 1.0)
    sure = (evidence.coverage, evidence.near, evidence.nearness, 1.0)
    of_rank, of_score = weights.foreign, weights.foreign_sure
    if evidence.is_own:
        of_rank, of_score = weights.own, weights.own_sure
    rank = sum(a * b for a, b in zip(of_rank, values, strict=True))
    rank += 0.0 if evidence.is_own else _OTHER_LANGUAGE
    logit = sum(a * b for a, b in zip(of_score, sure, strict=True))
    return Candidate(passage, evidence, rank, 1 / (1 + math.exp(-max(min(logit, 50.0), -50.0))))


def folded(passages: Sequence[Stored]) -> tuple[str, str]:
    """The headings and the whole text of a part, to be compared."""
    path = fold(passages[0].path)
    return path, "\n".join([path, *(fold(one.text) for one in passages)])
