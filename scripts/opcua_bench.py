"""What the OPC UA server costs: start, memory, refreshes and events of many alarms and clients.

The server runs in this process beside a table of alarms, the clients (asyncua, four processes) on
the same machine. Prints one line for each figure.

    scripts/bench-opcua --alarms 10000 --clients 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import psutil
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge_agent.alarms import AlarmTable
from edge_agent.alarms.catalogue import AlarmPolicy
from edge_agent.clock import SystemClock
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.config.settings import OpcuaServer as Config
from edge_agent.messages import Detail, Observation
from edge_agent.opcua_server.server import OpcuaServer, PlantAccess
from edge_agent.opcua_server.ua_types import number_node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.messages import Alarm, Transition

_PROCESSES: Final = 4
_MACHINES: Final = 1000
_PATHS: Final = (
    *("EventId", "EventType", "SourceName", "Time", "Message", "Severity", "Retain"),
    *("ConditionName", "AckedState/Id", "ActiveState/Id", "ConfirmedState/Id", "Comment"),
)
_KIND: Final = _PATHS.index("EventType")
_TIME: Final = _PATHS.index("Time")
_ANSWER_S: Final = 300


class Plant:
    """A thousand machines with alarms; each observation raises one."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.table = AlarmTable(_policy, Alarms(), self.clock)

    def see(self, alarm_id: str) -> Sequence[Transition]:
        """Raise an alarm."""
        seen = Observation(alarm_id, 2.0, self.clock.now_us(), Detail("anomaly"))
        return self.table.accept_observation(seen)

    async def assets(self) -> list[dict[str, Any]]:
        """No rows of machines."""
        return []

    async def changes(self, known: Mapping[str, int]) -> tuple[list[Alarm], list[str]]:
        """As `PlantAccess.changes`."""
        numbers = self.table.last_numbers()
        found = (self.table.get(one) for one, seq in numbers.items() if known.get(one) != seq)
        return [one for one in found if one], []

    async def command(self, *_: object) -> None:
        """Nobody commands here."""

    def access(self) -> PlantAccess:
        """What the server sees."""
        return PlantAccess(
            "gateway",
            ("en",),
            lambda: 3600.0,
            self.assets,
            self.changes,
            lambda alarm: {"message": {"en": f"{alarm.alarm_id} is unusual"}},
            self.command,
        )


def _policy(alarm_id: str) -> AlarmPolicy:
    asset = alarm_id.partition(".")[0]
    return AlarmPolicy(asset, f"works/halle/west/l1/{asset}", AlarmRule(), kind="service")


class Scada:
    """One client: when it heard how many events."""

    def __init__(self) -> None:
        self.ages_s: list[float] = []
        self.end_s = 0.0

    async def connect(self, port: int) -> None:
        """Connect and subscribe to all events."""
        self._client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=120, watchdog_intervall=60)
        await self._client.connect()
        params = ua.CreateSubscriptionParameters(100.0, 3000, 100, 500, PublishingEnabled=True)
        options: dict[str, Any] = {"queue_maxsize": 100_000}
        self._subscription = await self._client.create_subscription(params, self, **options)
        wanted = ua.EventFilter(SelectClauses=[_clause(path) for path in _PATHS])
        server = number_node(ObjectIds.Server)
        await self._subscription.subscribe_events(server, evfilter=wanted, queuesize=20_000)

    def event_notification(self, event: Any) -> None:  # noqa: ANN401
        """Note the age of an event."""
        now_s = time.time()
        if event.event_fields[_KIND].Value == number_node(ObjectIds.RefreshEndEventType):
            self.end_s = now_s
        self.ages_s.append(now_s - event.event_fields[_TIME].Value.timestamp())

    def status_change_notification(self, status: object) -> None:
        """Ignore it."""
        del status

    async def refresh(self) -> float:
        """Seconds until the last event of a refresh was here."""
        begun_s, self.end_s = time.time(), 0.0
        number = ua.Variant(self._subscription.subscription_id, ua.VariantType.UInt32)
        kind = self._client.get_node(number_node(ObjectIds.ConditionType))
        await kind.call_method(number_node(ObjectIds.ConditionType_ConditionRefresh), number)
        while not self.end_s:  # noqa: ASYNC110 (set by a callback)
            await asyncio.sleep(0.01)
        return self.end_s - begun_s


def _clause(path: str) -> ua.SimpleAttributeOperand:
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=number_node(ObjectIds.BaseEventType),
        BrowsePath=[ua.QualifiedName(name) for name in path.split("/")],
        AttributeId=AttributeIds.Value,
    )


async def _serve_clients(port: int, count: int) -> None:
    """The process of some clients: one question a line, one answer a line."""
    clients = [Scada() for _ in range(count)]
    for one in clients:
        await one.connect(port)
    print("ready", flush=True)
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if word == "refresh":
            answer = await asyncio.gather(*(one.refresh() for one in clients))
        else:
            answer = [age for one in clients for age in one.ages_s]
        for one in clients:
            one.ages_s.clear()
        print(json.dumps(answer), flush=True)


class Bench:
    """The server, and what it is measured with."""

    def __init__(self, alarms: int, clients: int) -> None:
        self._ids = [f"P-{n % _MACHINES:04}.a{n // _MACHINES}" for n in range(alarms)]
        self._clients = clients
        self._plant = Plant()
        config = Config(enabled=True, port=0, clients=2 * clients)
        self._server = OpcuaServer(config, self._plant.access(), self._plant.clock)
        self._processes: list[asyncio.subprocess.Process] = []

    async def run(self) -> None:
        """Print all figures."""
        meter = Meter()
        await self._server.tend()
        meter.show("start, without clients and alarms")
        await self._raise_all()
        meter.show(f"{len(self._ids)} alarms raised")
        tending = asyncio.create_task(self._tend())
        await self._connect()
        meter.show(f"{self._clients} clients connected")
        taken_s = sorted(await self._ask("refresh"))
        meter.show(f"refresh of all at once: first {taken_s[0]:.1f} s, last {taken_s[-1]:.1f} s")
        await self._ask("ages")
        meter = Meter()
        for alarm_id in self._ids[:200]:
            self._server.notify([self._plant.table.apply_command("ack", alarm_id, "ben")])
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        meter.show("200 transitions at 20/s")
        ages_s = sorted(await self._ask("ages"))
        middle, late = ages_s[len(ages_s) // 2], ages_s[int(len(ages_s) * 0.99)]
        print(f"{len(ages_s)} events received, age p50 {middle:.3f} s, p99 {late:.3f} s")
        tending.cancel()
        for one in self._processes:
            one.kill()
            await one.wait()
        await self._server.stop()

    async def _tend(self) -> None:
        while True:
            await self._server.tend()
            await asyncio.sleep(1.0)

    async def _raise_all(self) -> None:
        for number, alarm_id in enumerate(self._ids):
            self._server.notify(self._plant.see(alarm_id))
            if number % 100 == 0:
                await asyncio.sleep(0)
        while len(self._server.space.conditions) < len(self._ids):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)

    async def _connect(self) -> None:
        each = max(1, self._clients // _PROCESSES)
        words = sys.executable, "-m", "scripts.opcua_bench", "--port", str(self._server.port)
        for _ in range(self._clients // each):
            pipe = asyncio.subprocess.PIPE
            made = await asyncio.create_subprocess_exec(
                *words, "--clients", str(each), stdin=pipe, stdout=pipe, limit=1 << 26
            )
            self._processes.append(made)
        await asyncio.gather(*(self._answer(one) for one in self._processes))

    async def _ask(self, word: str) -> list[float]:
        for one in self._processes:
            assert one.stdin is not None  # noqa: S101 (a pipe)
            one.stdin.write(f"{word}\n".encode())
        answers = await asyncio.gather(*(self._answer(one) for one in self._processes))
        return [value for line in answers for value in json.loads(line)]

    async def _answer(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None  # noqa: S101 (a pipe)
        return await asyncio.wait_for(process.stdout.readline(), _ANSWER_S)


class Meter:
    """Time, processor time and memory of this process since the last figure."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._begin()

    def _begin(self) -> None:
        self._at_s, self._cpu_s = time.monotonic(), time.process_time()

    def show(self, what: str) -> None:
        """Print a figure and begin the next one."""
        took_s, cpu_s = time.monotonic() - self._at_s, time.process_time() - self._cpu_s
        size = self._process.memory_info().rss / (1 << 20)
        print(f"{what}: {took_s:.1f} s, {cpu_s:.2f} s of processor, {size:.0f} MiB", flush=True)
        self._begin()


def main() -> None:
    """Measure, or be some of the clients."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alarms", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.port:
        asyncio.run(_serve_clients(wanted.port, wanted.clients))
    else:
        asyncio.run(Bench(wanted.alarms, wanted.clients).run())


if __name__ == "__main__":
    main()
