"""Everything that leaves: transitions into the store and its outbox, from there to the sinks."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from edge_agent.alarms import load_texts, messages, topics
from edge_agent.clock import US_PER_S
from edge_agent.daemon._memory import Memory
from edge_agent.daemon._outlet_health import OutletHealth
from edge_agent.daemon._tables import kind_of
from edge_agent.errors import EdgeAgentError, StoreError
from edge_agent.records import (
    AlarmState,
    LinkState,
    Message,
    Transition,
    TransitionKind,
)
from edge_agent.sinks import SINKS, Delivery
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config import Config, Plant
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Policies
    from edge_agent.records import Alarm
    from edge_agent.sinks import Command, Sink
    from edge_agent.store import OutboxStats

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("edge_agent.outlet")

_MAX_UNSAVED: Final = 10_000  # transitions kept in memory while the disk refuses
_MEMORY: Final = "memory"


class Outlet:
    """Store, sinks, and the delivery between them."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Clock,
        command: Callable[..., Awaitable[object]],
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
        self._deliveries: dict[str, Delivery] = {}
        self._active: Callable[[], list[Alarm]] = list
        self._tasks: set[asyncio.Task[None]] = set()
        self.health = OutletHealth(config.gateway.id, metrics, clock)
        self._remembered = -1
        self._stats: dict[str, OutboxStats] = {}
        self._texts = load_texts(config.alarms)
        self.policies: Policies | None = None
        self.sinks: dict[str, Sink] = {}

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
        for name, struct in config.sinks.items():
            await self._start_sink(name, struct)
        return restored

    async def _start_sink(self, name: str, struct: object) -> None:
        config = self._config
        sink = SINKS[kind_of(SINKS, struct)].make(
            name, struct, config.gateway, config.topic_root, self._metrics, self._clock
        )
        sink.on_session_lost = lambda: self._spawn(self._republish(name))
        sink.on_command = lambda command: self._spawn(self._carry_out(command))
        delivery = Delivery(sink, self.run, self._metrics, on_confirmed=self._confirmed)
        self.sinks[name], self._deliveries[name] = sink, delivery
        await sink.start()
        await delivery.start()

    async def adopt(self, config: Config) -> None:
        """Exchange the sinks that a new config changes; the others go on."""
        old, self._config = self._config.sinks, config
        self._texts = load_texts(config.alarms)
        for name in [name for name in old if config.sinks.get(name) != old[name]]:
            await self._deliveries.pop(name).stop()
            await self.sinks.pop(name).stop()
        await self.run(Store.forget_sinks, list(config.sinks))
        for name, struct in config.sinks.items():
            if name not in self.sinks:
                await self._start_sink(name, struct)

    def attach(self, policies: Policies, active: Callable[[], list[Alarm]]) -> None:
        """Where alarms belong, and which are active: for the messages about them."""
        self.policies, self._active = policies, active

    async def stop(self, deadline_s: float) -> None:
        """Deliver what waits for at most `deadline_s`, then close; the rest waits in the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(d.flush(deadline_s) for d in self._deliveries.values()))
        for delivery in self._deliveries.values():
            await delivery.stop()
        for sink in self.sinks.values():
            await sink.stop()
        if self._store is not None:
            await self._on_thread(self._store.close)
            self._store = None
        self._thread.shutdown(wait=False)

    # -- out ----------------------------------------------------------------------------------

    async def send(
        self, transitions: Sequence[Transition], arrived_us: int, *, actor: str = ""
    ) -> None:
        """Commit transitions with their messages, then let the sinks know.

        What the disk refuses is kept in memory and tried again with whatever comes next.
        """
        if not transitions and not self._unsaved:
            return
        async with self._saving:
            if not self._unsaved:
                self._unsaved_from_us = arrived_us
            batch = [*self._unsaved, *transitions][-_MAX_UNSAVED:]
            self._unsaved = batch
            if not batch:
                return
            try:
                dropped = await self.run(Store.commit, batch, self._messages(batch))
            except StoreError as error:
                self.health.note_trouble(str(error))
                return
            self._unsaved = []
            self.health.note_trouble("")
            if actor:
                subject = batch[-1].alarm.alarm_id
                await self.run(Store.audit, actor, batch[-1].kind, subject)
        self.health.note_dropped(dropped)
        for transition in transitions:
            self._metrics.transitions.labels(transition.kind).inc()
        for delivery in self._deliveries.values():
            delivery.wake()

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
        return [m for transition in batch for m in self._messages_of(transition, taken)]

    def _messages_of(
        self, transition: Transition, sinks: Sequence[tuple[str, frozenset[str]]]
    ) -> list[Message]:
        policy = self.policies(transition.alarm.alarm_id) if self.policies else None
        if policy is None:
            return []
        config = self._config
        return messages(
            transition,
            gateway=config.gateway,
            root=config.topic_root,
            path=policy.path,
            texts=self._texts,
            rule=policy.rule,
            sinks=sinks,
            now_us=self._unsaved_from_us,
        )

    async def _republish(self, name: str) -> None:
        """The broker forgot its session, and with it perhaps the retained alarms: tell it again.

        Each carries its old id, so whoever has it already knows it as the same.
        """
        again = [Transition(TransitionKind.UPDATE, a.changed_us, a) for a in self._active()]
        sinks = [(name, frozenset({"alert"}))]
        found = [m for transition in again for m in self._messages_of(transition, sinks)]
        if found:
            await self.run(Store.commit, [], found)
            self._deliveries[name].wake()
            log.info("alarms published again", extra={"sink": name, "alarms": len(found)})

    async def _carry_out(self, command: Command) -> None:
        """A command from the plant bus."""
        try:
            await self._command(command.kind, command.alarm_id, command.actor, command.duration_s)
        except EdgeAgentError as error:
            log.warning("command refused", extra={"alarm": command.alarm_id, "reason": str(error)})

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
        """Empty the retained alerts of alarms that can be no more: their asset left the config."""
        root, now_us = self._config.topic_root, self._clock.now_us()
        found = [
            Message(
                0, name, "alert", a.alarm_id, a.seq, topics(a.alarm_id, root, path)[0], b"", now_us
            )
            for a in alarms
            if (path := memory.paths.get(a.asset)) is not None
            for name, sink in self.sinks.items()
            if "alert" in sink.kinds
        ]
        gone = [Transition(TransitionKind.CLEAR, now_us, _at_rest(a)) for a in alarms]
        if gone:
            await self.run(Store.commit, gone, found)
            log.info("alarms withdrawn", extra={"alarms": len(gone)})

    # -- our own state ------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read how much waits; for metrics and the status page."""
        self._stats = await self.run(Store.outbox_stats)

    def stats(self) -> list[dict[str, Any]]:
        """Messages that wait, by sink."""
        now_us = self._clock.now_us()
        return [
            {
                "sink": name,
                "rows": one.rows if one else 0,
                "bytes": one.bytes if one else 0,
                "oldest_s": max(0.0, (now_us - one.oldest_us) / US_PER_S) if one else 0.0,
            }
            for name, one in ((name, self._stats.get(name)) for name in self.sinks)
        ]

    def export(self) -> None:
        """Bring the gauges up to date."""
        for row in self.stats():
            self._metrics.outbox_rows.labels(row["sink"]).set(row["rows"])
            self._metrics.outbox_bytes.labels(row["sink"]).set(row["bytes"])
            self._metrics.outbox_oldest_seconds.labels(row["sink"]).set(row["oldest_s"])
        for name, sink in self.sinks.items():
            self._metrics.sink_up.labels(name).set(sink.link.state is LinkState.UP)

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """An alarm's message and advice by language."""
        policy = self.policies(alarm.alarm_id) if self.policies else None
        if policy is None:
            return {"message": {}, "advice": {}}
        return {
            "message": self._texts.message(alarm, policy.rule),
            "advice": self._texts.advice(alarm, policy.rule),
        }

    def _confirmed(self, message: Message) -> None:
        seconds = (self._clock.now_us() - message.created_us) / US_PER_S
        self._metrics.end_to_end_seconds.labels(message.sink).observe(max(0.0, seconds))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _at_rest(alarm: Alarm) -> Alarm:
    return replace(alarm, state=AlarmState.NORMAL, active=False, seq=alarm.seq + 1)
