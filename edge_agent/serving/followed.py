"""How far the middle of a baseline has moved, as people read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLLOWED, ACCEPTED, CONFIRMED = "followed", "accepted", "confirmed"
NOTABLE: Final = 0.5  # sigmas
_NOTEWORTHY: Final = 1.0  # in an alert


@dataclass(frozen=True, slots=True)
class Followed:
    """How far the middle of a statistic of an input has moved, in sigmas, and since when.

    kind: followed slowly, accepted after an alarm that settled, or confirmed by an operator. by:
    the person who confirmed last, empty if nobody did. accepted: states that were accepted since
    then, the first at accepted_us, at most `states`.
    """

    model: str
    input: str = ""
    statistic: str = ""
    sigmas: float = 0.0
    since_us: int = 0
    kind: str = FOLLOWED
    budget: float = 0.0
    by: str = ""
    accepted: int = 0
    accepted_us: int = 0
    states: int = 0


def moved_notably(
    like: Followed, names: Sequence[str], moved: NDArray[np.float64]
) -> list[Followed]:
    """Those of the middles `moved` [n] that moved notably, the largest first.

    like: what they have in common; names: of each, such as "flow: slow mean".
    """
    places = np.flatnonzero(np.abs(moved) >= NOTABLE)
    found = []
    for place in places[np.argsort(-np.abs(moved[places]), kind="stable")].tolist():
        name, _, what = names[place].rpartition(": ")
        found.append(replace(like, input=name, statistic=what, sigmas=float(moved[place])))
    return found


def message_args_of(moved: NDArray[np.float64], since_us: int) -> dict[str, Any]:
    """For an alert: how far the middles have moved, and since when; empty if it is little."""
    sigmas = float(np.abs(moved).max(initial=0.0))
    if sigmas <= _NOTEWORTHY:
        return {}
    since = datetime.fromtimestamp(since_us / US_PER_S, UTC).astimezone()
    return {"moved_sigmas": sigmas, "moved_since": since.strftime("%Y-%m-%d")}
