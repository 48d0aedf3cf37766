"""Reads what a server has stored about nodes during an outage: HistoryRead, raw values (Part 11).

The service only reads. A server may refuse it, answer slowly or without end: everything is bounded
in time and in values, and no answer is an error of the link.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.history_response import decode_history_response
from edge_agent.sources.opcua.read import TOO_LARGE, Reader, code_of
from edge_agent.values import BAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.sources.opcua.connector import Connection
    from edge_agent.sources.opcua.history_response import NodeHistory
    from edge_agent.sources.opcua.notification import Notification

_RELEASE_S: Final = 1.0
_SPREAD_US: Final = 10_000_000  # of the start times in one request, which has one for all nodes
_UNTIL_US: Final = 1000  # some servers compare in milliseconds, or leave out the end
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HISTORY_READ: Final = 1 << ua.AccessLevel.HistoryRead.value
_CODES: Final = StatusCodes
# The server will say the same the next time.
_REFUSALS: Final = frozenset(
    {
        _CODES.BadHistoryOperationUnsupported,
        _CODES.BadHistoryOperationInvalid,
        _CODES.BadUserAccessDenied,
        _CODES.BadNotReadable,
        _CODES.BadNotSupported,
        _CODES.BadNotImplemented,
        _CODES.BadServiceUnsupported,
        _CODES.BadTimestampNotSupported,
        _CODES.BadSecurityModeInsufficient,
        _CODES.BadRequestTypeInvalid,
    }
)
_NOTHING: Final = frozenset({_CODES.BadNoData, _CODES.BadBoundNotFound})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one outage may cost.

    deadline_s: live values wait for so long; values: in total; per_node, per_answer: of one node;
    nodes: in one request.
    """

    deadline_s: float = 5.0
    values: int = 1_000_000
    per_node: int = 50_000
    per_answer: int = 1000
    nodes: int = 100


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Span:
    """The missing values of one node: after `after_us`, up to `until_us`, by the server's stamps.

    n: what was read of it already; continuation: where the server goes on.
    """

    handle: int
    node: ua.NodeId
    after_us: int
    until_us: int
    n: int = 0
    continuation: bytes = b""


@dataclass(slots=True)
class History:
    """What was read. complete: handles whose missing values are all here, if there were any.

    refused: handles that need not be asked again, by StatusCode; unread: nodes that were not read
    to the end, because time, or the permitted number of values, had run out.
    """

    parts: list[Notification] = field(default_factory=list)
    complete: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    unread: int = 0
    n: int = 0


async def readable(connection: Connection, nodes: Sequence[ua.NodeId]) -> list[bool]:
    """Which nodes have a history that the server continues and this user may read (Part 3, 5.6)."""
    reader = Reader(connection)
    access = await reader.read(nodes, AttributeIds.UserAccessLevel)
    stores = await reader.read(nodes, AttributeIds.Historizing)
    return [_may_read(one) and _is_true(two) for one, two in zip(access, stores, strict=True)]


def _may_read(answer: ua.DataValue) -> bool:
    level = answer.Value.Value if answer.Value is not None and code_of(answer) < BAD else None
    return isinstance(level, int) and bool(level & _HISTORY_READ)


def _is_true(answer: ua.DataValue) -> bool:
    return answer.Value is not None and code_of(answer) < BAD and answer.Value.Value is True


class HistoryReader:
    """Reads the spans of one outage, request by request, until it is done or time runs out.

    stop: true to end before. is_answered: the server has answered; unanswered: handles of a request
    that has no answer, has_timed_out: because none came in time.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        limits: Limits = LIMITS,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.found = History()
        self.is_answered = False
        self.has_timed_out = False
        self.unanswered: list[int] = []
        self._stop = stop
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._end_s = clock.monotonic_s() + limits.deadline_s
        self._batch = min(limits.nodes, connection.max_history_nodes or limits.nodes)
        self._queue: list[list[Span]] = []

    async def read(self, spans: Iterable[Span]) -> None:
        """Read `spans`; what came is in `found`, also if this raises."""
        self._queue = grouped(spans, self._batch)
        try:
            while self._queue and self._has_room():
                await self._read_part(self._queue[0])
        except TimeoutError:
            self.has_timed_out = True
        finally:
            self.found.unread += sum(len(part) for part in self._queue)

    def _has_room(self) -> bool:
        is_late = self._clock.monotonic_s() >= self._end_s
        return not is_late and self.found.n < self._limits.values and not self._stop()

    async def release(self) -> None:
        """Free what the server keeps for answers that are not wanted any more."""
        kept = [one for spans in self._queue for one in spans if one.continuation]
        if kept:
            await self._request(kept, release=True)

    async def _read_part(self, spans: list[Span]) -> None:
        """Read the first part of the queue, and put what is still missing of it there."""
        self.unanswered = [span.handle for span in spans]
        code = None
        try:
            answers = decode_history_response(await self._request(spans), self.unanswered)
        except UaStatusCodeError as error:
            code = error.code
        except DecodeError:
            code = _CODES.BadDecodingError
        if code == _CODES.BadTimeout:
            raise TimeoutError
        self.is_answered, self.unanswered = True, []
        self._queue.pop(0)
        if code is None:
            self._accept(spans, answers)
        else:
            self._accept_refusal(spans, code)

    async def _request(self, spans: list[Span], *, release: bool = False) -> bytes:
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_moment(min(one.after_us for one in spans) + 1),
            EndTime=_moment(max(one.until_us for one in spans) + _UNTIL_US),
            NumValuesPerNode=ua.Counter(self._limits.per_answer),
            ReturnBounds=False,
        )
        request = ua.HistoryReadParameters(
            HistoryReadDetails=details,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=release,
            NodesToRead=[
                ua.HistoryReadValueId(NodeId=one.node, ContinuationPoint=one.continuation or None)
                for one in spans
            ],
        )
        left_s = max(self._end_s - self._clock.monotonic_s(), _RELEASE_S if release else 0.0)
        return await wire.history_read(self._connection.client, request, left_s)

    def _accept_refusal(self, spans: list[Span], code: int) -> None:
        if code in TOO_LARGE and len(spans) > 1:
            self._split(spans)
        elif code in _REFUSALS or code == _CODES.BadDecodingError:
            rest, self._queue = self._queue, []
            refused = (one for part in (spans, *rest) for one in part)
            self.found.refused |= {one.handle: code for one in refused}
        else:
            self.found.unread += len(spans)

    def _split(self, spans: list[Span]) -> None:
        self._batch = max(1, len(spans) // 2)
        starts = range(0, len(spans), self._batch)
        self._queue[:0] = [spans[at : at + self._batch] for at in starts]

    def _accept(self, spans: list[Span], answers: list[NodeHistory]) -> None:
        """Keep the values; what has more is asked for first, because the server keeps it."""
        more: defaultdict[bool, list[Span]] = defaultdict(list)
        crowded: list[Span] = []
        for span, answer in zip(spans, answers, strict=True):
            if answer.status == _CODES.BadNoContinuationPoints:
                crowded.append(span)
                continue
            following = self._accept_node(span, answer)
            if following is not None:
                more[bool(following.continuation)].append(following)
        self._queue[:0] = [part for part in more.values() if part]
        if crowded and len(spans) > 1:
            self._batch = max(1, len(spans) // 2)
            self._queue += grouped(crowded, self._batch)
        else:
            self.found.unread += len(crowded)

    def _accept_node(self, span: Span, answer: NodeHistory) -> Span | None:
        """Keep the values of a node; returns what is still missing of it."""
        found, handle = self.found, span.handle
        if answer.status >= BAD and answer.status not in _NOTHING:
            if answer.status in _REFUSALS:
                found.refused[handle] = answer.status
            else:
                found.unread += 1
            return None
        found.parts.append(answer.values)
        found.n += answer.n
        # An answer may be empty and yet go on (Part 11, 6.5.3), but not for ever.
        n = span.n + max(answer.n, self._limits.per_answer // 10)
        span = replace(span, n=n, continuation=answer.continuation)
        goes_on = answer.last_us > span.after_us and answer.last_us < span.until_us
        if not answer.continuation and not (answer.n >= self._limits.per_answer and goes_on):
            found.complete.add(handle)
            return None
        if span.n >= self._limits.per_node:
            found.unread += 1
            return None
        # Without a continuation point, a full answer may be a part all the same.
        return span if answer.continuation else replace(span, after_us=answer.last_us)


def grouped(spans: Iterable[Span], size: int) -> list[list[Span]]:
    """Parts of at most `size` spans with similar starts: a request has one start for all nodes."""
    groups: list[list[Span]] = []
    for span in sorted(spans, key=lambda one: one.after_us):
        last = groups[-1] if groups else None
        if last and len(last) < size and span.after_us - last[0].after_us <= _SPREAD_US:
            last.append(span)
        else:
            groups.append([span])
    return groups


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
