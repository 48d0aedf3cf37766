"""What happens in the demo, in its order: start, learn, watch, faults, verdict."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import SystemClock
from edge_agent.demo._bus import Readings, readings, seen_on_bus
from edge_agent.demo._child import daemon, ended, summary
from edge_agent.demo._config import LEARN_S, ON_BUS, ON_PLC, PUMPS, STEP_S, config_text, topic_of
from edge_agent.demo._judge import IN_TIME_S, Judge
from edge_agent.demo._terminal import Terminal
from edge_agent.demo.plant import FAULTS, NAMES, PumpPlant
from edge_agent.demo.servers import (
    OpcUaNodes,
    http_port,
    mqtt_broker,
    opcua_server,
    quiet_libraries,
)
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from edge_agent.demo.plant import Floats

SHORTEST_S: Final = 45.0  # start, learning, and the time that the last alarm may take

_TIME_LAPSE: Final = 60.0  # a second of the demo is a minute of the plant
_SEED: Final = 7
_QUIET_S: Final = 4.0  # between learning and the first fault
_LAST_S: Final = IN_TIME_S + 1.0  # from the last fault to the end
_CLOSEST_S: Final = 1.5  # between faults
_PATIENCE_S: Final = 120.0
_APART_S: Final = 12.0  # between faults, where there is no end
_REPAIR_S: Final = 10.0  # from the alarm to the repair
_REPORT_S: Final = 5.0
_HTTP: Final = "http://127.0.0.1"


async def run_demo(
    seconds: float | None, folder: Path | None = None, terminal: Terminal | None = None
) -> bool:
    """Show it all. Whether it went as it should.

    seconds: how long, or for ever until SIGINT; folder: where config, log, store and the learned
    model stay, by default they go. EdgeAgentError where it cannot be shown, with the reason.
    """
    quiet_libraries()
    show = _Show(seconds, terminal or Terminal(SystemClock()))
    async with contextlib.AsyncExitStack() as stack:
        # First, so that a second SIGINT cannot break the way out, which leads through the daemon.
        stack.enter_context(_signals(show.interrupted.set))
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
    def __init__(self, seconds: float | None, terminal: Terminal) -> None:
        self._seconds = seconds
        self._terminal = terminal
        self._judge = Judge()
        self._plant = PumpPlant(len(PUMPS), _SEED)
        self._scored: set[str] = set()
        self.interrupted = asyncio.Event()

    async def play(self, folder: Path, url: str, nodes: OpcUaNodes) -> bool:
        """Run the daemon on the plant from start to verdict."""
        page = f"{_HTTP}:{http_port()}"
        config, log = folder / "edge-agent.yaml", folder / "edge-agent.log"
        config.write_text(config_text(url, nodes.url, int(page.rpartition(":")[2])))
        say = self._terminal.say
        say("plant", f"{', '.join(ON_BUS)} on {url}; {', '.join(ON_PLC)} on {nodes.url}")
        say("daemon", f"edge-agent run -c {config}")
        say("daemon", f"status page: {page}/")
        async with (
            readings(url) as publisher,
            seen_on_bus(url, "edge/+/+/+/+/+/_pdm/#") as queue,
            daemon(config, log) as process,
        ):
            await _first_of(
                self._feed(publisher, nodes),
                self._watch(queue),
                self._die_with(process, log),
                self._story(page),
                self.interrupted.wait(),
            )
        well, line = self._judge.verdict(self._terminal.elapsed_s)
        self._terminal.end(line)
        return well

    # -- the plant ----------------------------------------------------------------------------

    async def _feed(self, publisher: Readings, nodes: OpcUaNodes) -> None:
        """Let the plant live, and hand its readings to the bus and to the OPC UA server."""
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
            says = f"{words}  [{fault.delay_s:.1f} s after its onset; {_inputs(data)}]"
            self._terminal.say("ALARM", says)
        elif len(self._judge.before) + len(self._judge.unfounded) > unfounded:
            self._terminal.say("FALSE", f"{words}  [{_inputs(data)}]")
        elif data["transition"] in {"raise", "clear"}:
            self._terminal.say(data["transition"], words)

    # -- the story ----------------------------------------------------------------------------

    async def _story(self, page: str) -> None:
        await self._until_learned(page)
        self._terminal.say("learned", f"what is healthy for {len(self._scored)} pumps; watching")
        await asyncio.sleep(_QUIET_S)
        end_s, schedule = self._schedule()
        left_s = None if end_s is None else end_s - self._terminal.elapsed_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s), asyncio.TaskGroup() as group:
                for pump, fault, at_s in schedule:
                    await self._sleep_until(at_s)
                    group.create_task(self._fail(pump, fault))
                await asyncio.Event().wait()

    def _schedule(self) -> tuple[float | None, Iterator[tuple[int, str, float]]]:
        """When it ends; pump, fault and onset of each fault.

        With an end each fault comes once, the last one 15 s before it; where learning took too
        long for that, the end comes later.
        """
        begin_s = self._terminal.elapsed_s
        if self._seconds is None:
            return None, _faults(itertools.count(), begin_s, _APART_S)
        faults = len(FAULTS)
        apart_s = max(_CLOSEST_S, (self._seconds - _LAST_S - begin_s) / (faults - 1))
        end_s = max(self._seconds, begin_s + (faults - 1) * apart_s + _LAST_S)
        if end_s > self._seconds:
            late = f"this machine is slow: it takes {end_s - self._seconds:.0f} s longer"
            self._terminal.say("late", late)
        return end_s, _faults(range(faults), begin_s, apart_s)

    async def _fail(self, pump: int, fault: str) -> None:
        """Break a pump, and mend it a while after its alarm."""
        asset = PUMPS[pump]
        self._terminal.say("FAULT", f"{asset}: {FAULTS[fault].text}")
        injected = self._judge.inject(asset, fault, self._terminal.elapsed_s)
        self._plant.inject(pump, fault)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(injected.answered.wait(), IN_TIME_S)
        await asyncio.sleep(_REPAIR_S)
        self._plant.repair(pump)
        injected.repaired_s = self._terminal.elapsed_s
        self._terminal.say("repair", asset)

    async def _until_learned(self, page: str) -> None:
        """Wait until every pump has a score on the bus; tell now and then how far it is."""
        said_s = -_REPORT_S
        while self._scored < set(PUMPS):
            if self._terminal.elapsed_s > _PATIENCE_S:
                raise EdgeAgentError(
                    f"only {len(self._scored)} of {len(PUMPS)} pumps have learned "
                    f"in {_PATIENCE_S:g} s",
                    hint="its log says more: --folder DIR keeps it",
                )
            await asyncio.sleep(STEP_S)
            if self._terminal.elapsed_s < said_s + _REPORT_S:
                continue
            said_s = self._terminal.elapsed_s
            found = (await summary(page)).get("learning")
            if found:
                share = min(each["progress"] for each in found)
                self._terminal.say("learning", f"{share:4.0%} of {LEARN_S:.0f} s; {self._glance()}")
            elif found is not None and said_s > LEARN_S:
                self._terminal.say("learning", "seen enough; the bundle is built and checked")

    def _glance(self) -> str:
        """A few readings of the first pump."""
        row: Floats = self._plant.readings[0]
        now = dict(zip(NAMES, row.tolist(), strict=True))
        return (
            f"{PUMPS[0]}: {now['flow']:.1f} m3/h, {now['discharge_pressure']:.2f} bar, "
            f"{now['vibration']:.2f} mm/s, {now['bearing_temperature']:.1f} degC"
        )

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self._terminal.elapsed_s))

    async def _die_with(self, process: asyncio.subprocess.Process, log: Path) -> None:
        await process.wait()
        raise ended(process, log)


def _faults(
    numbers: Iterable[int], begin_s: float, apart_s: float
) -> Iterator[tuple[int, str, float]]:
    """Pump, fault and onset; another pump each time round: each fault is seen on both protocols."""
    for number in numbers:
        turn, kind = divmod(number, len(FAULTS))
        yield (turn + kind) % len(PUMPS), list(FAULTS)[kind], begin_s + number * apart_s


def _inputs(data: dict[str, Any]) -> str:
    """The contributors with their shares of the score."""
    found = data["contributors"]
    whole = sum(abs(each["weight"]) for each in found) or 1.0
    shares = [f"{each['input']} {abs(each['weight']) / whole:.0%}" for each in found[:3]]
    return ", ".join(shares)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT, SIGTERM and a closed terminal end the show in good order, daemon included."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _first_of(*parts: Coroutine[Any, Any, object]) -> None:
    """Until one ends; its error is ours. The others are cancelled."""
    tasks = [asyncio.create_task(part) for part in parts]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
