"""The life of one version of a model in service: its states and all transitions, as data.

The path of a version that the operator activates is loading -> (warming ->) active -> standby ->
retired. A shadow is promoted, rejected or retired. The standby replaces an active version that
fails (failed); once this is saved in the repository on disk, it is rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a version."""

    LOADING = "loading"  # it is verified, loaded and tested; it does not score yet
    WARMING = "warming"  # its windows fill while the previous version scores
    ACTIVE = "active"  # its scores are used
    FAILING = "failing"  # active, its runs fail, and no standby works
    STANDBY = "standby"  # it was active before, and becomes active in the same turn if necessary
    FAILED = "failed"  # the standby replaced it; the repository on disk still has it as active
    ROLLED_BACK = "rolled_back"  # the standby replaced it, also in the repository
    SHADOW = "shadow"  # it scores in parallel with the active version, without effect
    PROMOTED = "promoted"  # it was the shadow, and was activated
    REJECTED = "rejected"  # it was the shadow, and failed or took too long
    REFUSED = "refused"  # it failed its verification or its tests
    RETIRED = "retired"  # it left service without a fault


class Event(StrEnum):
    """The events of a version."""

    REFUSE = "refuse"  # the verification or a test fails
    ACTIVATE = "activate"  # it becomes active now: its windows are full
    WARM_UP = "warm_up"  # it becomes active once its own windows are full
    STAND_BY = "stand_by"  # it is loaded as the standby
    SHADOW = "shadow"  # it is loaded as the candidate
    SUPERSEDE = "supersede"  # another version became active
    FAIL = "fail"  # its run fails, and no standby works
    RECOVER = "recover"  # its run works again
    GIVE_WAY = "give_way"  # its run fails or is too slow, and the standby works
    SAVE_ROLLBACK = "save_rollback"  # the previous version is active again in the repository
    PROMOTE = "promote"  # the candidate is activated
    REJECT = "reject"  # the candidate fails or takes too long
    RETIRE = "retire"  # it is stopped, or another version has its role


COMMAND: Final = "command"  # the version on disk was changed: `models activate`, or by hand
AUTOMATIC: Final = "automatic"
DAEMON: Final = "daemon"  # its start, or another config


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Another version of a bundle is active; before: the previous one, empty if there is none.

    action: `activate` or `rollback`; actor: COMMAND, AUTOMATIC or DAEMON.
    """

    action: str
    model: str
    version: str
    before: str
    actor: str
    reason: str = ""


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
