"""The life of one version of a model in service: its states and every way between them, as data.

The path of a version that the operator activates is loading -> (warming ->) active -> standby ->
retired. A shadow is promoted, rejected or retired. An active version that fails gives way to the
standby (failed) and, once the repository on disk says so too, is rolled back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a version is in its life."""

    LOADING = "loading"  # it is verified, loaded and tested; it does not score yet
    WARMING = "warming"  # its own windows fill while the version before it goes on scoring
    ACTIVE = "active"  # its scores are the plant's
    FAILING = "failing"  # active, its runs fail, and no standby is better
    STANDBY = "standby"  # it was active before, and takes over in the same turn if need be
    FAILED = "failed"  # it gave way to the standby; the repository on disk still names it
    ROLLED_BACK = "rolled_back"  # it gave way, and the repository says so
    SHADOW = "shadow"  # it scores beside the active version, and nothing comes of it
    PROMOTED = "promoted"  # it was the shadow, and was activated
    REJECTED = "rejected"  # it was the shadow, and failed or took too long
    REFUSED = "refused"  # it failed its verification or its tests
    RETIRED = "retired"  # it left service without any fault of its own


class Event(StrEnum):
    """What can happen to a version."""

    REFUSE = "refuse"  # the verification or a test fails
    ACTIVATE = "activate"  # it takes over now: its windows are there
    WARM_UP = "warm_up"  # it is to take over once its own windows are full
    STAND_BY = "stand_by"  # it is loaded as the version to fall back on
    SHADOW = "shadow"  # it is loaded as the candidate
    SUPERSEDE = "supersede"  # another version took over
    FAIL = "fail"  # its run fails, and no standby is better
    RECOVER = "recover"  # its run works again
    GIVE_WAY = "give_way"  # its run fails or is too slow, and the standby does better
    SAVE_ROLLBACK = "save_rollback"  # the repository names the version before it again
    PROMOTE = "promote"  # the candidate is activated
    REJECT = "reject"  # the candidate fails or takes too long
    RETIRE = "retire"  # it is called off, or another version has its role


S, E = State, Event

# (state, event) -> state after it. A pair that is not listed cannot happen.
TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (S.LOADING, E.REFUSE): S.REFUSED,
    (S.LOADING, E.ACTIVATE): S.ACTIVE,
    (S.LOADING, E.WARM_UP): S.WARMING,
    (S.LOADING, E.STAND_BY): S.STANDBY,
    (S.LOADING, E.SHADOW): S.SHADOW,
    (S.WARMING, E.ACTIVATE): S.ACTIVE,
    (S.WARMING, E.RETIRE): S.RETIRED,
    (S.ACTIVE, E.SUPERSEDE): S.STANDBY,
    (S.ACTIVE, E.FAIL): S.FAILING,
    (S.ACTIVE, E.RECOVER): S.ACTIVE,
    (S.ACTIVE, E.GIVE_WAY): S.FAILED,
    (S.FAILING, E.SUPERSEDE): S.STANDBY,
    (S.FAILING, E.FAIL): S.FAILING,
    (S.FAILING, E.RECOVER): S.ACTIVE,
    (S.FAILING, E.GIVE_WAY): S.FAILED,
    (S.STANDBY, E.ACTIVATE): S.ACTIVE,
    (S.STANDBY, E.RETIRE): S.RETIRED,
    (S.FAILED, E.SAVE_ROLLBACK): S.ROLLED_BACK,
    (S.SHADOW, E.PROMOTE): S.PROMOTED,
    (S.SHADOW, E.REJECT): S.REJECTED,
    (S.SHADOW, E.RETIRE): S.RETIRED,
    (S.REJECTED, E.RETIRE): S.RETIRED,
}


def next_state(state: State, event: Event) -> State:
    """Return the state after `event`; ValueError if it cannot happen in `state`."""
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise ValueError(f"a version that is {state} cannot {event}")
    return after
