"""What a maintenance plan needs to know of the running plant: alarms, lives, calendars."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from edge_agent.alarms import model_alarm_id
from edge_agent.clock import US_PER_S
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.insight.maintenance import AlarmFact, Facts, LifeFact, Place
from edge_agent.messages import AlarmState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.maintenance import Maintenance, StopCalendar
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.messages import Alarm

END_OF_LIFE: Final = "end_of_life"  # modes that no catalogue has
INSPECTION: Final = "inspection"
STALE_US: Final = 7 * 86_400 * US_PER_S  # an older prediction tells nothing of today
MAX_CALENDAR: Final = 10 << 20  # bytes
FETCH_S: Final = 30.0
_BATCH: Final = 50  # alarms between two turns of the pipeline
_OFF: Final = frozenset({AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE})
_MACHINE: Final = frozenset({"model", "limit"})  # kinds of alarms
_AREA: Final = 2  # in the path of an asset


async def collect_facts(
    runtime: Runtime,
    mode_of: Callable[[Alarm], str],
    now_us: int,
    calendars: Mapping[str, bytes],
    before: Mapping[str, tuple[str, str]],
) -> Facts:
    """The facts as of now, in small steps; mode_of: an alarm's failure mode of the catalogue."""
    alarms = await _alarms(runtime, mode_of)
    lives = _lives(runtime, now_us, {one.alarm_id: one.mode for one in alarms})
    concerned = {one.asset for one in alarms} | {one.asset for one in lives}
    found = map(runtime.plant.assets.get, sorted(concerned))
    places = tuple(
        Place(asset.id, asset.line, asset.path.split("/")[_AREA])
        for asset in found
        if asset is not None
    )
    return Facts(now_us, places, tuple(alarms), tuple(lives), calendars, before)


async def _alarms(runtime: Runtime, mode_of: Callable[[Alarm], str]) -> list[AlarmFact]:
    """The active alarms of machines."""
    found = []
    for count, alarm_id in enumerate(sorted(runtime.alarms.numbers()), 1):
        if count % _BATCH == 0:
            await asyncio.sleep(0)
        alarm = runtime.alarms.get(alarm_id)
        if alarm is None or not alarm.active or alarm.state in _OFF:
            continue
        mode = _mode(runtime, alarm, mode_of(alarm))
        if mode:
            fact = (alarm_id, alarm.asset, mode, alarm.priority, alarm.first_seen_us)
            found.append(AlarmFact(*fact))
    return found


def _mode(runtime: Runtime, alarm: Alarm, mode: str) -> str:
    """The failure mode of an alarm; empty if it calls for no work on the machine.

    Data-quality alarms count only where the config has a job for their mode.
    """
    policy = runtime.alarms.rules(alarm.alarm_id)
    maintenance = runtime.config.maintenance
    if policy is None or maintenance is None:
        return ""
    if policy.kind not in _MACHINE:
        return mode if mode in maintenance.jobs else ""
    has_life = alarm.detail is not None and alarm.detail.rul_h is not None
    return mode or (END_OF_LIFE if has_life else INSPECTION)


def _lives(runtime: Runtime, now_us: int, modes: Mapping[str, str]) -> list[LifeFact]:
    """The latest predictions, each with the mode of its model's alarm, or of its rule."""
    found = []
    for one in runtime.pipeline.diagnostics.rul_tracker.latest():
        alarm_id = model_alarm_id(one.asset, one.model)
        policy = runtime.alarms.rules(alarm_id)
        told = "" if policy is None else policy.rule.failure_mode
        if now_us - one.at_us < STALE_US:
            mode = modes.get(alarm_id) or told or END_OF_LIFE
            found.append(LifeFact(one.asset, one.model, mode, one.at_us, *one.hours))
    return found


class Calendars:
    """The bytes of the calendars, read again when it is time; the last ones stay after an error.

    troubles: by calendar, why it could not be read. apart: runs a coroutine on the server's loop.
    """

    def __init__(self, clock: Clock) -> None:
        self.troubles: dict[str, str] = {}
        self._clock = clock
        self._known: dict[str, tuple[StopCalendar, float, bytes]] = {}

    async def read(self, config: Maintenance) -> dict[str, bytes]:
        """All that could be read, now or before."""
        now_s = self._clock.monotonic_s()
        for name, one in config.calendars.items():
            known = self._known.get(name)
            if known is not None and known[0] == one and now_s - known[1] < one.refresh:
                continue
            try:
                self._known[name] = (one, now_s, await fetch(one))
                self.troubles.pop(name, None)
            except EdgeAgentError as error:
                self.troubles[name] = str(error)
        present = {name: known for name, known in self._known.items() if name in config.calendars}
        self._known = present
        self.troubles = {n: text for n, text in self.troubles.items() if n in config.calendars}
        return {name: raw for name, (_, _, raw) in present.items()}


async def fetch(one: StopCalendar) -> bytes:
    """The bytes of a calendar; ConnectError if it cannot be read."""
    if one.file is not None:
        return await asyncio.to_thread(_read, one.file)
    url = one.url if one.secret_url is None else one.secret_url.reveal()
    where = one.url.partition("?")[0] or "secret_url"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004 (OK)
                raise ConnectError(f"HTTP status {answer.status}", where=where)
            return await _bounded(answer, where)
    except TimeoutError as error:
        raise ConnectError("no answer in time", where=where) from error
    except aiohttp.InvalidURL as error:
        raise ConnectError("the address is not a URL", where=where) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectError(type(error).__name__, where=where) from error


async def _bounded(answer: aiohttp.ClientResponse, where: str) -> bytes:
    raw = b""
    async for piece in answer.content.iter_chunked(1 << 16):
        raw += piece
        if len(raw) > MAX_CALENDAR:
            raise ConnectError(f"larger than {MAX_CALENDAR >> 20} MiB", where=where)
    return raw


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_CALENDAR + 1)
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise ConnectError(f"cannot be read: {text}", where=str(file)) from error
    if len(raw) > MAX_CALENDAR:
        raise ConnectError(f"larger than {MAX_CALENDAR >> 20} MiB", where=str(file))
    return raw
