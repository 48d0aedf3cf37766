"""Orders what a server has stored during an outage, and adds what it proves.

Every signal was marked as without communication when the link was lost, in event time between the
values before and after. What the server stored shows what was true instead: the value of that
moment is repeated just after the mark if nothing is missing of its node, and where something is
missing, the last value ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.sources.opcua.notification import Rows
from edge_agent.values import BAD, BAD_NO_COMMUNICATION, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    Times = NDArray[np.int64]

NO_ROWS: Final = Rows(
    np.zeros(0, np.uint32),
    np.zeros(0, np.int64),
    np.zeros(0),
    np.zeros(0, np.uint32),
    np.zeros(0, np.uint8),
    np.zeros(0, np.int64),
)
# Part 4, 7.39.1: with this info type, bit 0 means calculated, bit 1 interpolated, bit 3 that there
# are other values of this time: somebody has changed it.
_INFO_TYPE: Final = 0x0C00
_OF_DATA: Final = 0x0400
_NOT_MEASURED: Final = 0x000B
NO_STAMP: Final = np.iinfo(np.int64).max


@dataclass(slots=True)
class ServerHistory:
    """What is known of the history of a server, over all sessions.

    started: when the server of the last session was started; has_kept: no change of any signal
    was missed in the outage before this session. refused: handles of nodes without a history.
    is_answered: it has answered a HistoryRead; unanswered: the number that it has not answered.
    """

    started: datetime | None = None
    has_kept: bool = False
    refused: set[int] = field(default_factory=set)
    is_answered: bool = False
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Values [n] with their handles, event times (0: unusable) and codes.

    stamp_us: the server's stamps, 0 of a value that it did not send.
    """

    handle: NDArray[np.intp]
    stamp_us: Times
    time_us: Times
    value: NDArray[np.float64]
    status: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.handle)

    def where(self, which: NDArray[np.generic]) -> Stored:
        """Some of the values: `which` is a mask [n], or row numbers."""
        return Stored(*(getattr(self, name)[which] for name in Stored.__slots__))

    def chunks(self, size: int) -> Iterator[Stored]:
        """The same values, at most `size` at a time."""
        for at in range(0, len(self), size):
            yield self.where(np.arange(at, min(at + size, len(self))))

    @staticmethod
    def concat(parts: Sequence[Stored]) -> Stored:
        """The values of all parts (at least one), in their order."""
        names = Stored.__slots__
        return Stored(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Outage:
    """What is known of each handle [S].

    after_us: the stamp of the last value before the outage, first_us: of the first one after it
    (NO_STAMP: none came); marked_us: the event time of its mark, 0 if there is none; latest,
    status: the value before the outage. is_known: no change of it is missing. restarted_us: when
    the server was started meanwhile, by its stamps; 0 if it was not.
    """

    after_us: Times
    first_us: Times
    marked_us: Times
    latest: NDArray[np.float64]
    status: NDArray[np.uint32]
    is_known: NDArray[np.bool_]
    restarted_us: int = 0


def doubt_edited(status: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The codes [n] of stored values; Good becomes Uncertain where a value is not as measured."""
    edited = ((status & _INFO_TYPE) == _OF_DATA) & ((status & _NOT_MEASURED) != 0)
    if not edited.any():
        return status
    return np.where(edited & (status < UNCERTAIN), status | np.uint32(UNCERTAIN), status)


def arrange(stored: Stored, outage: Outage) -> Stored:
    """The missing values of all nodes in the order of time, with those that follow from them."""
    stored = _missing(stored, outage)
    if not len(stored):
        return stored
    added = [*_repeated(stored, outage), *_ends(stored, outage)]
    whole = Stored.concat([stored, *added])
    return whole.where(np.argsort(whole.time_us, kind="stable"))


def is_missing(
    handle: NDArray[np.intp], stamp_us: Times, time_us: Times, outage: Outage
) -> NDArray[np.bool_]:
    """Which values were neither delivered before the outage nor are delivered after it [n].

    A node's first value after the outage is delivered with its own time, unless it is older than
    the mark: then it stands for the present, and its own time is missing.
    """
    first_us = outage.first_us[handle]
    again = (stamp_us == first_us) & (time_us <= outage.marked_us[handle])
    found: NDArray[np.bool_] = (time_us > 0) & (stamp_us > outage.after_us[handle])
    found &= (stamp_us < first_us) | again
    return found


def _missing(stored: Stored, outage: Outage) -> Stored:
    """The values that are missing, by handle and time, each once."""
    stored = stored.where(is_missing(stored.handle, stored.stamp_us, stored.time_us, outage))
    stored = stored.where(np.lexsort((stored.stamp_us, stored.handle)))
    same = stored.handle[1:] == stored.handle[:-1]
    same &= stored.stamp_us[1:] == stored.stamp_us[:-1]
    return stored.where(np.append(~same, True)[: len(stored)])


def _repeated(stored: Stored, outage: Outage) -> list[Stored]:
    """The value that each known signal had when it was marked, just after the mark."""
    if outage.restarted_us:
        return []
    marked = outage.is_known & (outage.marked_us > 0)
    value, status = outage.latest.copy(), outage.status.copy()
    before = stored.where(stored.time_us <= outage.marked_us[stored.handle])
    # In the order of time: the last value of each handle remains.
    value[before.handle], status[before.handle] = before.value, before.status
    handle = np.flatnonzero(marked & np.isfinite(value) & (status < BAD))
    at_us = outage.marked_us[handle] + 1
    return [Stored(handle, np.zeros_like(at_us), at_us, value[handle], status[handle])]


def _ends(stored: Stored, outage: Outage) -> list[Stored]:
    """Marks after values that do not reach to the next one: what follows them is missing."""
    last = np.append(stored.handle[1:] != stored.handle[:-1], True)
    ends = last & ~outage.is_known[stored.handle]
    if outage.restarted_us:
        old = stored.stamp_us < outage.restarted_us
        ends |= old & (last | ~np.append(old[1:], False))
    ends &= stored.time_us > outage.marked_us[stored.handle]
    handle, at_us = stored.handle[ends], stored.time_us[ends] + 1
    lost = np.full(len(handle), BAD_NO_COMMUNICATION, np.uint32)
    nothing = np.full(len(handle), np.nan)
    return [Stored(handle, np.zeros_like(at_us), at_us, nothing, lost)]
