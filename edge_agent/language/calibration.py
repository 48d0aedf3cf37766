"""When a manual says nothing to a question: a threshold for each manual and language of a question.

Each sentence of a manual is a question whose answer, its whole section, is left out. What the rest
of the manual then scores is a wrong answer, and a hard one: it is about the same machine. Each
heading is a question whose answer is there. In another language the questions are the names that
the glossary has for the words of the sentence or heading. Both rates are kept and shown.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.language.glossary import LANGUAGES, said_in
from edge_agent.language.words import codes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.language.evidence import Candidate
    from edge_agent.language.index import Document
    from edge_agent.language.passages import Stored
    from edge_agent.language.retrieval import Retriever

    Asked = tuple[Stored, str]  # a question with the passage it is made of

WRONG_ANSWERS: Final = 0.15  # of questions whose section is left out
FEWEST: Final = 12  # questions; a smaller manual uses the usual threshold
_MOST: Final = 60
_MOST_FOREIGN: Final = 16
_SHORTEST: Final = 12  # characters; a third of that in Chinese and Japanese
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])|\n\s*\n")  # noqa: RUF001
# Fitted as the weights of `evidence`: about one in twenty questions without an answer passes them.
USUAL: Final = 0.72
USUAL_FOREIGN: Final = 0.55
# A sentence is no question: what a manual's own sentences score moves its threshold so far only.
_MOVES: Final = (-0.1, 0.05)


@dataclass(frozen=True, slots=True)
class Rates:
    """A threshold and what was measured with it.

    answered: share of headings that their own section answers; wrong: share of `questions` that are
    answered although their section is left out. None: too few to say.
    """

    threshold: float = USUAL
    answered: float | None = None
    wrong: float | None = None
    questions: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of a manual: for questions in its language, and in each other one."""

    own: Rates = Rates()
    foreign: Mapping[str, Rates] = field(default_factory=dict)

    def threshold(self, language: str, asked_in: str) -> float:
        """That of a manual in a language for a question in one."""
        if language == asked_in:
            return self.own.threshold
        return self.foreign.get(asked_in, Rates(USUAL_FOREIGN)).threshold


def calibrate(retriever: Retriever, document: Document) -> Calibration:
    """The calibration of a document in the index."""
    passages = retriever.index.passages_of(document.id)
    sentences, headings = list(_sentences(passages)), list(_headings(passages))
    own = _rates(
        retriever, _some(sentences, _MOST), _some(headings, _MOST), document.language, USUAL
    )
    foreign = {}
    for language in LANGUAGES:
        if language != document.language:
            said = _some(list(_translated(sentences, language)), _MOST_FOREIGN)
            titles = _some(list(_translated(headings, language)), _MOST_FOREIGN)
            foreign[language] = _rates(retriever, said, titles, language, USUAL_FOREIGN)
    return Calibration(own, foreign)


def _rates(
    retriever: Retriever,
    sentences: Sequence[Asked],
    headings: Sequence[Asked],
    language: str,
    usual: float,
) -> Rates:
    """The threshold by the sentences, and both rates."""
    wrong = [
        max((one.score for one in found if one.passage.section != home.section), default=0.0)
        for home, found in _ask(retriever, sentences, language)
    ]
    if len(wrong) < FEWEST:
        return Rates(usual)
    lowest, highest = (usual + one for one in _MOVES)
    threshold = float(np.clip(np.quantile(wrong, 1 - WRONG_ANSWERS), lowest, highest))
    right = [
        found[0].passage.heading == home.heading and found[0].score >= threshold if found else False
        for home, found in _ask(retriever, headings, language)
    ]
    return Rates(
        round(threshold, 4),
        round(float(np.mean(right)), 3) if right else None,
        round(float(np.mean(np.array(wrong) >= threshold)), 3),
        len(wrong),
    )


def _ask(
    retriever: Retriever, asked: Sequence[Asked], language: str
) -> Iterator[tuple[Stored, list[Candidate]]]:
    """What the manual of each question's passage has to it."""
    encoder = retriever.encoder
    texts = [text for _, text in asked]
    vectors = encoder.encode_questions(texts) if encoder is not None and texts else None
    for number, (home, text) in enumerate(asked):
        vector = None if vectors is None else vectors[number]
        found = retriever.search(text, language, vector, only=home.language)
        yield home, [one for one in found if one.passage.document == home.document]


def _sentences(passages: Sequence[Stored]) -> Iterator[Asked]:
    for one in passages:
        for sentence in _SENTENCE.split(one.text):
            text = " ".join(sentence.split())
            if len(text) * (3 if one.language in {"zh", "ja"} else 1) > _SHORTEST:
                yield one, text


def _headings(passages: Sequence[Stored]) -> Iterator[Asked]:
    for one in {one.section: one for one in reversed(passages) if one.heading}.values():
        yield one, one.heading


def _translated(asked: Sequence[Asked], language: str) -> Iterator[Asked]:
    """Questions in another language, of the names that the glossary has."""
    for home, text in asked:
        names = [
            one.names[language][0]
            for one in said_in(text, home.language)
            if one.names.get(language)
        ]
        if names:
            yield home, " ".join([*names, *codes(text)])


def _some(asked: Sequence[Asked], most: int) -> Sequence[Asked]:
    """Some of them, evenly spread over the manual."""
    return asked[:: max(1, -(-len(asked) // most))]


def saved(one: Calibration) -> dict[str, Any]:
    """The calibration as `Document.calibration` keeps it."""
    foreign = {language: asdict(rates) for language, rates in one.foreign.items()}
    return {**asdict(one.own), "foreign": foreign}


def read(kept: Mapping[str, Any]) -> Calibration:
    """The calibration that was kept."""
    foreign = {language: _read(rates) for language, rates in kept.get("foreign", {}).items()}
    return Calibration(_read(kept), foreign)


def _read(kept: Mapping[str, Any]) -> Rates:
    return Rates(**{key: kept[key] for key in asdict(Rates()) if key in kept})
