"""When a manual says nothing to a question: a threshold for each manual, by leave-one-out.

Each sentence of a manual is a question whose answer, its whole section, is left out. What the rest
of the manual scores then is a wrong answer, and a hard one: it is about the same machine. The
threshold is the score that few of them exceed. Each heading is a question whose answer is there;
how many their own sections answer is the rate of the other side. Both rates are kept and shown.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.language.index import Document, Stored
    from edge_agent.language.retrieval import Retriever

WRONG_ANSWERS: Final = 0.15  # of questions whose section is left out
WRONG_FOREIGN: Final = 0.4  # the same in another language, where only the encoder counts
FEWEST: Final = 20  # questions; a smaller manual uses the median of the others, or the default
_MOST: Final = 150
_COMPARED: Final = 3
_SHORTEST: Final = 12  # characters; a third of that in Chinese and Japanese
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])|\n\s*\n")  # noqa: RUF001
_DEFAULT: Final = 0.6
# A long manual says many things twice: what is then called a wrong answer is often a right one.
_HIGHEST: Final = 0.8


@dataclass(frozen=True, slots=True)
class Calibration:
    """The thresholds of a manual, in its language and for questions in another one.

    answered: share of headings that are answered, wrong: share of `questions` that are answered
    although their section is left out.
    """

    threshold: float = _DEFAULT
    foreign: float = _DEFAULT
    answered: float | None = None
    wrong: float | None = None
    questions: int = 0


def calibrate(retriever: Retriever, document: Document) -> Calibration | None:
    """The calibration of a document in the index; None if it has too few sentences."""
    passages = retriever.index.passages_of(document.id)
    asked = _questions(passages)
    if len(asked) < FEWEST:
        return None
    encoder = retriever.encoder
    vectors = None if encoder is None else encoder.encode_questions([text for _, text in asked])
    wrong, near = [], []
    for number, (home, text) in enumerate(asked):
        vector = None if vectors is None else vectors[number]
        found = retriever.search(" ".join(text.split()), home.language, vector)
        mine = (one for one in found if one.passage.document == document.id)
        others = [one for one in mine if one.passage.section != home.section][:_COMPARED]
        wrong.append(max((one.score for one in others), default=0.0))
        near.append(max((one.near for one in others), default=0.0))
    threshold = min(_HIGHEST, float(np.quantile(wrong, 1 - WRONG_ANSWERS)))
    return Calibration(
        round(threshold, 4),
        round(float(np.quantile(near, 1 - WRONG_FOREIGN)), 4),
        _answered(retriever, passages, threshold),
        round(float(np.mean(np.array(wrong) >= threshold)), 3),
        len(asked),
    )


def _answered(retriever: Retriever, passages: Sequence[Stored], threshold: float) -> float | None:
    """Share of the headings that their own section answers, when they are asked as questions."""
    homes = list({one.section: one for one in passages if one.heading}.values())
    homes = homes[:: max(1, len(homes) // _MOST)][:_MOST]
    good = 0
    for home in homes:
        found = retriever.search(home.heading, home.language)[:1]
        good += any(one.score >= threshold and one.passage.heading == home.heading for one in found)
    return round(good / len(homes), 3) if homes else None


def settle(documents: Sequence[Document]) -> dict[str, Calibration]:
    """The calibration of each document; those that have none use the median of the others."""
    own = {one.id: read(one.calibration) for one in documents}
    known = [one for one in own.values() if one.questions]
    usual = Calibration()
    if known:
        middle = {key: float(np.median([getattr(one, key) for one in known])) for key in _LIMITS}
        usual = Calibration(middle["threshold"], middle["foreign"])
    return {key: one if one.questions else usual for key, one in own.items()}


_LIMITS: Final = ("threshold", "foreign")


def read(saved: Mapping[str, Any]) -> Calibration:
    """The calibration as `Document.calibration` keeps it."""
    return Calibration(**{key: saved[key] for key in asdict(Calibration()) if key in saved})


def _questions(passages: Sequence[Stored]) -> list[tuple[Stored, str]]:
    """Sentences with their passages, evenly spread over the manual."""
    found = [
        (one, sentence.strip())
        for one in passages
        for sentence in _SENTENCE.split(one.text)
        if len(sentence.strip()) * (3 if one.language in {"zh", "ja"} else 1) > _SHORTEST
    ]
    step = max(1, len(found) // _MOST)
    return found[::step][:_MOST]
