"""Operators' commands: on one alarm, on several, and over the plant bus."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import Selection, is_pattern, judgement_in
from edge_agent.errors import EdgeAgentError, NotFoundError, StoreError
from edge_agent.sinks import Command
from edge_agent.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_agent.alarms import Judgement
    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Alarm, Transition
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks import RefusedCommand

log = logging.getLogger("edge_agent.daemon")

_MAX_RECORDED: Final = 20  # refusals in the log and in the audit ...
_RECORDED_IN_S: Final = 60.0  # ... in this time; all are counted
_UNFINISHED: Final = 200  # commands from the bus; if there are more, the newest are refused
MAX_PATH: Final = 200  # characters
_SHELVE: Final = "shelve"  # the only command with a duration


class Commands:
    """Executes commands, one at a time, and records their users.

    others: by kind, what carries out the commands over the bus that change the state of no alarm;
    returns the answer.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        publisher: Publisher,
        others: Mapping[str, Callable[[Command], Awaitable[dict[str, Any]]]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._others = others
        self._metrics = metrics
        self._clock = clock
        # Says what an alarm was, for comments that do; set once there is somebody to say it to.
        self.judge: Callable[[str, Judgement, str], Awaitable[object]] | None = None
        self._unfinished = 0
        # Each command writes to the disk: an alarm waits for one of them, not for all.
        self._turn = asyncio.Lock()
        self._recorded_since_s = 0.0
        self._recorded = 0
        self._left_s = -_RECORDED_IN_S

    async def apply_one(
        self,
        kind: str,
        alarm_id: str,
        actor: str,
        duration_s: float | None = None,
        comment: str = "",
    ) -> Alarm:
        """Acknowledge, shelve, ... an alarm; EdgeAgentError if this is not possible."""
        transition = self._apply(kind, alarm_id, actor, duration_s, comment)
        await self._send([transition], actor)
        await self._judge([transition], actor, comment)
        return transition.alarm

    async def apply_several(
        self,
        kind: str,
        wanted: Selection,
        actor: str,
        duration_s: float | None = None,
        comment: str = "",
    ) -> list[Alarm]:
        """The same for every selected alarm whose state allows it; sent as one."""
        ids = wanted.ids_of(self._runtime().alarms.all(), kind)
        done = [self._apply(kind, alarm_id, actor, duration_s, comment) for alarm_id in ids]
        await self._send(done, actor)
        await self._judge(done, actor, comment)
        return [transition.alarm for transition in done]

    def _apply(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> Transition:
        alarms = self._runtime().alarms
        if kind == _SHELVE:
            return alarms.shelve(alarm_id, duration_s or 0.0, actor, comment)
        return alarms.apply_command(kind, alarm_id, actor, comment)

    async def _send(self, transitions: list[Transition], actor: str) -> None:
        if transitions:
            await self._publisher.send(transitions, self._clock.now_us(), actor=actor)

    async def _judge(self, transitions: list[Transition], actor: str, comment: str) -> None:
        """Take `#false` or `#true bearing` in a comment as feedback, where an alarm can have it."""
        judgement = judgement_in(comment)
        if judgement is None or self.judge is None:
            return
        for transition in transitions:
            with suppress(EdgeAgentError):  # not of an anomaly model
                await self.judge(transition.alarm.alarm_id, judgement, actor)

    # -- over the plant bus -------------------------------------------------------------------

    async def from_bus(self, command: Command | RefusedCommand) -> None:
        """Execute a command from the bus, or record why it is refused, and answer."""
        if self._is_elsewhere(command):
            self._leave(command)
            return
        if not isinstance(command, Command):
            reason, error = command.reason, command.error
            await self.record_refusal(
                command.sink, command.topic, "mqtt", error, f"{reason}: {error}"
            )
            _answer(command, {"id": command.id, "ok": False, "reason": reason, "error": error})
            return
        if self._unfinished >= _UNFINISHED:
            self._count(command, "busy")
            error = f"{_UNFINISHED} commands are not finished: send it again"
            _answer(command, {"id": command.id, "ok": False, "reason": "busy", "error": error})
            return
        self._unfinished += 1
        try:
            async with self._turn:
                await self._try(command)
        finally:
            self._unfinished -= 1

    def _is_elsewhere(self, command: Command | RefusedCommand) -> bool:
        """True if it is for a machine of another gateway, which then answers at a shared broker."""
        runtime, place = self._runtime(), command.place
        asset = runtime.plant.assets.get(place.rpartition("/")[2])
        return place != runtime.config.gateway.path and (asset is None or asset.path != place)

    def _leave(self, command: Command | RefusedCommand) -> None:
        """Neither answer nor record it; log it sometimes, because it may be a typing error."""
        self._count(command, "elsewhere")
        now_s = self._clock.monotonic_s()
        if now_s - self._left_s >= _RECORDED_IN_S:
            self._left_s = now_s
            text = {"sink": command.sink, "place": command.place}
            log.info("command for a machine of another gateway", extra=text)

    async def _try(self, command: Command) -> None:
        try:
            await self._claim(command)
            done = await self._carry_out(command)
        except EdgeAgentError as error:
            reason = error.reason if isinstance(error, _RefusedError) else "refused"
            detail = f"{command.kind} at {command.place}: {reason}: {error}"
            subject = command.alarm_id or command.asset
            await self.record_refusal(command.sink, subject, command.actor, str(error), detail)
            self._count(command, reason)
            _answer(command, {"id": command.id, "ok": False, "reason": reason, "error": str(error)})
            return
        _answer(command, {"id": command.id, "ok": True, **done})

    async def _claim(self, command: Command) -> None:
        """Claim the id once, also after a restart; if the store failed, only the sink knows it."""
        try:
            run = self._publisher.store.run
            fresh = await run(Store.claim_command, command.id, command.expires_us)
        except StoreError as error:
            log.warning("command id not stored", extra={"reason": str(error)})
            return
        if not fresh:
            raise _RefusedError(
                "repeated", "a command with this id was received before, or too many are waiting"
            )

    async def _carry_out(self, command: Command) -> dict[str, Any]:
        """Execute it; returns what is answered: of most, the new states of the alarms."""
        if command.kind in self._others:
            if command.alarm_id:
                self._check_place(command)
            return await self._others[command.kind](command)
        changed = await self._change_alarms(command)
        return {"alarms": {alarm.alarm_id: alarm.state for alarm in changed}}

    async def _change_alarms(self, command: Command) -> list[Alarm]:
        """Execute it only for the asset of the topic: a broker's access rules are for topics."""
        kind, actor = command.kind, command.actor
        duration_s = command.duration_s if kind == "shelve" else None
        if is_pattern(command.alarm_id):
            done = await self.apply_several(
                kind, self._at_place(command), actor, duration_s, command.comment
            )
            if not done:
                raise NotFoundError(f"no alarm to {kind}", where=command.alarm_id)
            return done
        self._check_place(command)
        return [await self.apply_one(kind, command.alarm_id, actor, duration_s, command.comment)]

    def _check_place(self, command: Command) -> None:
        """Refuse an alarm that is unknown, or belongs to another asset than the topic."""
        policy = self._runtime().catalogue.policy_of(command.alarm_id)
        if policy is None:
            raise NotFoundError("no such alarm", where=command.alarm_id)
        if policy.path != command.place:
            text = f"the alarm belongs to {policy.path}, not to {command.place}"
            raise _RefusedError("place", text)

    def _at_place(self, command: Command) -> Selection:
        """The alarms of a pattern that belong to the asset of the topic."""
        policy_of = self._runtime().catalogue.policy_of
        found = ((alarm_id, policy_of(alarm_id)) for alarm_id in self._runtime().alarms.ids())
        ids = {alarm_id for alarm_id, policy in found if policy and policy.path == command.place}
        return Selection(command.alarm_id, ids=frozenset(ids or {""}))

    def _count(self, command: Command | RefusedCommand, reason: str) -> None:
        self._metrics.commands.labels(command.sink, reason).inc()

    async def record_refusal(
        self, sender: str, subject: str, actor: str, reason: str, detail: str
    ) -> None:
        """Log a refused command and record it in the audit; sender: a sink, or `http`."""
        if not self._is_below_log_limit():
            return
        extra = {"sink": sender, "command": subject, "by": actor, "reason": reason}
        log.warning("command refused", extra=extra)
        await self._publisher.audit([(actor, "refused", subject, detail)])

    async def deny_over_http(self, client: str, path: str, reason: str) -> None:
        """Count and record a command of a client without the right to command."""
        self._metrics.http_denied.inc()
        await self.record_refusal("http", path[:MAX_PATH], client, reason, f"denied: {reason}")

    def _is_below_log_limit(self) -> bool:
        """False after too many refusals, so that the bus cannot fill the log or the audit."""
        now_s = self._clock.monotonic_s()
        if now_s - self._recorded_since_s >= _RECORDED_IN_S:
            left_out = self._recorded - _MAX_RECORDED
            if left_out > 0:
                log.warning("further refused commands are only counted", extra={"count": left_out})
            self._recorded_since_s, self._recorded = now_s, 0
        self._recorded += 1
        return self._recorded <= _MAX_RECORDED


class _RefusedError(EdgeAgentError):
    """A command from the bus is refused; `reason` is a bounded word for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _answer(command: Command | RefusedCommand, body: dict[str, object]) -> None:
    if command.reply is not None:
        command.reply(orjson.dumps(body))
