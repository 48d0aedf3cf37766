"""What is shown of sources: counts, rates, lags and bad signals, from the metrics and the watch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from support import value_of

from edge_agent.clock import FakeClock
from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.daemon.source_status import OVER_S, SourceStatus
from edge_agent.messages import Detail, Fault, Link, LinkState
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.signals import QualityWatch
from edge_agent.sources.mqtt import MqttSourceConfig
from edge_agent.values import columns


def status_of(clock: FakeClock, metrics: Metrics) -> tuple[SourceStatus, Link, QualityWatch]:
    """A source `bus` with two signals of one asset, and a second one without any."""
    template = schema.Template({Name(one): schema.Signal(source=Name("bus")) for one in ("a", "b")})
    sources: Any = {Name(one): MqttSourceConfig("mqtt://h", ()) for one in ("bus", "idle")}
    config = schema.Config(
        sources=sources,
        templates={Name("m"): template},
        assets={"P-1": schema.Asset(template=Name("m"))},
    )
    watch, link = QualityWatch(), Link(LinkState.UP, "mqtt://h", 2_000_000)
    for _ in range(2):
        watch.add(0, stale_us=None, stuck_us=None, valid=(0, 100))
    links = {"bus": SimpleNamespace(link=link), "idle": SimpleNamespace(link=Link())}
    runtime: Any = SimpleNamespace(
        config=config, plant=Plant(config), sources=links, pipeline=SimpleNamespace(watch=watch)
    )
    return SourceStatus(lambda: runtime, metrics, clock), link, watch


def test_counts_and_rates_are_those_of_the_last_minute() -> None:
    """The first answer has no rate, and what was long ago does not count."""
    clock, metrics = FakeClock(), Metrics()
    status, _, _ = status_of(clock, metrics)
    metrics.values_received.labels("bus").inc(1000)
    metrics.values_rejected.labels("bus", "payload").inc(3)
    row, idle = status.rows()
    assert (row["received"], row["rate"], row["rejected"]) == (1000, None, {"payload": 3})
    assert (idle["name"], idle["received"], idle["signals"]) == ("idle", 0, 0)
    clock.advance(10)
    metrics.values_received.labels("bus").inc(50)
    assert status.rows()[0]["rate"] == 5.0
    clock.advance(OVER_S + 1)
    assert status.rows()[0]["rate"] is None, "nobody asked for longer than that"
    assert value_of(metrics.values_received.labels("bus")) == 1050


def test_lag_silence_and_bad_signals_are_those_of_its_own_signals() -> None:
    """A stamp that is 3 s old on arrival is 3 s of lag, however long ago it arrived."""
    clock, metrics = FakeClock(), Metrics()
    status, link, watch = status_of(clock, metrics)
    link.clock_offset_s = 0.5
    link.faults["clock.bus"] = Fault("clock.bus", "bus: 5 s ahead", Detail("clock_ahead"))
    assert status.rows()[0]["lag_s"] is None
    assert status.rows()[0]["without_value"] == 2
    stamp_us = clock.now_us() - 3_000_000
    bad = columns([0, 1], [stamp_us, stamp_us], [1.0, 999.0])
    watch.update(watch.refuse_out_of_range(bad), clock.monotonic_s())
    clock.advance(7)
    row = status.rows()[0]
    assert (row["lag_s"], row["silent_s"]) == (3.0, 7.0)
    assert row["newest_ms"] == stamp_us // 1000
    assert (row["signals"], row["without_value"]) == (2, 0)
    assert row["problems"] == {"out_of_range": 1}
    assert (row["clock_offset_s"], row["faults"]) == (0.5, ["bus: 5 s ahead"])
    assert (row["state"], row["ok"], row["since_ms"]) == ("up", True, 2000)
    clock.advance(60)
    assert status.rows()[0]["lag_s"] is None, "an arrival of long ago says nothing of now"
