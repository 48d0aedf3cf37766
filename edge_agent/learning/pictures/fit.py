"""Learning from good pictures alone: features, known places, and a limit from held-out pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.learning.pictures.backbone import TAPS
from edge_agent.learning.pictures.drawn import with_defects
from edge_agent.learning.pictures.graph import BANKS, banks_graph
from edge_agent.learning.pictures.head import Bank, Head, bank_of
from edge_agent.learning.pictures.limit import Limit, limit_of
from edge_agent.learning.pictures.memory import Memory, axes_of, distances, memory_of
from edge_agent.models import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Halves = NDArray[np.float16]
    Report = Callable[[float, str], None]

LEAST: Final = 50  # good pictures
MOST: Final = 400  # pictures that are learned from; of more, every n-th
MEMORY: Final = 2000  # known places of a bank
_FOLDS: Final = 25  # held out in turn: neighbours in time together
_BATCH: Final = 2
_SHOWN: Final = 8  # good pictures
_DRAWN: Final = 60  # pictures with drawn defects
_STRANGE: Final = 4.0  # times the usual distance: such a picture is not one of them
_MOST_STRANGE: Final = 0.1  # share of pictures; more of them are a second product
_LEAST_SPREAD: Final = 0.01  # of a picture's mean distance


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was learned, and how good it is.

    scores: of the good pictures, each held out. strange: numbers of the pictures that are like no
    other, which were left out. found: by kind of drawn defect, the share at or above the limit.
    pictures: how many were learned; good, drawn: some of them [n, side, side, 3] with scores below
    the middle, and some with defects; the highest scores last.
    """

    head: Head
    limit: Limit
    scores: Floats
    strange: tuple[int, ...]
    found: dict[str, float]
    pictures: int
    good: Pixels
    drawn: Pixels


class Features:
    """The features of the places of pictures, by the backbone; one thread."""

    def __init__(self, side: int) -> None:
        self._session = open_session(banks_graph(side))

    def of(self, squares: Pixels, report: Callable[[float], None] = lambda _: None) -> list[Halves]:
        """Of pictures [N, side, side, 3], by bank [N, P, C]; half precision: they are many."""
        # Written into one place each: small arrays between the runs would keep the heap in pieces.
        side = squares.shape[1]
        shapes = [((side // row.stride) ** 2, TAPS[row.tap][0]) for row in BANKS]
        found = [np.empty((len(squares), *shape), np.float16) for shape in shapes]
        for start in range(0, len(squares), _BATCH):
            some = slice(start, start + _BATCH)
            for out, each in zip(
                found, self._session.run(None, {"picture": squares[some]}), strict=True
            ):
                out[some] = each
            report(min(1.0, some.stop / len(squares)))
        return found


def fit(squares: Pixels, wanted: float, report: Report) -> Fitted:
    """Learn good pictures [N, side, side, 3]; ModelError says what is wrong with them.

    wanted: the share of good pictures that may be called defective. report: is told how far it is
    (0 to 1), and what it does.
    """
    backbone = Features(squares.shape[1])
    features = backbone.of(squares, lambda share: report(0.5 * share, "features"))
    strange = _strange(features)
    if strange:
        kept = np.setdiff1d(np.arange(len(squares)), strange)
        squares, features = squares[kept], [each[kept] for each in features]
    banks, away = _banks(features, report)
    del features
    scores = Head(banks).scores(away)
    limit = limit_of(scores, wanted)
    head = Head(banks, limit.value)
    report(0.9, "drawn defects")
    drawn, kinds = with_defects(squares[:: max(1, len(squares) // _DRAWN)][:_DRAWN])
    high = _scores(head, backbone.of(drawn))
    order = np.argsort(scores)
    return Fitted(
        head,
        limit,
        np.asarray(scores / limit.value, np.float32),
        strange,
        _shares(kinds, high),
        len(squares),
        squares[order[: len(order) // 2 : max(1, len(order) // (2 * _SHOWN))]],
        drawn[np.argsort(high)],
    )


def _banks(
    features: Sequence[Halves], report: Report
) -> tuple[tuple[Bank, Bank, Bank], list[Floats]]:
    """The banks of features by bank [N, P, C], and the held-out distances [N, P] of each."""
    random = np.random.default_rng(0)
    banks, held_out = [], []
    for number, (row, each) in enumerate(zip(BANKS, features, strict=True)):
        report(0.5 + 0.4 * number / len(BANKS), f"known places ({row.name})")
        axes = axes_of(each, row.axes, random)
        whitened = axes.whitened(each)
        memory = memory_of(whitened, MEMORY, random)
        away = distances(whitened, memory, _own_fold(memory, len(each)))
        banks.append(bank_of(axes, memory, away))
        held_out.append(away)
    fine, middle, coarse = banks
    return (fine, middle, coarse), held_out


def _own_fold(memory: Memory, pictures: int) -> NDArray[np.bool_]:
    """The known places that do not count for a picture, [N, M]: those of its fold."""
    fold = np.arange(pictures) * _FOLDS // pictures
    return np.asarray(fold[memory.picture] == fold[:, None])


def _strange(features: Sequence[Halves]) -> tuple[int, ...]:
    """The pictures that are like no other, by the mean of their coarse features.

    ModelError if they are so many that two products, or two cameras, are mixed.
    """
    means = features[-1].astype(np.float32).mean(axis=1)
    middle = np.median(means, axis=0)
    spread = 1.4826 * np.median(np.abs(means - middle), axis=0)
    away = np.sqrt(np.square((means - middle) / (spread + 1e-3)).mean(axis=1))
    strange = np.flatnonzero(away > _STRANGE * np.median(away))
    if len(strange) > _MOST_STRANGE * len(means):
        raise ModelError(
            f"{len(strange)} of {len(means)} pictures are quite unlike the others",
            hint="one product, one camera and one light at a time: sort the pictures into folders",
        )
    return tuple(strange.tolist())


def _scores(head: Head, features: Sequence[Halves]) -> Floats:
    """Scores of pictures that were not learned."""
    pairs = zip(head.banks, features, strict=True)
    return head.scores([distances(bank.axes.whitened(each), bank.memory) for bank, each in pairs])


def _shares(kinds: Sequence[str], scores: Floats) -> dict[str, float]:
    """The share at or above the limit, by kind of drawn defect."""
    names = dict.fromkeys(kinds)
    masks = {name: np.array([kind == name for kind in kinds]) for name in names}
    return {name: float((scores[mask] >= 1).mean()) for name, mask in masks.items()}
