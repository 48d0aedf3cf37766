"""Everything that leaves: transitions into the store and its outbox, from there to the sinks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from edge_agent.alarms import load_texts
from edge_agent.config.structs import kind_of
from edge_agent.delivery import republish
from edge_agent.delivery.health import PublisherHealth
from edge_agent.delivery.memory import Memory
from edge_agent.delivery.message_ages import MessageAges
from edge_agent.delivery.messages import Messages
from edge_agent.delivery.sender import Sender
from edge_agent.errors import StoreError
from edge_agent.messages import AlarmState, LinkState, Transition, TransitionKind
from edge_agent.sinks import SINKS
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from edge_agent.alarms import AlarmCatalogue
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.messages import Alarm, Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant
    from edge_agent.sinks import Command, RefusedCommand, Sink
    from edge_agent.store import DroppedMessages, OutboxStats

P = ParamSpec("P")
T = TypeVar("T")
Choice: TypeAlias = "Callable[[Store, str, int], list[Transition]]"

log = logging.getLogger("edge_agent.delivery")

_MAX_UNSAVED: Final = 10_000  # transitions kept in memory while the disk refuses
_MEMORY: Final = "memory"
_LIFE: Final = "life"  # of the daemon, in the store: whether it was ended or killed
_BEGUN: Final = b"begun"
_ENDED: Final = b"ended"
_RETRY_S: Final = 5.0
_SAVE_AGAIN_S: Final = 1.0


class Publisher:
    """Store, sinks, and the delivery between them."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Clock,
        command: Callable[[Command | RefusedCommand], Awaitable[None]],
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._command = command
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None
        self._saving = asyncio.Lock()
        self._unsaved: list[Transition] = []
        self._unsaved_from_us = 0
        self._save_again_s = 0.0  # not before: a full disk must not cost every turn
        self._deliveries: dict[str, Sender] = {}
        self._attached = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.health = PublisherHealth(metrics, clock)
        self._ages = MessageAges(clock)
        self._remembered = -1
        self._stats: dict[str, OutboxStats] = {}
        self._envelopes = Messages(config)
        self.sinks: dict[str, Sink] = {}
        self._doubtful: set[str] = set()  # sinks that may have lost what they confirmed to us last

    async def start(self) -> list[Alarm]:
        """Open the store and start the sinks; gives the alarms as they were."""
        config = self._config
        self._store = await self._on_thread(
            lambda: Store.open(
                config.store.path,
                max_bytes=config.store.max_bytes,
                history_days=config.store.history_days,
                clock=self._clock,
            )
        )
        restored = await self.run(Store.alarms)
        await self.run(Store.forget_sinks, list(config.sinks))
        # Killed, the broker may have been, too.
        was_killed = await self.run(Store.load_value, _LIFE) == _BEGUN
        self._doubtful = set(config.sinks) if was_killed else set()
        with contextlib.suppress(StoreError):  # a disk that is full fails no start
            await self.run(Store.save_value, _LIFE, _BEGUN)
        for name, struct in config.sinks.items():
            await self._start_sink(name, struct)
        return restored

    async def _start_sink(self, name: str, struct: object) -> None:
        config = self._config
        sink = SINKS[kind_of(SINKS, struct)].make(
            name, struct, config.gateway, config.topic_root, self._metrics, self._clock
        )
        sink.on_connected = partial(self._connected, name)
        sink.on_forgotten = lambda: self._spawn(self._tell_again(name, "event", republish.events))
        sink.on_command = lambda command: self._spawn(self._carry_out(command))
        sink.on_refused = lambda command: self._spawn(self._carry_out(command))
        delivery = Sender(sink, self.run, self._metrics, on_confirmed=self._confirmed)
        self.sinks[name], self._deliveries[name] = sink, delivery
        await sink.start()
        await delivery.start()

    async def adopt(self, config: Config) -> None:
        """Exchange the sinks that a new config changes; the others go on."""
        self._envelopes.adopt(config, load_texts(config.alarms))
        old, self._config = self._config.sinks, config
        for name in [name for name in old if config.sinks.get(name) != old[name]]:
            await self._deliveries.pop(name).stop()
            await self.sinks.pop(name).stop()
        try:
            await self.run(Store.forget_sinks, list(config.sinks))
        except StoreError as error:  # what waits for a sink that is gone waits for the next start
            self.health.note_trouble(str(error))
        for name, struct in config.sinks.items():
            if name not in self.sinks:
                await self._start_sink(name, struct)

    def attach(self, policies: AlarmCatalogue) -> None:
        """Where alarms belong. What came from the bus before this has waited for it."""
        self._envelopes.policies = policies
        self._remembered = -1
        self._attached.set()

    async def stop(self, deadline_s: float) -> None:
        """Deliver what waits for at most `deadline_s`, then close; the rest waits in the store."""
        for task in self._tasks:
            task.cancel()
        await self._save()
        await asyncio.gather(*(d.flush(deadline_s) for d in self._deliveries.values()))
        for delivery in self._deliveries.values():
            await delivery.stop()
        for sink in self.sinks.values():
            await sink.stop()
        if self._store is not None:
            with contextlib.suppress(StoreError):  # then the next start tells some events again
                await self.run(Store.save_value, _LIFE, _ENDED)
            await self._on_thread(self._store.close)
            self._store = None
        self._thread.shutdown(wait=False)

    # -- out ----------------------------------------------------------------------------------

    async def send(
        self, transitions: Sequence[Transition], arrived_us: int, *, actor: str = ""
    ) -> None:
        """Commit transitions with their messages, then let the sinks know.

        What the disk refuses is kept in memory and tried again with whatever comes next; what has
        begun to be saved is saved, though the caller is cancelled.
        """
        if transitions and not self._unsaved:
            self._unsaved_from_us = arrived_us
        self._unsaved += transitions
        if self._unsaved and self._clock.monotonic_s() >= self._save_again_s:
            await asyncio.shield(self._save())
        if actor:
            await self.audit(
                [(actor, str(t.kind), t.alarm.alarm_id, t.alarm.comment) for t in transitions]
            )

    async def _save(self) -> None:
        async with self._saving:
            batch = self._unsaved[:]
            if not batch:
                return
            try:
                dropped = await self.run(Store.commit, batch, self._messages(batch))
            except StoreError as error:
                self.health.note_trouble(str(error))
                self._save_again_s = self._clock.monotonic_s() + _SAVE_AGAIN_S
                del self._unsaved[:-_MAX_UNSAVED]
                return
            del self._unsaved[: len(batch)]
            self.health.note_trouble("")
        for transition in batch:
            self._metrics.transitions.labels(transition.kind).inc()
        self._sent(dropped, self._deliveries)

    def _sent(self, dropped: Sequence[DroppedMessages], sinks: Iterable[str]) -> None:
        self.health.note_dropped(dropped)
        for name in sinks:
            if name in self._deliveries:  # a reload may have taken it meanwhile
                self._deliveries[name].wake()

    async def audit(self, entries: Sequence[tuple[str, str, str, str]]) -> None:
        """Note who did what to what, and why: (actor, action, subject, detail) each."""
        try:
            await self.run(Store.audit_all, entries)
        except StoreError as error:
            self.health.note_trouble(str(error))

    def send_scores(self, scores: Sequence[tuple[str, bytes]]) -> None:
        """Scores go out at once or not at all."""
        if scores:
            for sink in self.sinks.values():
                sink.publish_scores(scores)

    def set_degraded(self, degraded: bool) -> None:  # noqa: FBT001 - a state, not an option
        """Tell the plant bus how the service is."""
        for sink in self.sinks.values():
            sink.set_status("degraded" if degraded else "online")

    def _messages(self, batch: Iterable[Transition]) -> list[Message]:
        taken = [(name, sink.kinds) for name, sink in self.sinks.items()]
        now_us = self._unsaved_from_us
        return [m for transition in batch for m in self._envelopes.of(transition, taken, now_us)]

    def _connected(self, name: str) -> None:
        self._spawn(self._tell_again(name, "alert", republish.states))
        if name in self._doubtful:
            self._doubtful.remove(name)
            self._spawn(self._tell_again(name, "event", republish.events))

    async def _tell_again(self, name: str, kind: str, choose: Choice) -> None:
        """Tell a sink what its receiver may have forgotten."""
        await self._attached.wait()
        while name in self.sinks and kind in self.sinks[name].kinds:
            try:
                told, dropped = await self._on_thread(lambda: self._enqueue(name, kind, choose))
            except StoreError as error:
                self.health.note_trouble(str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            self._sent(dropped, [name])
            if told:
                log.info("told again", extra={"sink": name, "kind": kind, "alarms": told})
            return

    def _enqueue(self, name: str, kind: str, choose: Choice) -> tuple[int, list[DroppedMessages]]:
        """On the store's thread, so that no newer state can be committed before an older one."""
        store, now_us = self._opened(), self._clock.now_us()
        sinks = [(name, {kind})]
        again = choose(store, name, now_us)
        found = [m for transition in again for m in self._envelopes.of(transition, sinks, now_us)]
        return len(found), store.commit([], found) if found else []

    async def _carry_out(self, command: Command | RefusedCommand) -> None:
        """A command from the plant bus."""
        await self._attached.wait()
        await self._command(command)

    # -- the store's thread -------------------------------------------------------------------

    async def run(
        self, function: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the store, given unbound, on its own thread."""
        return await self._on_thread(lambda: function(self._opened(), *args, **options))

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def history(
        self, asset: str | None, alarm_id: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Past transitions, the newest first."""
        return await self.run(Store.history, asset=asset, alarm_id=alarm_id, limit=limit)

    def _opened(self) -> Store:
        if self._store is None:
            raise StoreError("the store is closed")
        return self._store

    # -- memory -------------------------------------------------------------------------------

    async def recall(self) -> Memory:
        """What was remembered before the last stop."""
        return Memory.parse(await self.run(Store.load_value, _MEMORY))

    async def remember(self, plant: Plant) -> None:
        """Keep what is worth knowing of the plant, where it has changed."""
        if len(plant.assets) == self._remembered:
            return
        try:
            await self.run(Store.save_value, _MEMORY, Memory.of(plant).dump())
        except StoreError as error:
            self.health.note_trouble(str(error))
            return
        self._remembered = len(plant.assets)

    async def withdraw(self, alarms: Iterable[Alarm], memory: Memory) -> None:
        """Clear alarms that can be no more, since their asset left the config."""
        self._envelopes.places = memory.paths
        now_us = self._clock.now_us()
        standing = [alarm for alarm in alarms if alarm.state is not AlarmState.NORMAL]
        gone = [Transition(TransitionKind.CLEAR, now_us, _at_rest(a)) for a in standing]
        await self.send(gone, now_us)
        if gone:
            log.info("alarms withdrawn", extra={"alarms": len(gone)})

    # -- our own state ------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read how much waits; for metrics and the status page."""
        self._ages.look()
        try:
            self._stats = await self.run(Store.outbox_stats)
        except StoreError as error:
            self.health.note_trouble(str(error))

    def stats(self) -> list[dict[str, Any]]:
        """Messages that wait, by sink."""
        return [
            {
                "sink": name,
                "rows": one.rows if one else 0,
                "bytes": one.bytes if one else 0,
                "oldest_s": self._ages.seconds(one.oldest_us) if one else 0.0,
                "refused": self._deliveries[name].refusals.waiting,
                "given_up": self._deliveries[name].refusals.given_up,
            }
            for name, one in ((name, self._stats.get(name)) for name in self.sinks)
        ]

    def export(self) -> None:
        """Bring the gauges up to date."""
        for row in self.stats():
            self._metrics.outbox_rows.labels(row["sink"]).set(row["rows"])
            self._metrics.outbox_bytes.labels(row["sink"]).set(row["bytes"])
            self._metrics.outbox_oldest_seconds.labels(row["sink"]).set(row["oldest_s"])
            self._metrics.sink_refused.labels(row["sink"]).set(row["refused"])
        for name, sink in self.sinks.items():
            self._metrics.sink_up.labels(name).set(sink.link.state is LinkState.UP)

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """An alarm's message and advice by language."""
        return self._envelopes.texts_of(alarm)

    def _confirmed(self, message: Message) -> None:
        seconds = self._ages.seconds(message.created_us)
        self._metrics.end_to_end_seconds.labels(message.sink).observe(seconds)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _at_rest(alarm: Alarm) -> Alarm:
    return replace(alarm, state=AlarmState.NORMAL, active=False, seq=alarm.seq + 1)
