"""The sequence of the demo: start, monitor, faults, verdict; some pumps learn first."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import SystemClock
from edge_agent.demo.bus import Readings, readings, seen_on_bus
from edge_agent.demo.child import daemon, ended, summary
from edge_agent.demo.config import (
    LEARN_S,
    ON_BUS,
    ON_PLC,
    PUMPS,
    STEP_S,
    config_text,
    make_token,
    topic_of,
)
from edge_agent.demo.judge import IN_TIME_S, Judge
from edge_agent.demo.plant import FAULTS, NAMES, PumpPlant
from edge_agent.demo.servers import (
    OpcUaNodes,
    http_port,
    mqtt_broker,
    opcua_server,
    quiet_libraries,
)
from edge_agent.demo.shipped import BUNDLE, copy_shipped
from edge_agent.demo.speech import find_model, language_section, sentence
from edge_agent.demo.tasks import first_of, stop_signals
from edge_agent.demo.terminal import Terminal
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from edge_agent.demo.plant import Floats

SHORTEST_S: Final = 45.0  # start, learning, and the time for the last alarms

_TIME_LAPSE: Final = 60.0  # a second of the demo is a minute of the plant
_SEED: Final = 7
_QUIET_S: Final = 2.0  # between the first score and the first fault
# Faults of the pumps by number, in the first round: each kind of detection on both protocols.
_ORDER: Final = ("bearing_wear", "stuck_sensor", "cavitation", "lost_sensor", "blocked_valve")
_LAST_S: Final = IN_TIME_S + 1.0  # from the last fault to the end
_CLOSEST_S: Final = 1.5  # between faults
_ALARM_WAIT_S: Final = 120.0
_APART_S: Final = 12.0  # between faults, if there is no end
_REPAIR_S: Final = 10.0  # from the alarm to the repair
_REPORT_S: Final = 5.0
_LATE_S: Final = 1.0
_HTTP: Final = "http://127.0.0.1"


async def run_demo(
    seconds: float | None,
    folder: Path | None = None,
    terminal: Terminal | None = None,
    *,
    speaks: bool = False,
) -> bool:
    """Run the demo. True if it went as it should.

    seconds: duration, or until SIGINT if None; folder: for config, log, store and the learned
    model, by default a temporary one. speaks: a language model says a sentence, before the end.
    EdgeAgentError with the reason if it cannot run.
    """
    quiet_libraries()
    model = find_model() if speaks else None
    show = _Show(seconds, terminal or Terminal(SystemClock()), model)
    async with contextlib.AsyncExitStack() as stack:
        # First, so that a second SIGINT cannot interrupt the shutdown of the daemon.
        stack.enter_context(stop_signals(show.interrupted.set))
        if folder is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-demo-"))
            folder = Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        url = await stack.enter_async_context(mqtt_broker())
        nodes = await stack.enter_async_context(opcua_server())
        for pump in ON_PLC:
            await nodes.add(pump, NAMES)
        return await show.play(folder, url, nodes)


class _Show:
    def __init__(self, seconds: float | None, terminal: Terminal, model: Path | None) -> None:
        self._seconds = seconds
        self._model = model  # the language model's file
        self._spoken = asyncio.Event()
        self._terminal = terminal
        self._judge = Judge()
        self._plant = PumpPlant(len(PUMPS), _SEED)
        self._scored: set[str] = set()
        self._learned = asyncio.Event()
        self.interrupted = asyncio.Event()

    async def play(self, folder: Path, url: str, nodes: OpcUaNodes) -> bool:
        """Run the daemon on the plant from start to verdict."""
        page = f"{_HTTP}:{http_port()}"
        config, log = folder / "edge-agent.yaml", folder / "edge-agent.log"
        copy_shipped(folder / "models")
        port = int(page.rpartition(":")[2])
        config.write_text(config_text(url, nodes.url, port) + language_section(self._model))
        token = make_token(folder)
        print_line = self._terminal.print_line
        print_line("plant", f"{', '.join(ON_BUS)} on {url}; {', '.join(ON_PLC)} on {nodes.url}")
        print_line("daemon", f"edge-agent run -c {config}")
        print_line("daemon", f"status page: {page}/#token={token}")
        async with (
            readings(url) as publisher,
            seen_on_bus(url, "edge/+/+/+/+/+/_pdm/#") as queue,
            daemon(config, log) as process,
        ):
            await first_of(
                self._feed(publisher, nodes),
                self._watch(queue),
                self._die_with(process, log),
                self._story(page),
                self.interrupted.wait(),
            )
        well, line = self._judge.verdict(self._terminal.elapsed_s)
        self._terminal.end(line)
        return well and self._spoken.is_set()

    # -- the plant ----------------------------------------------------------------------------

    async def _feed(self, publisher: Readings, nodes: OpcUaNodes) -> None:
        """Run the plant, and send its readings to the bus and to the OPC UA server."""
        clock = SystemClock()
        last_s = clock.monotonic_s()
        while True:
            now_s = clock.monotonic_s()
            self._plant.step((now_s - last_s) * _TIME_LAPSE)
            last_s = now_s
            time_us, found = clock.now_us(), self._plant.readings
            for pump, row in zip(PUMPS, found, strict=True):
                values = dict(zip(NAMES, row.tolist(), strict=True))
                if pump in ON_BUS:
                    publisher.publish(topic_of(pump), values, time_us)
                else:
                    await nodes.write(pump, values, time_us)
            await asyncio.sleep(max(0.0, now_s + STEP_S - clock.monotonic_s()))

    # -- the bus ------------------------------------------------------------------------------

    async def _watch(self, queue: asyncio.Queue[tuple[str, Any]]) -> None:
        while True:
            topic, payload = await queue.get()
            kind = topic.split("/_pdm/")[1].split("/")[0]
            if kind == "score":
                self._scored.add(payload["asset"])
            elif kind == "alert":
                self._alert(payload)

    def _alert(self, event: dict[str, Any]) -> None:
        data = event["data"]
        unfounded = len(self._judge.before) + len(self._judge.unfounded)
        fault = self._judge.alarm(event, self._terminal.elapsed_s)
        words = data["message"]["en"]
        if fault is not None:
            says = f"{words}  [{fault.delay_s:.1f} s after its onset; {_finder(data)}]"
            self._terminal.print_line("ALARM", says)
        elif len(self._judge.before) + len(self._judge.unfounded) > unfounded:
            self._terminal.print_line("FALSE", f"{words}  [{_inputs(data)}]")
        elif data["transition"] in {"raise", "clear"}:
            self._terminal.print_line(data["transition"], words)

    # -- the sequence -------------------------------------------------------------------------

    async def _story(self, page: str) -> None:
        """Start faults after the first score; pumps that still learn get theirs later."""
        await self._until_scored(ON_BUS)
        self._terminal.print_line(
            "watching", f"{', '.join(ON_BUS)}, with the model {BUNDLE} that is shipped"
        )
        await asyncio.sleep(_QUIET_S)
        await first_of(self._learn(page), self._speak(page), self._trouble())

    async def _speak(self, page: str) -> None:
        """Let the language model say a sentence, if there is one; the demo waits for it."""
        if self._model is not None:
            self._terminal.print_line("text", await sentence(page))
        self._spoken.set()
        await asyncio.Event().wait()

    async def _trouble(self) -> None:
        """Run all faults, and wait for the alarm of the last one."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._fail(*each)) async for each in self._schedule()]
            await self._sleep_until(self._end_s())
            await self._spoken.wait()
            for task in tasks:
                task.cancel()

    async def _schedule(self) -> AsyncIterator[tuple[int, str]]:
        """Yield each pump and fault when it is due: each once, or for ever if there is no end.

        Each round uses another pump, so that each fault occurs on both protocols.
        """
        numbers = itertools.count() if self._seconds is None else range(len(_ORDER))
        for number in numbers:
            turn, kind = divmod(number, len(_ORDER))
            pump = (turn + kind) % len(PUMPS)
            if PUMPS[pump] in ON_PLC and not self._learned.is_set():
                await self._learned.wait()
                await asyncio.sleep(_QUIET_S)
            yield pump, _ORDER[kind]
            await asyncio.sleep(self._pause_s(len(_ORDER) - 1 - number))

    def _pause_s(self, faults_left: int) -> float:
        """Time from one fault to the next, so that the last alarm has enough time."""
        if self._seconds is None:
            return _APART_S
        if not faults_left:
            return 0.0
        return max(_CLOSEST_S, (self._seconds - _LAST_S - self._terminal.elapsed_s) / faults_left)

    def _end_s(self) -> float:
        """The requested end, or later if learning took too long for the last alarm."""
        last_s = self._terminal.elapsed_s + _LAST_S
        if self._seconds is not None and last_s > self._seconds + _LATE_S:
            late = f"this machine is slow: it takes {last_s - self._seconds:.0f} s longer"
            self._terminal.print_line("late", late)
        return max(last_s, self._seconds or 0.0)

    async def _fail(self, pump: int, fault: str) -> None:
        """Inject a fault, and repair the pump some time after its alarm."""
        asset = PUMPS[pump]
        self._terminal.print_line("FAULT", f"{asset}: {FAULTS[fault].text}")
        injected = self._judge.inject(asset, fault, self._terminal.elapsed_s)
        self._plant.inject(pump, fault)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(injected.answered.wait(), IN_TIME_S)
        await asyncio.sleep(_REPAIR_S)
        self._plant.repair(pump)
        injected.repaired_s = self._terminal.elapsed_s
        self._terminal.print_line("repair", asset)

    async def _until_scored(self, pumps: Iterable[str]) -> None:
        """Wait until each of these assets has a score on the bus."""
        while not self._scored >= set(pumps):
            if self._terminal.elapsed_s > _ALARM_WAIT_S:
                raise EdgeAgentError(
                    f"only {len(self._scored)} of {len(PUMPS)} pumps have a score "
                    f"after {_ALARM_WAIT_S:g} s",
                    hint="its log says more: --folder DIR keeps it",
                )
            await asyncio.sleep(STEP_S)

    async def _learn(self, page: str) -> None:
        """Wait until the other pumps also have a score; print their progress periodically."""
        telling = asyncio.create_task(self._print_progress(page))
        try:
            await self._until_scored(PUMPS)
        finally:
            telling.cancel()
        self._terminal.print_line(
            "learned", f"what is healthy for {', '.join(ON_PLC)}; watching them too"
        )
        self._learned.set()
        await asyncio.Event().wait()

    async def _print_progress(self, page: str) -> None:
        while True:
            found = (await summary(page)).get("learning")
            if found:
                share = min(each["progress"] for each in found)
                self._terminal.print_line(
                    "learning", f"{share:4.0%} of {LEARN_S:.0f} s; {self._glance()}"
                )
            elif found is not None:
                self._terminal.print_line(
                    "learning", "seen enough; the bundle is built and checked"
                )
            await asyncio.sleep(_REPORT_S)

    def _glance(self) -> str:
        """A few readings of the first pump that learns."""
        row: Floats = self._plant.readings[PUMPS.index(ON_PLC[0])]
        now = dict(zip(NAMES, row.tolist(), strict=True))
        return (
            f"{ON_PLC[0]}: {now['flow']:.1f} m3/h, {now['discharge_pressure']:.2f} bar, "
            f"{now['vibration']:.2f} mm/s, {now['bearing_temperature']:.1f} degC"
        )

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self._terminal.elapsed_s))

    async def _die_with(self, process: asyncio.subprocess.Process, log: Path) -> None:
        await process.wait()
        raise ended(process, log)


def _finder(data: dict[str, Any]) -> str:
    """The model, if one found it, and the contributors with their shares of the score."""
    model = data.get("model") or {}
    return ": ".join(filter(None, (model.get("name"), _inputs(data))))


def _inputs(data: dict[str, Any]) -> str:
    """The contributors with their shares of the score."""
    found = data["contributors"]
    whole = sum(abs(each["weight"]) for each in found) or 1.0
    shares = [f"{each['input']} {abs(each['weight']) / whole:.0%}" for each in found[:3]]
    return ", ".join(shares)
