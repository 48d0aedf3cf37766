"""Shards of gateways, each a pair, at one broker: the active one fails, round after round.

    scripts/standby --rounds 24                # the figures of docs/fleet.md
    scripts/standby --rounds 6 --control       # without a lease: both send; it must fail

In each round a gateway that is active is killed, stopped (SIGSTOP), cut from the network (a proxy
that holds everything back) or ended (SIGTERM), and within the next second a fault begins at every
machine. Every fault must be raised once: one id by source and id, as a receiver of CloudEvents
counts. Then the alarm is acknowledged over the bus, the fault ends, and the gateway comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.config.schema import Shard
from edge_agent.testing import DaemonProcess, Mosquitto, find_free_port, mean_bundle, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEASE_S: Final = 2.0
STEP_S: Final = 0.1
WAIT_S: Final = 60.0
START_S: Final = 300.0  # of a daemon, on a machine that others use
ACTIONS: Final = ("kill", "stop", "cut", "end")
NAMES: Final = {
    "kill": "`kill -9`",
    "stop": "SIGSTOP, then SIGCONT",
    "cut": "network cut, then mended",
    "end": "SIGTERM",
}
PLACE: Final = "edge/acme/north/water/line"
_NORMAL, _FAULT = 1.0, 20.0


class Relay:
    """A TCP proxy in a thread, before the broker; `cut` holds all bytes back until `mend`."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, find_free_port()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Pass nothing on, in either direction; no connection ends."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Pass on what was held back, too."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._loop.run_until_complete(serving)
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


@dataclass
class Bus:
    """What the plant hears and says: alarms, who is active, values, acknowledgements."""

    port: int
    raises: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # asset -> ids
    copies: int = 0  # events that came again with the same id
    alerts: dict[str, bytes] = field(default_factory=dict)  # alarm id -> retained state
    active: dict[str, tuple[str, float]] = field(default_factory=dict)  # gateway -> member, when
    before: dict[str, tuple[str, float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "rig")
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        self._going = True
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self._feeder.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe("edge/#", 1)

    def _feed(self) -> None:
        """A row of each machine every step, with the time of now, for ever."""
        next_s = time.time() // STEP_S * STEP_S
        while self._going:
            next_s += STEP_S
            time.sleep(max(0.0, next_s - time.time()))
            for asset, value in list(self.values.items()):
                row = {"ts": round(next_s * 1000), "flow": value}
                self._client.publish(f"plant/{asset}", orjson.dumps(row), 1)

    def acknowledge(self, asset: str) -> None:
        """As a panel does; a command that is not done is given again with another id."""
        command = {
            "id": f"{asset}-{time.time_ns()}",
            "alarm_id": f"{asset}.watch",
            "by": "rig",
            "expires": time.time_ns() // 1_000_000 + 60_000,
        }
        self._client.publish(f"{PLACE}/{asset}/_pdm/cmd/ack", orjson.dumps(command), 1)

    def _on_message(self, _c: object, _u: object, one: mqtt.MQTTMessage) -> None:
        now_s, topic = time.monotonic(), one.topic
        if "/_svc/" in topic or topic.endswith("/_pdm/event"):
            said = one.payload[:200].decode("utf-8", "replace")
            if topic.endswith("/_pdm/event"):
                data = json.loads(one.payload)
                said = f"{data['id']} {data['time']} {data['data']['transition']}"
            if "/lease" not in topic or "claim" in said:
                self.heard.append(f"{time.time():.3f} {topic} {said}")
        if "/member/" in topic:
            gateway, member = topic.split("/")[2], topic.rpartition("/")[2]
            if one.payload == b"active":
                if self.active.get(gateway, ("", 0.0))[0] not in {"", member}:
                    self.before[gateway] = self.active[gateway]
                self.active[gateway] = member, now_s
            elif self.active.get(gateway, ("", 0.0))[0] == member and gateway in self.before:
                self.active[gateway] = self.before[gateway]  # it only believed so when it woke up
        elif "/_pdm/alert/" in topic:
            self.alerts[topic.rpartition("/")[2]] = bytes(one.payload)
        elif topic.endswith("/_pdm/event"):
            self._count(json.loads(one.payload))

    def _count(self, event: dict[str, Any]) -> None:
        data = event["data"]
        key = f"{event['source']} {event['id']}"
        self.copies += key in self._seen
        self._seen.add(key)
        if data["transition"] == "raise":
            self.raises[data["asset"]].add(key)

    def state(self, asset: str) -> str:
        """The retained state of an asset's alarm."""
        body = self.alerts.get(f"{asset}.watch")
        return str(json.loads(body)["data"]["state"]) if body else "normal"


class Member:
    """One gateway of a pair, with the relay before its broker."""

    def __init__(self, folder: Path, plan: Plan, shard: int, name: str, broker: int) -> None:
        self.name, self.relay = name, Relay(broker)
        self.folder = folder / f"{shard}{name}"
        self.folder.mkdir()
        mean_bundle(self.folder / "models" / "watch", ["flow"], step_s=STEP_S)
        config = self.folder / "edge-agent.yaml"
        config.write_text(yaml.safe_dump(self._config(plan, shard)))
        self.process = DaemonProcess(config)

    def _config(self, plan: Plan, shard: int) -> dict[str, Any]:
        url = f"mqtt://127.0.0.1:{self.relay.port}"
        place = {"enterprise": "acme", "site": "north", "area": "water", "line": "line"}
        topic = {"topic": "plant/{asset}", "template": "pump", "payload": {"time": "ts"}}
        pump = {
            "signals": {"flow": {}},
            "models": [{"bundle": "watch", "lateness": "200ms", "alarm": {"off_delay": "500ms"}}],
        }
        config: dict[str, Any] = {
            "gateway": {"id": f"gw-{shard}", **place},
            "shard": {"index": shard, "of": plan.shards},
            "models_dir": str(self.folder / "models"),
            "store": {"path": str(self.folder / "store.db")},
            "http": {"port": find_free_port()},
            "runtime": {"isolation": "never"},
            "sources": {"plant": {"type": "mqtt", "url": url, "subscribe": [topic]}},
            "sinks": {"bus": {"type": "mqtt", "url": url, "keepalive": 5}},
            "templates": {"pump": pump},
            "alarms": {"flood_limit": 10_000},
            "assets": {asset: {"template": "pump"} for asset in plan.assets},
        }
        if plan.control:
            config["sources"]["plant"]["client_id"] = f"plant-{shard}-{self.name}"
            config["sinks"]["bus"]["client_id"] = f"bus-{shard}-{self.name}"
        else:
            config["gateway"]["member"] = self.name
            config["standby"] = {"lease": f"{plan.lease_s}s"}
        return config

    def fail(self, action: str) -> None:
        """Fail in one of the ways of ACTIONS; SIGTERM is not waited for."""
        if action == "kill":
            self.process.kill()
        elif action == "stop":
            self.process.process.send_signal(signal.SIGSTOP)
        elif action == "cut":
            self.relay.cut()
        else:
            self.process.process.send_signal(signal.SIGTERM)

    def come_back(self, action: str) -> None:
        """Undo it, and wait until it is ready."""
        if action == "stop":
            self.process.process.send_signal(signal.SIGCONT)
        elif action == "cut":
            self.relay.mend()
        else:
            if action == "end":
                self.process.wait()
            self.process.start(wait=False)
            wait_until(self.process.is_ready, START_S, f"{self.folder.name} ready")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run; control: two gateways with one id and no lease."""

    rounds: int
    shards: int
    lease_s: float
    seed: int
    control: bool

    @property
    def assets(self) -> list[str]:
        """Two for each shard, by the hash."""
        found: list[str] = []
        for shard in range(self.shards):
            mine = (f"P-{n}" for n in range(1, 200) if Shard(shard, self.shards).owns(f"P-{n}"))
            found += [next(mine), next(mine)]
        return found


@dataclass
class Round:
    """What became of one failure; seconds: None if nobody took over."""

    action: str
    seconds: float | None
    missing: list[str]
    doubled: list[str]


class Rig:
    """All gateways, and the plant."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self.plan, self.tell = plan, tell
        self.dice = random.Random(plan.seed)  # noqa: S311
        self.broker = Mosquitto(folder, "persistence true\nautosave_interval 1\n").start()
        port = self.broker.port
        self.members = {
            shard: [Member(folder, plan, shard, name, port) for name in "ab"]
            for shard in range(plan.shards)
        }
        self.bus = Bus(port)

    def run(self) -> list[Round]:
        """All rounds."""
        with self.bus:
            self.bus.values = dict.fromkeys(self.plan.assets, _NORMAL)
            for pair in self.members.values():
                for one in pair:
                    one.process.start(wait=False)
                    wait_until(one.process.is_ready, START_S, f"{one.folder.name} ready")
            if not self.plan.control:
                active = self.bus.active
                wait_until(lambda: len(active) == self.plan.shards, WAIT_S, "active gateways")
            time.sleep(3.0)
            return [self.round(number) for number in range(self.plan.rounds)]

    def round(self, number: int) -> Round:
        """One failure of one gateway, and a fault at every machine."""
        action = ACTIONS[number % len(ACTIONS)]
        shard = self.dice.randrange(self.plan.shards)
        one = self.active_of(shard)
        before = {asset: len(ids) for asset, ids in self.bus.raises.items()}
        begin_s = time.monotonic()
        one.fail(action)
        time.sleep(self.dice.random())
        for asset in self.plan.assets:
            self.bus.values[asset] = _FAULT
        self.await_(lambda: all(self.new_of(a, before) for a in self.plan.assets))
        seconds = self.took_s(shard, one, begin_s)
        self.end_faults()
        one.come_back(action)
        time.sleep(3.0 + (self.plan.lease_s if action in {"stop", "cut"} else 0.0))
        counts = {asset: self.new_of(asset, before) for asset in self.plan.assets}
        found = Round(
            action,
            seconds,
            [asset for asset, n in counts.items() if not n],
            [asset for asset, n in counts.items() if n > 1],
        )
        self.tell(f"round {number + 1}: gw-{shard}{one.name} {action}: {found}")
        return found

    def active_of(self, shard: int) -> Member:
        """The active one of a pair; without a lease any of them."""
        pair = self.members[shard]
        if self.plan.control:
            return self.dice.choice(pair)
        name = self.bus.active[f"gw-{shard}"][0]
        return next(one for one in pair if one.name == name)

    def took_s(self, shard: int, one: Member, begin_s: float) -> float | None:
        """Seconds from the failure until the other one said that it is active."""
        name, at_s = self.bus.active.get(f"gw-{shard}", ("", 0.0))
        return at_s - begin_s if name and name != one.name else None

    def new_of(self, asset: str, before: dict[str, int]) -> int:
        """How many raises there were since."""
        return len(self.bus.raises[asset]) - before.get(asset, 0)

    def end_faults(self) -> None:
        """Acknowledge every alarm, end the faults, and wait until all are normal."""
        assets = self.plan.assets
        for _ in range(5):
            for asset in assets:
                if self.bus.state(asset) == "unack":
                    self.bus.acknowledge(asset)
            if self.await_(lambda: all(self.bus.state(a) == "acked" for a in assets), 2.0):
                break
        self.bus.values = dict.fromkeys(assets, _NORMAL)
        self.await_(lambda: all(self.bus.state(asset) == "normal" for asset in assets), 15.0)

    @staticmethod
    def await_(done: Callable[[], object], wait_s: float = 20.0) -> bool:
        """Wait for it; False if it did not come."""
        try:
            wait_until(done, wait_s)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End all processes."""
        for pair in self.members.values():
            for one in pair:
                one.process.kill()
                one.relay.close()
        self.broker.stop()


def summary(rounds: Sequence[Round], copies: int) -> tuple[str, bool]:
    """A table of the rounds, and True if every fault was raised once."""
    lines = ["| failure | rounds | take-over, median (longest) | missing | doubled |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for action, name in NAMES.items():
        mine = [one for one in rounds if one.action == action]
        times = [one.seconds for one in mine if one.seconds is not None]
        took = f"{statistics.median(times):.2f} s ({max(times):.2f} s)" if times else "none"
        missing, doubled = (
            sum(len(getattr(r, key)) for r in mine) for key in ("missing", "doubled")
        )
        lines.append(f"| {name} | {len(mine)} | {took} | {missing} | {doubled} |")
    lines.append(f"\nEvents that came again with the same id: {copies}.")
    return "\n".join(lines), not any(one.missing or one.doubled for one in rounds)


def main() -> int:
    """Run the rig; 1 if a fault was not raised exactly once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--lease", type=float, default=LEASE_S, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", action="store_true", help="without a lease: it must fail")
    parser.add_argument("--keep", type=Path, help="a folder for all files, which stay there")
    given = parser.parse_args()
    plan = Plan(given.rounds, given.shards, given.lease, given.seed, given.control)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rig = Rig(plan, folder, lambda text: print(text, file=sys.stderr, flush=True))
        try:
            rounds = rig.run()
        finally:
            rig.close()
            (folder / "heard.txt").write_text("\n".join(rig.bus.heard) + "\n")
    text, holds = summary(rounds, rig.bus.copies)
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
