"""Sink `mqtt` after an outage: subscribers come back too, and events are not retained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sink_support import Rig, Subscriber, event
from support import until

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Gateway
from edge_agent.config.types import Name
from edge_agent.messages import LinkState
from edge_agent.sinks import mqtt
from edge_agent.sinks.mqtt import MqttSink
from edge_agent.sinks.mqtt_config import MqttSinkConfig

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics
    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


def make_rig(tmp_path: Path, metrics: Metrics, broker: Mosquitto) -> Rig:
    gateway = Gateway(id=Name("gw-1"))
    config = MqttSinkConfig(broker.url)
    sink = MqttSink("plant", config, gateway, "edge", metrics, SystemClock())
    return Rig(tmp_path / "a.db", sink, metrics)


async def test_an_event_waits_for_a_subscriber_that_is_on_its_way(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wait holds nothing else back and is no failure; the alert is retained and need not."""
    monkeypatch.setattr(mqtt, "UNHEARD_HOLD_S", 0.2)
    async with make_rig(tmp_path, metrics, broker) as rig:
        await rig.put(event(), event(kind="alert"), event("other", kind="alert"))
        (left,) = await rig.emptied(1)
        assert left.kind == "event"
        subscriber = await Subscriber(broker.port, "edge/#").ready()
        await rig.emptied()
        await until(lambda: subscriber.ids("event") == ["P-1-bearing:1"], "heard")
        await asyncio.to_thread(subscriber.stop)
    assert rig.failures("") == 0


async def test_events_that_nobody_wants_do_not_pile_up(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "UNHEARD_HOLD_S", 0.2)
    monkeypatch.setattr(mqtt, "RETURN_S", 1.0)
    async with make_rig(tmp_path, metrics, broker) as rig:
        await rig.put(event())
        await rig.emptied()


async def test_each_new_connection_is_told(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    """Whether or not the broker says that it has kept our session: its file may be an old one."""
    rig = make_rig(tmp_path, metrics, broker)
    connections: list[LinkState] = []
    rig.sink.on_connected = lambda: connections.append(rig.sink.link.state)
    async with rig:
        await until(lambda: len(connections) == 1, "the first")
        broker.kill()
        broker.start()
        await until(lambda: len(connections) == 2, "the second")
    assert set(connections) == {LinkState.UP}


@pytest.mark.parametrize("is_answered", [True, False], ids=["known", "unknown"])
async def test_events_wait_until_it_is_known_what_the_broker_forgot(
    tmp_path: Path,
    metrics: Metrics,
    broker: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_answered: bool,
) -> None:
    """Events that it lost come before newer ones of their alarm; states do not wait for that."""
    monkeypatch.setattr(mqtt, "MARK_HOLD_S", 30.0 if is_answered else 2.0)
    rig = make_rig(tmp_path, metrics, broker)
    asked: list[object] = []
    rig.sink.on_forgotten = lambda mark, _: asked.append(mark)
    subscriber = await Subscriber(broker.port, "edge/#").ready()
    async with rig:
        await rig.put(event(seq=2), event(seq=2, kind="alert"))
        await until(lambda: asked == [None], "a broker that never knew us")
        if is_answered:
            await rig.emptied(1)
            await until(lambda: subscriber.ids("alert") == ["P-1-bearing:2"], "the state")
            assert subscriber.ids("event") == []
            rig.sink.accept_marks()
        await rig.emptied()
        await until(lambda: subscriber.ids("event") == ["P-1-bearing:2"], "heard")
    await asyncio.to_thread(subscriber.stop)
