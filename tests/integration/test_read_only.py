"""Nothing is written to the plant, whatever the config: random configs, recording servers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import pytest
import yaml
from opcua_support import CutProxy, PeerServer
from paho.mqtt.enums import CallbackAPIVersion
from support import until

from edge_agent.testing import find_free_port, mean_bundle
from scripts.rigs.faults.flow import PatchedDaemon
from scripts.rigs.faults.plugin import REPORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

CONFIGS: Final = 12 if REPORT in os.environ else 1  # all of them by scripts/faults
# By the number of the request's encoding (OPC 10000-6, annex A).
READING: Final = {428, 446, 452, 461, 467, 473, 527, 533, 631, 664, 751, 781, 787, 826, 847}
REBIRTH: Final = "spBv1.0/Plant1/NCMD/"
TURNS: Final = 20


class Recorder:
    """A client of the plant: publishes its values, and counts what anybody publishes."""

    def __init__(self, port: int) -> None:
        self.sent: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._count
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("#", 1)

    def _count(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        self.seen[message.topic] += 1

    def send(self, topic: str, body: bytes) -> None:
        self.sent[topic] += 1
        self.client.publish(topic, body, 1)

    def foreign(self, root: str) -> Counter[str]:
        """What somebody else has published outside of the daemon's own topics."""
        outside = Counter({t: n for t, n in self.seen.items() if not t.startswith(f"{root}/")})
        return outside - self.sent

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def some_config(choose: random.Random, folder: Path, port: int, opcua: str) -> dict[str, Any]:
    """A config of which all parts are chosen at random."""
    url = f"mqtt://127.0.0.1:{port}"
    mean_bundle(folder / "models" / "mean", ["x", "y"], length=4, step_s=0.5, threshold=50.0)
    limits = {"high": {"limit": choose.uniform(20, 80), "off_delay": "0s"}}
    signals: dict[str, Any] = {
        "x": {"valid": [0, 100], "source": "bus"},
        "y": {"limits": limits, "source": "bus"},
        "s0": {"source": "plc"},
    }
    model = {"bundle": "mean", "inputs": {"x": "x", "y": "y"}}
    plant = {"topic": "plant/{asset}", "qos": choose.randrange(3), "payload": {"time": "ts"}}
    lines = {"topic": "lines/{line}/{asset}", "template": "machine", "payload": {"time": "ts"}}
    plc = {
        "type": "opcua",
        "url": opcua,
        "node": "nsu=urn:plant;s={asset}.{signal}",
        "publishing_interval": choose.choice(["100ms", "500ms"]),
        "queue_size": choose.choice([1, 10, 100]),
        "history": choose.random() < 0.5,
        "time": choose.choice(["auto", "source", "server", "arrival"]),
        "node_retry": "1s",
        "stall_after": choose.choice(["2s", "10s"]),
    }
    group = {"group": "Plant1", "template": "machine", "rebirth": choose.random() < 0.5}
    sources = {
        "plc": plc,
        "bus": {"type": "mqtt", "url": url, "subscribe": choose.sample([plant, lines], 2)},
        "nodes": {"type": "mqtt", "url": url, "sparkplug": group},
    }
    sink = {"type": "mqtt", "url": url, "protocol": choose.choice(["auto", 5, "3.1.1"])}
    return {
        "gateway": {"id": "reader", "site": choose.choice(["north", "s-1"])},
        "topic_root": choose.choice(["edge", "pdm", "site-7"]),
        "models_dir": "models",
        "store": {"path": "store.db"},
        "http": {"port": find_free_port()},
        "sources": sources,
        "sinks": {"out": sink | {"send_window": choose.randint(1, 10)}},
        "templates": {"machine": {"signals": signals, "models": choose.sample([model], k=1)}},
        "assets": {name: {"template": "machine"} for name in ("a000", "a1", "missing")},
    }


def play(plant: Recorder, choose: random.Random, config: dict[str, Any]) -> None:
    """Values of all kinds, faults, nonsense and commands."""
    root = config["topic_root"]
    for _ in range(TURNS):
        row = {"ts": time.time_ns() // 1_000_000, "x": choose.uniform(-50, 150), "y": 90.0}
        for topic in ("plant/a1", "plant/a000", f"lines/l1/m{choose.randrange(3)}", "plant/valve"):
            plant.send(topic, json.dumps(row).encode())
        plant.send("spBv1.0/Plant1/NDATA/n1", choose.randbytes(20))
        plant.send("spBv1.0/Plant1/DDATA/n2/d1", b"\x08\x80\xc0\xb8\x96\xb3\x33\x18\x05")
        command: dict[str, Any] = {"id": f"{choose.random()}", "alarm_id": "a1.x.quality"}
        command |= {"by": "anna", "expires": row["ts"] + 60_000}
        place = f"{root}/reader/{config['gateway']['site']}/a/l/a1/_pdm/cmd"
        for verb in ("ack", "shelve", "write"):
            plant.send(f"{place}/{verb}", json.dumps(command).encode())
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("seed", "patch"),
    [*((seed, "") for seed in range(CONFIGS)), (0, "writes_to_the_plant")],
    ids=[*map(str, range(CONFIGS)), "control"],
)
async def test_whatever_the_config_the_plant_is_only_read(
    seed: int,
    patch: str,
    tmp_path: Path,
    make_broker: Callable[..., Mosquitto],
    record_property: Callable[[str, object], None],
) -> None:
    """Requests of an OPC UA client through a proxy, all messages of a broker; also in an outage.

    A Sparkplug node is asked for its birth, if the config allows it: nothing else is published.
    """
    choose = random.Random(seed)  # noqa: S311 (a plan, not a secret)
    broker = make_broker()
    server = PeerServer("asyncua", tmp_path).start()
    async with CutProxy(server.url) as proxy:
        config = some_config(choose, tmp_path, broker.port, proxy.url)
        path = tmp_path / "edge-agent.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        daemon, plant = PatchedDaemon(path, [patch] if patch else []), Recorder(broker.port)
        try:
            await asyncio.to_thread(daemon.start)
            await until(lambda: proxy.requests[826] > 1, "it publishes")
            await asyncio.to_thread(play, plant, choose, config)
            proxy.drop()
            await until(lambda: proxy.requests[751] > 1, "monitored again")
            await asyncio.to_thread(play, plant, choose, config)
            await until(lambda: plant.seen["plant/a1"] >= 2 * TURNS, "recorded")
        finally:
            await asyncio.to_thread(daemon.stop)
            plant.stop()
            server.kill()
    written = set(proxy.requests) - READING
    foreign = plant.foreign(config["topic_root"])
    asked = {topic for topic in foreign if topic.startswith(REBIRTH)}
    if patch:
        assert written
        assert foreign["plant/valve"]
        return
    assert not written
    assert not set(foreign) - asked
    assert bool(asked) == config["sources"]["nodes"]["sparkplug"]["rebirth"]
    if seed == CONFIGS - 1:
        record_property(
            "figure",
            f"{CONFIGS} random configs: 0 of the {sum(proxy.requests.values())} requests of the "
            "last one write; 0 messages outside of our topics but births of Sparkplug that are "
            "asked for",
        )
