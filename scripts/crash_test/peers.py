"""The peers of the daemon in the crash test: a plant with faults, a subscriber."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Self

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.testing import DaemonProcess

TICK_S = 0.1
PLACE = "edge/acme/north/water/{line}"
LOW, HIGH = 0.0, 100.0


class Daemon(DaemonProcess):
    """`edge-agent run` as a child, which may be killed before it is ready."""

    def quiet(self) -> bool:
        """True if all links are up and the outbox is empty."""
        found = orjson.loads(self.ask("/api/summary") or b"null")
        if found is None:
            return False
        links = [*found["sources"], *found["sinks"]]
        return all(link["ok"] for link in links) and not any(o["rows"] for o in found["outbox"])


class _Client:
    """A paho client in a thread, which reconnects automatically."""

    def __init__(self, port: int, name: str) -> None:
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._port = port

    def __enter__(self) -> Self:
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", self._port, 5, clean_start=False, properties=kept)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, *_: object) -> None: ...

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None: ...


class Subscriber(_Client):
    """Receives everything with QoS 1 and a persistent session.

    events: body by CloudEvents id, as first received; alerts: the newest by topic; order: numbers
    by alarm, as first received.
    """

    def __init__(self, port: int, name: str = "subscriber") -> None:
        super().__init__(port, name)
        self.events: dict[str, bytes] = {}
        self.alerts: dict[str, dict[str, Any]] = {}
        self.alert_ids: set[str] = set()
        self.order: dict[str, list[int]] = {}
        self.duplicates = 0
        self.event_times_s: list[float] = []  # by the clock, also of repetitions
        self.differing: set[str] = set()
        self.statuses: list[str] = []
        self.received_s = time.monotonic()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe("edge/#", 1)

    def _on_message(self, _c: object, _u: object, message: mqtt.MQTTMessage) -> None:
        topic, body = message.topic, bytes(message.payload)
        if "/_pdm/event" in topic:
            self._count_event(body)
        elif "/_pdm/alert/" in topic:
            self._store_alert(topic, body)
        elif topic.endswith("/status"):
            self.statuses.append(body.decode())

    def _count_event(self, body: bytes) -> None:
        self.received_s = time.monotonic()
        self.event_times_s.append(time.time())
        name = orjson.loads(body)["id"]
        if name in self.events:
            self.duplicates += 1
            if self.events[name] != body:
                self.differing.add(name)
            return
        self.events[name] = body
        alarm_id, _, seq = name.rpartition(":")
        self.order.setdefault(alarm_id, []).append(int(seq))

    def _store_alert(self, topic: str, body: bytes) -> None:
        self.received_s = time.monotonic()
        if not body:
            self.alerts.pop(topic, None)
            return
        self.alerts[topic] = orjson.loads(body)
        self.alert_ids.add(self.alerts[topic]["id"])


class Plant(_Client):
    """Machines with faults that begin and end at random, and an operator who acknowledges.

    A machine has two sensors for its model and one with a valid range.
    """

    def __init__(self, port: int, assets: list[str], seed: int, heard: Subscriber) -> None:
        super().__init__(port, "plant")
        self._random = random.Random(seed)  # noqa: S311 (a plan, not a secret)
        self._heard = heard
        self._until = dict.fromkeys(assets, 0.0)
        self.faults: dict[str, set[str]] = {asset: set() for asset in assets}
        self.frozen = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        super().__exit__()

    def _work(self) -> None:
        number = 0
        while not self._over.wait(TICK_S):
            number += 1
            for asset in self.faults:
                self._turn(asset)
                self._client.publish(f"plant/line-1/{asset}", self._values(asset), 1)
            if number % 5 == 0:
                self._acknowledge()

    def _turn(self, asset: str) -> None:
        now = time.monotonic()
        if self.frozen or now < self._until[asset]:
            return
        self._until[asset] = now + self._random.uniform(0.8, 4.0)
        chosen = self._random.choice((set(), {"range"}, {"shift"}, {"range", "shift"}))
        self.faults[asset] = set(chosen)

    def _values(self, asset: str) -> bytes:
        faults, noise = self.faults[asset], self._random.gauss
        value = {
            "ts": time.time_ns() // 1_000_000,
            "flow": 10 + noise(0, 0.1) + (5 if "shift" in faults else 0),
            "pressure": 4 + noise(0, 0.1),
            "temperature": 250.0 if "range" in faults else 50 + noise(0, 1),
        }
        return orjson.dumps(value)

    def _acknowledge(self) -> None:
        """Acknowledge one of the alarms that the subscriber has, like an operator."""
        waiting = [
            (topic, alert["data"]["alarm_id"])
            for topic, alert in list(self._heard.alerts.items())
            if alert["data"]["state"] in {"unack", "rtn_unack"}
        ]
        if not waiting or self.frozen:
            return
        topic, alarm_id = self._random.choice(waiting)
        command = {
            "id": f"{self._random.getrandbits(64):x}",
            "alarm_id": alarm_id,
            "expires": time.time_ns() // 1_000_000 + 60_000,
            "by": "operator",
        }
        place = topic.partition("/alert/")[0]
        self._client.publish(f"{place}/cmd/ack", orjson.dumps(command), 1)
