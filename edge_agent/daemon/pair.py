"""A pair of gateways with one id: one is active, the other runs beside it and takes over.

Both run sources, windows, models and the alarm table. Only the holder of the lease has sinks; the
other one follows its alerts and events, so that an alarm keeps its id, number and acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import event_source
from edge_agent.clock import NEVER, US_PER_S
from edge_agent.config.types import Name
from edge_agent.daemon.handover import continue_alarms
from edge_agent.delivery import Followed, Lease, Note, Role
from edge_agent.errors import EdgeAgentError, UsageError
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.sinks import OFFLINE, LeaseLink
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.pipeline_loop import PipelineLoop
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Alarm, Transition
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.daemon")

SETTLE_S: Final = 0.2  # what the other one sent last may still be on its way
SYNC_S: Final = 5.0
FLUSH_S: Final = 0.5
CATCH_UP_S: Final = 60.0  # of values that waited, after a take-over
ALONE_S: Final = 60.0  # without another member: an alarm
_TICKS: Final = 20  # in a lease
_COMPARED_S: Final = 10.0
_LAG_US: Final = 2 * US_PER_S  # of an announcement behind its values
_KEY: Final = "lease"


class Pair:
    """This gateway's part in a pair; for a gateway of its own everything is `active`.

    It is the listener of its `LeaseLink`; the calls come in the order of the broker's messages.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the parts that a change of roles touches)
        self,
        config: Config,
        runtime: Callable[[], Runtime],
        loop: PipelineLoop,
        publisher: Publisher,
        values: SavedValues,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.is_pair = config.standby.enabled
        self.own = config.gateway.member
        self.members: dict[str, str] = {}  # the others, with their state
        self._config = config
        self._runtime = runtime
        self._loop = loop
        self._publisher = publisher
        self._values = values
        self._metrics = metrics
        self._clock = clock
        self._lease: Lease | None = None
        self._link: LeaseLink | None = None
        self._followed = Followed(event_source(config.gateway))
        self._is_synced = asyncio.Event()
        self._changed = asyncio.Event()
        self._saved: tuple[int, str] = (0, "")
        self._was_suspended = False
        self._synced_us = 0  # when we knew all that was announced; 0: not yet
        self._decided_us = NEVER  # event time before which the active one has decided
        self._catching_up: asyncio.TimerHandle | None = None
        self._alone_since_s = clock.monotonic_s()
        self._jobs: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.active.set(not self.is_pair)
        if self.is_pair:
            publisher.divert = self._accept_own
            publisher.may_send = self._may_send

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to ask for the lease; returns at once."""
        if not self.is_pair:
            return
        config, lease_s = self._config, float(self._config.standby.lease)
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            data = orjson.loads(await self._values.load(_KEY) or b"{}")
            self._saved = int(data["epoch"]), str(data["holder"])
        run = secrets.token_hex(4)
        self._lease = Lease(self.own, run, lease_s, self._publish, *self._saved)
        name = config.standby.sink or _first_broker(config)
        self._link = LeaseLink(
            name,
            config.sinks[Name(name)],
            config.gateway,
            config.topic_root,
            lease_s,
            self,
            self._metrics,
            self._clock,
        )
        await self._link.start()
        self._jobs = [
            asyncio.create_task(self._keep_time(lease_s / _TICKS), name="lease"),
            asyncio.create_task(self._change_roles(), name="roles"),
        ]

    async def hand_over(self) -> None:
        """Let the other gateway take over at once: send what waits, then give the lease back."""
        if self._lease is None or self._link is None:
            return
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        if self._publisher.is_active:
            await self._loop.run_turn()
            await self._publisher.hand_over(FLUSH_S)
        note = self._lease.release()
        await self._link.stop(None if note is None else note.dump())
        self._show_role()

    # -- what others ask ----------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """What this gateway is now."""
        if not self.is_pair:
            return Role.ACTIVE
        if not self._publisher.is_active:
            return Role.STANDBY
        return Role.ACTIVE if self._may_send() else Role.SUSPENDED

    def summary(self) -> dict[str, Any]:
        """The pair for the status page; empty for a gateway of its own."""
        if not self.is_pair or self._lease is None:
            return {}
        return {
            "member": self.own,
            "role": self.role,
            "holder": self._lease.holder,
            "epoch": self._lease.epoch,
            "others": dict(self.members),
        }

    def expect_active(self) -> None:
        """Refuse a command that only the active gateway can carry out."""
        if self.role is Role.ACTIVE:
            return
        holder = self._lease.holder if self._lease else ""
        hint = "wait some seconds"
        if holder not in {"", self.own}:
            hint = f"the active one is {holder}: give it the command, or send it over the bus"
        raise UsageError(f"this gateway is on {self.role}: it changes no alarm", hint=hint)

    def last_number(self, alarm_id: str) -> int:
        """The number of an alarm's last transition, by either gateway."""
        stored = self._publisher.store.last_number(alarm_id)
        if self._lease is None:
            return stored
        return self._followed.number_of(alarm_id, stored, self._lease.epoch)

    def faults(self) -> list[Fault]:
        """The broker of the lease is away, or there is no other gateway that takes over."""
        if self._link is None:
            return []
        found = list(self._link.link.faults.values())
        if self._link.link.state is LinkState.DOWN:
            reason = self._link.link.detail
            text = f"lease: no connection to its broker, nothing is sent: {reason}"
            found.append(Fault("lease", text, Detail("lease_lost", {"reason": reason})))
        elif self._is_alone():
            text = "standby: no other gateway is there to take over"
            found.append(Fault("standby", text, Detail("standby_away")))
        return found

    def _is_alone(self) -> bool:
        now_s = self._clock.monotonic_s()
        if any(state != OFFLINE for state in self.members.values()):
            self._alone_since_s = now_s
        return self._publisher.is_active and now_s - self._alone_since_s > ALONE_S

    # -- the connection (`PairListener`) --------------------------------------------------------

    def connected(self) -> None:
        """A new connection: what is retained comes first."""
        if self._lease is not None:
            self._is_synced.clear()
            self._synced_us = 0
            if not self._publisher.is_active:
                self._followed.start_again()
            self._lease.accept_connection(self._clock.monotonic_s())

    def complete(self) -> None:
        """All that the broker keeps has arrived."""
        if self._lease is None:
            return
        if not self._publisher.is_active and self._lease.holder not in {"", self.own}:
            self._spawn(self._end_alarms_that_are_gone())
        else:
            self._is_synced.set()
        self._synced_us = self._clock.now_us()
        self._lease.accept_complete(self._clock.monotonic_s())
        self._follow_lease()

    def lost(self) -> None:
        """The connection ended: the other one may become active."""
        if self._lease is not None:
            self._lease.accept_loss()
            self._follow_lease()

    def lease(self, body: bytes) -> None:
        """A note of the lease."""
        note = Note.parse(body)
        if self._lease is None or note is None:
            return
        now_s = self._clock.monotonic_s()
        self._lease.accept_note(note, now_s)
        if note.member != self.own and self._lease.last is note and self._synced_us:
            self._note_life(now_s)
        self._follow_lease()

    def _note_life(self, now_s: float) -> None:
        """The active one is there: what it did not announce until now, it has not found."""
        kept_s = max(_COMPARED_S, 2.0 * self._config.standby.lease)
        self._followed.forget_before(now_s - kept_s)
        kept_us = self._clock.now_us() - round(kept_s * US_PER_S)
        self._decided_us = max(kept_us, self._synced_us - _LAG_US)

    def member(self, name: str, state: str) -> None:
        """The state of another member."""
        self.members[name] = state
        if self._lease is not None:
            now_s = self._clock.monotonic_s()
            self._lease.accept_presence(name, now_s, is_there=state != OFFLINE)
            self._follow_lease()

    def alert(self, topic: str, body: bytes) -> None:
        """An alert or event; those of the active gateway are followed."""
        if self._publisher.is_active:
            return
        found = self._followed.accept_alert(topic, body, self._clock.monotonic_s())
        if found is not None:
            self._show(found.alarm)
            self._spawn(self._publisher.store_announced([found]))

    def _accept_own(self, transitions: Sequence[Transition]) -> None:
        """Our table has made transitions that are not sent."""
        self._followed.add_own(transitions, self._clock.monotonic_s())
        for one in transitions:
            announced = self._followed.announced.get(one.alarm.alarm_id)
            if announced is not None:
                self._show(announced)

    def _show(self, alarm: Alarm) -> None:
        runtime = self._runtime()
        runtime.catalogue.restore([alarm])
        runtime.alarms.show_announced(alarm, self._followed.changed_us.get(alarm.alarm_id, 0))

    async def _end_alarms_that_are_gone(self) -> None:
        await self._publisher.void_waiting()
        stored = await self._publisher.store.run(Store.alarms)
        ended = self._followed.accept_complete(stored, self._clock.now_us())
        for one in ended:
            self._show(one.alarm)
        await self._publisher.store_announced(ended)
        self._is_synced.set()

    # -- the lease ----------------------------------------------------------------------------

    def _may_send(self) -> bool:
        return self._lease is not None and self._lease.may_send(self._clock.monotonic_s())

    def _publish(self, note: Note) -> None:
        if self._link is not None:
            self._link.publish_note(note.dump(), retain=note.is_retained)

    async def _keep_time(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if self._lease is not None:
                self._lease.tick(self._clock.monotonic_s())
                self._follow_lease()

    def _follow_lease(self) -> None:
        """Start what the present state of the lease asks for."""
        lease = self._lease
        if lease is None:
            return
        may_send = self._may_send()
        if self._was_suspended and may_send:
            self._publisher.wake()
        self._was_suspended = not may_send
        if (lease.epoch, lease.holder) != self._saved:
            self._saved = lease.epoch, lease.holder
            saved = orjson.dumps({"epoch": lease.epoch, "holder": lease.holder})
            self._spawn(self._save(saved))
        if (lease.role is not Role.STANDBY) != self._publisher.is_active:
            self._changed.set()
        self._show_role()

    async def _save(self, saved: bytes) -> None:
        await self._values.save(_KEY, saved)

    def _show_role(self) -> None:
        self._metrics.active.set(self.role is Role.ACTIVE)
        self._metrics.lease_epoch.set(self._lease.epoch if self._lease else 0)

    async def _change_roles(self) -> None:
        """Follow the lease, one change at a time."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._change_role()
            except EdgeAgentError as error:
                log.error("role not changed", extra={"reason": str(error)})
                await asyncio.sleep(1.0)
                self._changed.set()

    async def _change_role(self) -> None:
        lease = self._lease
        if lease is None:
            return
        if lease.role is Role.STANDBY and self._publisher.is_active:
            await self._step_down()
        elif lease.role is not Role.STANDBY and not self._publisher.is_active:
            await self._take_over(lease)
        self._show_role()

    async def _take_over(self, lease: Lease) -> None:
        is_other = lease.previous not in {"", self.own}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC_S):
                await self._is_synced.wait()
        if is_other:
            await asyncio.sleep(SETTLE_S)
        async with self._loop.turning:
            if lease.role is Role.STANDBY:  # lost again meanwhile
                return
            now_us = self._clock.now_us()
            stored = [] if is_other else await self._publisher.store.run(Store.alarms)
            found = continue_alarms(
                self._runtime(),
                self._followed,
                stored,
                self.last_number,
                now_us,
                self._decided_us if is_other else NEVER,
            )
            if is_other:
                self._ignore_old_values()
            await self._publisher.activate()
            await self._publisher.send(found, now_us)
        if self._link is not None:
            self._link.follow_alerts(wanted=False)
            self._link.show_state("active")
        self._metrics.takeovers.inc()
        await self._record("active", f"epoch {lease.epoch}, before: {lease.previous or 'nobody'}")

    def _ignore_old_values(self) -> None:
        """Raise nothing again from values that waited for us; only for a while.

        A source whose clock is far behind would else never raise anything.
        """
        alarms = self._runtime().alarms
        alarms.decided_us = self._decided_us
        if self._catching_up is not None:  # of the take-over before
            self._catching_up.cancel()
        self._catching_up = asyncio.get_running_loop().call_later(
            CATCH_UP_S, setattr, alarms, "decided_us", NEVER
        )

    async def _step_down(self) -> None:
        """The other one is active: nothing of ours counts any more."""
        async with self._loop.turning:
            await self._publisher.deactivate(is_replaced=True)
            self._followed.start_again()
            self._followed.take_missed()
        self._is_synced.clear()
        self._synced_us = 0
        if self._link is not None:
            self._link.show_state("standby")
            self._link.follow_alerts(wanted=True)
        last = self._lease.last if self._lease else None
        await self._record("standby", f"active: {last.member if last else 'unknown'}")

    async def _record(self, what: str, detail: str) -> None:
        log.warning("role changed", extra={"role": what, "member": self.own, "detail": detail})
        await self._values.audit("edge-agent", what, [self._config.gateway.client_name], detail)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _first_broker(config: Config) -> str:
    """The only sink whose broker can keep a lease; the config is checked."""
    return next(n for n, struct in config.sinks.items() if getattr(struct, "keeps_lease", False))
