"""The output of the service: transitions to the store and its outbox, then to the sinks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import AlarmMessages, audit_detail, load_texts
from edge_agent.config.structs import kind_of
from edge_agent.config.types import Name
from edge_agent.delivery import republish
from edge_agent.delivery.health import PublisherHealth
from edge_agent.delivery.memory import Memory
from edge_agent.delivery.receivers import Receivers
from edge_agent.delivery.sender import Sender
from edge_agent.errors import StoreError
from edge_agent.messages import AlarmState, Transition, TransitionKind
from edge_agent.sinks import ALERT, SINKS
from edge_agent.store import JournalReader, Store, StoreWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence

    from edge_agent.alarms import AlarmCatalogue
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.delivery.health import RefusalLog
    from edge_agent.delivery.notifier import Notifier
    from edge_agent.messages import Alarm, Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant
    from edge_agent.sinks import Command, Position, RefusedCommand, Sink
    from edge_agent.store import DroppedMessages, OutboxStats

log = logging.getLogger("edge_agent.delivery")

_MAX_UNSAVED: Final = 10_000  # transitions kept in memory while the disk fails
_MEMORY: Final = "memory"
_SHOWN: Final = 5
_LIFE: Final = "life"  # key in the store: if the daemon was stopped or killed
_RUNNING: Final = b"begun"
_STOPPED: Final = b"ended"
_RETRY_S: Final = 5.0
_SAVE_AGAIN_S: Final = 1.0


class Publisher:
    """Owns the store, the sinks, and a sender for each sink; journal: reads what the store keeps.

    unsaved: transitions that could not be written to the disk yet. saved_assets: how many assets
    `save_memory` has stored, -1 for none. on_recovered: called when the file can be read at last
    after a start without it, with its alarms that are not known. on_replaced: called when a new
    file takes the place of a damaged one: what parts of the daemon stored is gone.
    Of a pair of gateways (`standby`) only the active one has sinks: is_active; the other one hands
    its transitions to `divert`. may_send: False while it is not sure that we are the active one.
    on_transitions: called with the transitions of each `send`, also while nothing can be stored.
    """

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
        self.store = StoreWorker()
        self.journal = JournalReader(config.store.path, self.store)
        self._saving = asyncio.Lock()
        self.unsaved: list[Transition] = []
        self._unsaved_from_us = 0
        self._save_again_s = 0.0  # not earlier: a full disk must not slow every turn
        self._senders: dict[str, Sender] = {}
        self._has_catalogue = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.health = PublisherHealth(metrics, clock)
        self.saved_assets = -1
        self._stats: dict[str, OutboxStats] = {}
        self._messages = AlarmMessages(config)
        self.sinks: dict[str, Sink] = {}
        self._receivers = Receivers(self._enqueue, self.store, self._spawn)
        self.on_recovered: Callable[[list[Alarm]], Awaitable[None]] = _ignore
        self.on_replaced: Callable[[], Awaitable[None]] = _ignore
        self.is_active = not config.standby.enabled
        self.divert: Callable[[Sequence[Transition]], None] = lambda _: None
        self.may_send: Callable[[], bool] = lambda: True
        self.on_transitions: Callable[[Sequence[Transition]], None] = lambda _: None
        self._notifier: Notifier | None = None

    async def start(self) -> list[Alarm]:
        """Open the store and start the sinks; returns the alarms as last committed.

        Without a usable disk it begins in memory; StoreError if another edge-agent uses the store.
        """
        config = self._config
        await self.store.open(
            config.store.path,
            max_bytes=config.store.max_bytes,
            history_days=config.store.history_days,
            clock=self._clock,
        )
        restored = await self.store.run(Store.alarms)
        await self._begin_run()
        if self.is_active:
            await self._start_sinks()
        return restored

    async def _restart_routes(self, *, takes_over: bool = False) -> None:
        """Follow the history with the routes of the config, once alarms have their catalogue."""
        await self._stop_routes()
        if self._config.notify.routes and self.is_active and self._has_catalogue.is_set():
            from edge_agent.delivery.notifier import Notifier  # noqa: PLC0415 (few have routes)

            args = (self._config, self.store, self._messages, self._clock, self._wake_sinks)
            self._notifier = Notifier(*args)
            await self._notifier.start(takes_over=takes_over)

    async def _stop_routes(self) -> None:
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            await notifier.stop()

    def _wake_sinks(self, names: Iterable[str]) -> None:
        self._sent((), names)

    def _takers(self) -> list[tuple[str, Collection[str]]]:
        """The sinks that get all transitions, with their kinds: those of routes get messages."""
        routed = {route.sink for route in self._config.notify.routes.values()}
        if self._config.maintenance is not None:
            routed.add(self._config.maintenance.sink)
        return [(name, one.kinds) for name, one in self.sinks.items() if name not in routed]

    async def _start_sinks(self) -> None:
        for name, struct in self._config.sinks.items():
            if name not in self.sinks:  # unchanged by a reload
                await self._start_sink(name, struct)

    async def _begin_run(self) -> None:
        """Note in the store that the service runs, and if it was killed before."""
        sinks = self._config.sinks
        await self.store.run(Store.forget_sinks, list(sinks))
        was_killed = await self.store.run(Store.load_value, _LIFE) == _RUNNING
        await self._receivers.restore(was_killed=was_killed)
        with contextlib.suppress(StoreError):  # a full disk does not prevent the start
            await self.store.run(Store.save_value, _LIFE, _RUNNING)

    async def _start_sink(self, name: str, struct: object) -> None:
        config = self._config
        sink = SINKS[kind_of(SINKS, struct)].make(
            name, struct, config.gateway, config.topic_root, self._metrics, self._clock
        )
        self._receivers.follow(sink)
        sink.on_command = lambda command: self._spawn(self._carry_out(command))
        sink.on_refused = lambda command: self._spawn(self._carry_out(command))
        confirmed = self.health.measure_delivery
        sender = Sender(
            sink,
            self.store,
            self._metrics,
            on_confirmed=confirmed,
            may_send=self.may_send,
            now_us=self._clock.now_us,
        )
        self.sinks[name], self._senders[name] = sink, sender
        await sink.start()
        await sender.start()

    async def replace_config(self, config: Config) -> None:
        """Replace the sinks that a new config changes; the others continue."""
        self._messages.replace_config(config, load_texts(config.alarms))
        old, self._config = self._config.sinks, config
        for name in [
            name for name in self.sinks if config.sinks.get(Name(name)) != old[Name(name)]
        ]:
            await self._stop_sink(name)
        try:
            await self.store.run(Store.forget_sinks, list(config.sinks))
        except StoreError as error:  # messages for a removed sink wait until the next start
            self.health.set_trouble(str(error))
        if self.is_active:
            await self._start_sinks()
        await self._restart_routes()

    async def _stop_sink(self, name: str) -> None:
        await self._senders.pop(name).stop()
        await self.sinks.pop(name).stop()

    async def activate(self) -> None:
        """Begin to send: this gateway of a pair is the active one now."""
        self.is_active = True
        await self._start_sinks()
        await self._restart_routes(takes_over=True)

    async def deactivate(self, *, is_replaced: bool) -> None:
        """End to send: the other gateway is the active one, or may be soon.

        is_replaced: it is active already, so its state must stay on the bus.
        """
        self.is_active = False
        await self._stop_routes()
        self.unsaved.clear()
        for name in list(self.sinks):
            self.sinks[name].is_replaced = is_replaced
            await self._stop_sink(name)

    async def hand_over(self, deadline_s: float) -> None:
        """Send what waits, for at most `deadline_s`, then say `offline` and send no more."""
        await self._save()
        await asyncio.gather(*(one.flush(deadline_s) for one in self._senders.values()))
        await self.deactivate(is_replaced=False)

    async def store_announced(self, transitions: Sequence[Transition]) -> None:
        """Store what the active gateway of a pair has announced; nothing is sent."""
        try:
            await self.store.run(Store.commit, transitions, [])
        except StoreError as error:
            self.health.set_trouble(str(error))

    async def void_waiting(self) -> None:
        """Forget what we could not send before the other gateway became active."""
        count = await self.store.run(Store.void_waiting)
        if count:
            log.warning("not sent, the other gateway is active", extra={"messages": count})

    def wake(self) -> None:
        """Signal that `may_send` has changed."""
        for sender in self._senders.values():
            sender.wake()

    def set_catalogue(self, catalogue: AlarmCatalogue) -> None:
        """Set the catalogue of alarms; commands from the plant bus wait for the first call."""
        self._messages.catalogue = catalogue
        self.saved_assets = -1
        self._has_catalogue.set()
        if self._config.notify.routes and self._notifier is None:
            self._spawn(self._restart_routes())

    async def stop(self, deadline_s: float) -> None:
        """Deliver for at most `deadline_s`, then close; the rest stays in the store."""
        await self._save()
        if self._notifier is not None:
            with contextlib.suppress(StoreError):  # then after the next start
                await self._notifier.advance()
        await self._stop_routes()
        await asyncio.gather(*(d.flush(deadline_s) for d in self._senders.values()))
        for task in self._tasks:  # after the flush: events wait until what is lost is sent again
            task.cancel()
        for sender in self._senders.values():
            await sender.stop()
        for sink in self.sinks.values():
            await sink.stop()
        with contextlib.suppress(StoreError):  # then the next start sends some events again
            await self.store.run(Store.save_value, _LIFE, _STOPPED)
        self.journal.close()
        await self.store.close()

    # -- out ----------------------------------------------------------------------------------

    async def send(
        self, transitions: Sequence[Transition], arrived_us: int, *, actor: str = ""
    ) -> None:
        """Commit transitions with their messages, then wake the senders.

        Transitions that cannot be written are kept in memory and tried again with the next ones; a
        write that has begun is completed, even if the caller is cancelled.
        """
        if not self.is_active:
            self.divert(transitions)
            return
        self.on_transitions(transitions)
        if transitions and not self.unsaved:
            self._unsaved_from_us = arrived_us
        self.unsaved += transitions
        refused = self._save_again_s > 0.0 and self._clock.monotonic_s() < self._save_again_s
        if self.unsaved and not refused:
            await asyncio.shield(self._save())
        if actor:
            await self.audit(
                [(actor, str(t.kind), t.alarm.alarm_id, audit_detail(t.alarm)) for t in transitions]
            )

    async def _save(self) -> None:
        async with self._saving:
            batch = self.unsaved[:]
            if not batch:
                return
            made = self._messages, self._takers(), self._unsaved_from_us
            try:
                dropped = await self.store.run(republish.commit, batch, *made)
            except StoreError as error:
                self.health.set_trouble(str(error))
                self._save_again_s = self._clock.monotonic_s() + _SAVE_AGAIN_S
                del self.unsaved[:-_MAX_UNSAVED]
                return
            del self.unsaved[: len(batch)]
            self._save_again_s = 0.0
            if self.health.trouble:
                self.health.set_trouble("")
        for transition in batch:
            self._metrics.transitions.labels(transition.kind).inc()
        self._sent(dropped, self._senders)
        if self._notifier is not None:
            self._notifier.wake()

    def _sent(self, dropped: Sequence[DroppedMessages], sinks: Iterable[str]) -> None:
        if dropped:
            self.health.count_dropped(dropped)
        for name in sinks:
            if name in self._senders:  # a reload may have removed it meanwhile
                self._senders[name].wake()

    async def audit(self, entries: Sequence[tuple[str, str, str, str]]) -> None:
        """Record commands in the audit: (actor, action, subject, detail) each."""
        try:
            await self.store.run(Store.audit_all, entries)
        except StoreError as error:
            self.health.set_trouble(str(error))

    def send_scores(self, scores: Sequence[tuple[str, bytes]]) -> None:
        """Send scores at once; a sink that is not connected drops them."""
        if scores and self.may_send():
            for sink in self.sinks.values():
                sink.publish_scores(scores)

    async def store_proposals(self, key: str, value: bytes, messages: Sequence[Message]) -> None:
        """Store a value together with messages of proposals, and send them."""
        try:
            await self.store.run(Store.enqueue, key, value, messages)
        except StoreError as error:
            self.health.set_trouble(str(error))
            return
        self._sent((), {one.sink for one in messages})

    def failure_mode_of(self, alarm: Alarm) -> str:
        """The name of an alarm's failure mode in the catalogue; empty if it is unknown."""
        return self._messages.texts.failure_mode_of(alarm)

    def set_degraded(self, degraded: bool) -> None:  # noqa: FBT001 - a state, not an option
        """Publish the state of the service on the plant bus."""
        for sink in self.sinks.values():
            sink.set_status("degraded" if degraded else "online")

    async def _enqueue(
        self,
        name: str,
        kind: str,
        mark: Position | None = None,
        sent: Collection[tuple[str, int]] = (),
    ) -> None:
        """Send messages again that a receiver may have lost; mark, sent: see `Sink`."""
        await self._has_catalogue.wait()
        while name in self.sinks and kind in self.sinks[name].kinds:
            lost = republish.Lost(name, kind, mark, sent)
            now_us = self._clock.now_us()
            try:
                count, dropped = await self.store.run(
                    republish.enqueue, lost, self._messages, now_us
                )
            except StoreError as error:
                self.health.set_trouble(str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            self._sent(dropped, [name])
            if count:
                log.info("sent again", extra={"sink": name, "kind": kind, "alarms": count})
            return

    async def _carry_out(self, command: Command | RefusedCommand) -> None:
        """Carry out a command from the plant bus."""
        await self._has_catalogue.wait()
        await self._command(command)

    # -- memory -------------------------------------------------------------------------------

    async def load_memory(self) -> Memory:
        """Return the data that `save_memory` stored before the last stop."""
        return Memory.parse(await self.store.run(Store.load_value, _MEMORY))

    async def save_memory(self, plant: Plant) -> None:
        """Store the data of the plant that a restart needs, if its assets have changed."""
        assets = len(plant.assets)  # before the store works: others may be discovered meanwhile
        if assets == self.saved_assets:
            return
        try:
            await self.store.run(Store.save_value, _MEMORY, Memory.of(plant).dump())
        except StoreError as error:
            self.health.set_trouble(str(error))
            return
        self.saved_assets = assets

    async def withdraw(self, alarms: Iterable[Alarm], memory: Memory) -> None:
        """Clear alarms whose asset is no longer in the config.

        memory: of their assets, or some of them; what an earlier one said of others stays known.
        """
        self._messages.places |= memory.paths
        now_us = self._clock.now_us()
        standing = [alarm for alarm in alarms if alarm.state is not AlarmState.NORMAL]
        gone = [Transition(TransitionKind.CLEAR, now_us, _as_normal(a)) for a in standing]
        await self.send(gone, now_us)
        if gone:
            log.info("alarms withdrawn", extra={"alarms": len(gone)})
        lost = sorted({one.asset for one in standing} - self._messages.places.keys())
        if lost:
            extra = {"assets": ", ".join(lost[:_SHOWN]), "count": len(lost)}
            log.warning("withdrawn without a message: no place on the bus is known", extra=extra)

    # -- our own state ------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Check the store, and read how many messages wait, for metrics and the status page."""
        self.health.ages.detect_clock_step()
        recovered = await self.store.check()
        if self.health.follow_store(self.store):
            await self._refill()
        if recovered is not None:
            await self._begin_run()
            await self.on_recovered(recovered)
        try:
            self._stats = await self.store.run(Store.outbox_stats)
        except StoreError as error:
            self.health.set_trouble(str(error))

    async def _refill(self) -> None:
        """A damaged file was replaced by a new one: what waited there is lost, states are not."""
        self.saved_assets = -1
        for name in self.sinks:
            self._spawn(self._enqueue(name, ALERT))
        await self.on_replaced()

    def stats(self) -> list[dict[str, Any]]:
        """Return how many messages wait, by sink."""
        return [
            self.health.waiting(name, self._stats.get(name), self._senders[name].refusals)
            for name in self.sinks
        ]

    def refusals(self, sink: str) -> RefusalLog:
        """What the receiver of a sink refuses."""
        return self._senders[sink].refusals

    def export(self) -> None:
        """Update the gauges."""
        self.health.export(self.stats(), self.sinks)

    def texts_of(self, alarm: Alarm) -> dict[str, dict[str, str]]:
        """Return an alarm's message and advice by language."""
        return self._messages.texts_of(alarm)

    def guidance_of(self, alarm: Alarm) -> dict[str, Any] | None:
        """Return causes, checks and mends of an alarm by language; None if there are none."""
        return self._messages.texts.guidance(alarm)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _ignore(*_: object) -> None:
    """Stand in for a callback that is not set."""


def _as_normal(alarm: Alarm) -> Alarm:
    return replace(alarm, state=AlarmState.NORMAL, active=False, seq=alarm.seq + 1)
