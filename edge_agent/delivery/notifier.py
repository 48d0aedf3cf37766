"""Tells people of alarms by routes: quiet hours, summaries of what was held, escalation.

A follower of the history: what it has read, held and told is stored in one transaction with the
messages that it makes, so that a restart neither loses nor repeats one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.clock import US_PER_S
from edge_agent.delivery import notices
from edge_agent.delivery.quiet import is_quiet, zone_of
from edge_agent.errors import StoreError
from edge_agent.messages import AlarmState, Message, TransitionKind
from edge_agent.sinks import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_agent.alarms import AlarmMessages
    from edge_agent.clock import Clock
    from edge_agent.config.notify import Route
    from edge_agent.config.schema import Config
    from edge_agent.messages import Alarm, Transition
    from edge_agent.store import Store, StoreWorker

log = logging.getLogger("edge_agent.delivery")

_KEY: Final = "notify"  # of the store
_BATCH: Final = 500
_TICK_S: Final = 5.0
_MINUTE_US: Final = 60 * US_PER_S
_MOST_HELD: Final = 5000  # alarms of a route; more are counted
# A return to the operator is a raise for him.
_RAISES: Final = frozenset(
    {
        TransitionKind.RAISE,
        TransitionKind.UNSHELVE,
        TransitionKind.UNSUPPRESS,
        TransitionKind.IN_SERVICE,
    }
)
_RANK: Final = {"low": 0, "medium": 1, "high": 2, "critical": 3}


@dataclass(slots=True)
class RouteState:
    """What a route has told and held.

    told: of each alarm that is not acknowledged, when (us) and with which rank of priority; 0 for
    the time once it is escalated. held: how many messages of each alarm. sent_us: times of the
    last messages. number: of summaries.
    """

    told: dict[str, list[int]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    more: int = 0
    sent_us: list[int] = field(default_factory=list)
    number: int = 0


@dataclass(slots=True)
class State:
    """row: the last one of the history that was read."""

    row: int
    routes: dict[str, RouteState] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Encode as JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def parse(cls, raw: bytes | None, newest_row: int) -> State:
        """Decode; a new one begins with what happens from now on."""
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            data = orjson.loads(raw or b"")
            routes = {name: RouteState(**one) for name, one in data["routes"].items()}
            # A store that lost its history numbers it anew.
            return cls(min(int(data["row"]), newest_row), routes)
        return cls(newest_row)


class Notifier:
    """The task of all routes; wake: called with the names of sinks that have messages."""

    def __init__(
        self,
        config: Config,
        store: StoreWorker,
        messages: AlarmMessages,
        clock: Clock,
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self._router = Router(config, messages)
        self._store = store
        self._clock = clock
        self._wake_sinks = wake
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, takes_over: bool = False) -> None:
        """Follow the history from where the last run ended, or from now on.

        takes_over: the other gateway of a pair has told what happened until now.
        """
        if self._task is None:
            with contextlib.suppress(StoreError):  # then from the next time that it can be read
                if takes_over:
                    await self._store.run(self._router.take_over, self._clock.now_us())
                await self._store.run(begin)
            self._task = asyncio.create_task(self._work(), name="notify")

    async def stop(self) -> None:
        """Stop; what was not told yet is told after the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Signal that the history has grown."""
        self._wake.set()

    async def advance(self) -> None:
        """Read what is new, and tell what is due."""
        sinks, is_more = await self._store.run(self._router.advance, self._clock.now_us())
        while is_more:
            more, is_more = await self._store.run(self._router.advance, self._clock.now_us())
            sinks |= more
        self._wake_sinks(sinks)

    async def _work(self) -> None:
        is_broken = False
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.advance()
                is_broken = False
            except StoreError as error:
                if not is_broken:
                    log.warning("routes wait for the store", extra={"reason": str(error)})
                is_broken = True
            except Exception:
                log.exception("routes failed")
                await asyncio.sleep(_TICK_S)


def begin(store: Store) -> None:
    """Begin with what happens from now on, unless an earlier run has begun already."""
    if store.load_value(_KEY) is None:
        store.save_value(_KEY, State(store.newest_row()).dump())


class Router:
    """Decides what the routes tell; runs in the store's thread."""

    def __init__(self, config: Config, messages: AlarmMessages) -> None:
        self._config = config
        self._routes: dict[str, Route] = dict(config.notify.routes.items())
        self._messages = messages
        self._zone = zone_of(config.notify.timezone)
        self._said_of: Callable[[Sequence[str]], list[dict[str, Any]]] = lambda _: []

    def advance(self, store: Store, now_us: int) -> tuple[set[str], bool]:
        """Make the messages that are due; returns their sinks, and if more of the history waits."""
        self._said_of = store.said_of
        before = store.load_value(_KEY)
        state = State.parse(before, store.newest_row())
        state.routes = {name: state.routes.get(name) or RouteState() for name in self._routes}
        rows = store.after(state.row, _BATCH)
        made: list[Message] = []
        for row, transition in rows:
            state.row = row
            for name in self._routes:
                made += self._follow(name, state, transition, now_us)
        if len(rows) < _BATCH:
            standing = self._standing(store, state)
            made += self._escalate(state, standing, now_us)
            made += self._summarise(state, standing, now_us)
        dumped = state.dump()
        if made or dumped != before:
            store.enqueue(_KEY, dumped, made)
        return {one.sink for one in made}, len(rows) == _BATCH

    def _standing(self, store: Store, state: State) -> dict[str, Alarm]:
        """The alarms as they stand, if any is told or held; forgets told ones that are over."""
        if not any(one.held or one.told for one in state.routes.values()):
            return {}
        standing = {one.alarm_id: one for one in store.alarms()}
        unack = {key for key, one in standing.items() if one.state is AlarmState.UNACK}
        for mine in state.routes.values():
            mine.told = {key: told for key, told in mine.told.items() if key in unack}
        return standing

    def take_over(self, store: Store, now_us: int) -> None:
        """Begin as the gateway of a pair that is active now.

        The last minute is told again, because the other one may not have told it. For what nobody
        has acknowledged the time until escalation begins anew.
        """
        recent = sum(one.stored_us > now_us - _MINUTE_US for one in store.newest(_BATCH))
        state = State(max(0, store.newest_row() - recent), {})
        for name, route in self._routes.items():
            mine = state.routes[name] = RouteState()
            for alarm in store.alarms():
                if alarm.state is AlarmState.UNACK and _concerns(route, alarm):
                    _note_told(mine, alarm, now_us)
        store.save_value(_KEY, state.dump())

    # -- one transition -------------------------------------------------------------------------

    def _follow(
        self, name: str, state: State, transition: Transition, now_us: int
    ) -> Iterator[Message]:
        """Tell or hold a transition; forget an alarm that is answered or over."""
        route, mine, alarm = self._routes[name], state.routes[name], transition.alarm
        kind = _kind_for_people(transition, mine.told.get(alarm.alarm_id))
        if kind in route.events and _concerns(route, alarm) and not _is_held(mine, alarm, kind):
            yield from self._tell(name, mine, transition, now_us)
        if alarm.state is not AlarmState.UNACK:
            mine.told.pop(alarm.alarm_id, None)

    def _tell(
        self, name: str, mine: RouteState, transition: Transition, now_us: int
    ) -> Iterator[Message]:
        alarm = transition.alarm
        if self._holds(self._routes[name], mine, alarm.severity, now_us):
            _hold(mine, alarm.alarm_id)
            return
        mine.held.pop(alarm.alarm_id, None)
        yield from self._alarm_message(name, transition, now_us)
        _note_told(mine, alarm, now_us)
        mine.sent_us.append(now_us)

    def _holds(self, route: Route, mine: RouteState, severity: int, now_us: int) -> bool:
        """True in quiet hours, unless it is severe, and while too many were told."""
        window_us = round(route.limit_window * US_PER_S)
        mine.sent_us = [at for at in mine.sent_us if now_us - window_us < at <= now_us]
        quiet = severity < route.pass_severity and is_quiet(route.quiet, self._zone, now_us)
        return quiet or len(mine.sent_us) >= route.limit

    # -- time ---------------------------------------------------------------------------------

    def _escalate(self, state: State, standing: dict[str, Alarm], now_us: int) -> Iterator[Message]:
        """Tell the next route of alarms that nobody has acknowledged in time."""
        for name, route in self._routes.items():
            if route.escalate_after is None:
                continue
            due_us = now_us - round(route.escalate_after * US_PER_S)
            for alarm_id, told in state.routes[name].told.items():
                alarm = standing.get(alarm_id)
                if (
                    alarm is None
                    or alarm.state is not AlarmState.UNACK
                    or not 0 < told[0] <= due_us
                ):
                    continue
                yield from self._escalate_one(name, state, alarm, (now_us - told[0], now_us))
                told[0] = 0

    def _escalate_one(
        self, name: str, state: State, alarm: Alarm, waited_now_us: tuple[int, int]
    ) -> Iterator[Message]:
        waited_us, now_us = waited_now_us
        target = self._routes[name].escalate_to
        theirs = state.routes[target]
        if self._holds(self._routes[target], theirs, alarm.severity, now_us):
            _hold(theirs, alarm.alarm_id)
            return
        minutes = round(waited_us / US_PER_S / 60)
        yield from self._state_message(target, alarm, now_us, (name, minutes))
        _note_told(theirs, alarm, now_us)
        theirs.sent_us.append(now_us)
        log.info("escalated", extra={"alarm_id": alarm.alarm_id, "route": target})

    def _summarise(
        self, state: State, standing: dict[str, Alarm], now_us: int
    ) -> Iterator[Message]:
        """Tell what was held, as one message, when the quiet hours are over."""
        for name, route in self._routes.items():
            mine = state.routes[name]
            if not mine.held or self._holds(route, mine, 1, now_us):
                continue
            alarms = [standing[one] for one in mine.held if one in standing]
            mine.number += 1
            yield self._summary_message(name, mine, alarms, now_us)
            for alarm in alarms:
                if alarm.state is AlarmState.UNACK:
                    _note_told(mine, alarm, now_us)
            mine.held, mine.more = {}, 0
            mine.sent_us.append(now_us)

    # -- messages -----------------------------------------------------------------------------

    def _speaker(self, route: Route) -> notices.Speaker:
        config = self._config
        language = route.language or config.alarms.languages[0]
        return notices.Speaker(self._messages.texts, language, self._zone, config.notify.url)

    def _alarm_message(self, name: str, transition: Transition, now_us: int) -> Iterator[Message]:
        route = self._routes[name]
        takers = [(route.sink, {EVENT})]
        for one in self._messages.make([transition], takers, now_us, self._said_of):
            event = orjson.loads(one.body)
            values = notices.alarm_values(event, self._speaker(route))
            yield _message(name, one, notices.body_of(name, values, event), now_us)

    def _state_message(
        self, name: str, alarm: Alarm, now_us: int, escalated: tuple[str, int]
    ) -> Iterator[Message]:
        """A message of an alarm as it stands, which another route has told `minutes` ago."""
        route = self._routes[name]
        speaker = self._speaker(route)
        for event in self._events([alarm], now_us):
            values = notices.alarm_values(event, speaker)
            values = notices.escalated(values, speaker, *escalated)
            body = notices.body_of(name, values, event)
            yield Message(0, route.sink, EVENT, alarm.alarm_id, alarm.seq, name, body, now_us)

    def _summary_message(
        self, name: str, mine: RouteState, alarms: Sequence[Alarm], now_us: int
    ) -> Message:
        route = self._routes[name]
        key = f"notify.{name}"
        events = list(self._events(alarms, now_us))
        count = sum(mine.held.values()) + mine.more
        speaker, event_id = self._speaker(route), f"{key}:{mine.number}"
        values = notices.summary_values(events, count, speaker, event_id, now_us)
        body = notices.body_of(name, values, None)
        return Message(0, route.sink, EVENT, key, mine.number, name, body, now_us)

    def _events(self, alarms: Iterable[Alarm], now_us: int) -> Iterator[dict[str, Any]]:
        """Alarms as they stand, each as the event of an update."""
        for alarm in alarms:
            for one in self._messages.make_states([alarm], now_us, self._said_of):
                yield orjson.loads(one)


def _message(name: str, of: Message, body: bytes, now_us: int) -> Message:
    return Message(0, of.sink, EVENT, of.key, of.seq, name, body, now_us)


def _kind_for_people(transition: Transition, told: list[int] | None) -> TransitionKind:
    """The kind of a transition; a raise, if there is something new to answer for a person.

    told: see RouteState. A higher priority is new, and so is what was not told yet.
    """
    alarm, kind = transition.alarm, transition.kind
    if alarm.state is not AlarmState.UNACK:
        return kind
    is_new = told is None or _RANK.get(alarm.priority, 0) > told[1]
    is_raise = kind in _RAISES or (kind is TransitionKind.UPDATE and is_new)
    return TransitionKind.RAISE if is_raise else kind


def _concerns(route: Route, alarm: Alarm) -> bool:
    return alarm.severity >= route.severity and any(
        fnmatchcase(alarm.asset, pattern) for pattern in route.assets
    )


def _is_held(mine: RouteState, alarm: Alarm, kind: TransitionKind) -> bool:
    """True for the end of an alarm whose beginning is still held: the summary tells both."""
    return kind is not TransitionKind.RAISE and alarm.alarm_id in mine.held


def _hold(mine: RouteState, alarm_id: str) -> None:
    if alarm_id in mine.held or len(mine.held) < _MOST_HELD:
        mine.held[alarm_id] = mine.held.get(alarm_id, 0) + 1
    else:
        mine.more += 1


def _note_told(mine: RouteState, alarm: Alarm, now_us: int) -> None:
    """Remember when an alarm was told first, until somebody answers."""
    told = mine.told.setdefault(alarm.alarm_id, [now_us, 0])
    told[1] = _RANK.get(alarm.priority, 0)
