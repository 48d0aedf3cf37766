"""What a config makes, and what parts of the daemon remember; no network is touched."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import plants
import pytest
from support import value_of

from edge_agent.config.schema import AlarmRule, ModelUse, Signal, Template
from edge_agent.config.types import Name
from edge_agent.daemon.error_boundary import ErrorBoundary
from edge_agent.daemon.runtime import RuntimeBuilder
from edge_agent.daemon.saved_values import SavedValues
from edge_agent.delivery import Publisher
from edge_agent.messages import LinkState
from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.clock import FakeClock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.ops.metrics import Metrics

SIGNALS = {Name(name): Signal() for name in plants.INPUTS}
BUS = MqttSourceConfig(url="mqtt://127.0.0.1:1", subscribe=(Subscription("p/{asset}/{signal}"),))


@pytest.fixture
def builder(metrics: Metrics, clock: FakeClock) -> Iterator[RuntimeBuilder]:
    made = RuntimeBuilder(metrics, clock, ThreadPoolExecutor(1), {}, lambda: None)
    yield made
    made.close()


def config(severity: int = 500) -> Config:
    use = ModelUse(Name("base"), alarm=AlarmRule(severity=severity))
    return plants.config(sources={"bus": BUS}, templates={"pump": Template(SIGNALS, (use,))})


async def build(builder: RuntimeBuilder, made: Config) -> Runtime:
    return builder.build(made, await builder.load_models(made))


async def test_a_runtime_is_whole_and_has_connected_to_nothing(builder: RuntimeBuilder) -> None:
    """All of its parts belong to the one config; only `start` of a source opens a connection."""
    runtime = await build(builder, config())
    assert list(runtime.plant.assets) == ["any"]
    assert runtime.models.without == {}
    assert {name: one.link.state for name, one in runtime.sources.items()} == {
        "bus": LinkState.STOPPED
    }
    with pytest.raises(FrozenInstanceError):
        runtime.config = config()  # type: ignore[misc]
    runtime.models.close()


async def test_an_asset_that_announces_itself_belongs_to_its_own_runtime(
    builder: RuntimeBuilder, metrics: Metrics
) -> None:
    """A second runtime that is built meanwhile knows nothing of it."""
    first, second = await build(builder, config()), await build(builder, config())
    first.plant.discover("new", "pump")
    assert first.catalogue.rule("new.base").severity == 500
    assert (list(first.models.without), list(second.models.without)) == (["new"], [])
    assert [list(one.plant.assets) for one in (first, second)] == [["any", "new"], ["any"]]
    assert value_of(metrics.assets) == 2
    for one in (first, second):
        one.models.close()


async def test_new_rules_are_in_a_runtime_of_the_same_parts(builder: RuntimeBuilder) -> None:
    """Windows, timers and connections go on; assets to come have the new rules, too."""
    first = await build(builder, config())
    second = first.with_rules(config(severity=900))
    assert replace(second, config=first.config) == first
    second.plant.discover("new", "pump")
    assert [second.catalogue.rule(f"{a}.base").severity for a in ("any", "new")] == [900, 900]
    first.models.close()


async def test_what_the_store_refuses_is_a_trouble_and_not_saved(
    tmp_path: Path, clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who keeps a value has to know of the store's errors."""
    publisher = Publisher(config(), metrics, clock, AsyncMock())
    store = publisher.store
    troubles: list[Any] = []
    monkeypatch.setattr(publisher.health, "set_trouble", troubles.append)
    values = SavedValues(store, publisher.health.set_trouble, publisher.audit)
    await store.open(tmp_path / "store.db", max_bytes=1 << 24, history_days=1, clock=clock)
    assert await values.load("key") is None
    assert await values.save("key", b"value")
    assert await values.load("key") == b"value"
    await store.close()
    assert not await values.save("key", b"other")
    await values.audit("anna", "forget", ["P-1"])
    assert troubles == ["the store is closed"] * 2


async def test_work_that_fails_is_repeated(metrics: Metrics, clock: FakeClock) -> None:
    """One error of a part ends neither the part nor the service."""
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise asyncio.CancelledError
        raise ValueError

    with pytest.raises(asyncio.CancelledError):
        await ErrorBoundary(metrics, clock).repeat("part", 0.0, work)
    assert value_of(metrics.error_boundary.labels("part")) == 2
