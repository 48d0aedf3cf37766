"""Faults of the service itself: each is a trouble and a service alarm with cause and mend."""

from __future__ import annotations

from types import SimpleNamespace

from support import value_of

from edge_agent.clock import FakeClock
from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.daemon.service_faults import IdleSources, LogHealth, discovery_faults
from edge_agent.messages import Link, LinkState
from edge_agent.ops.log_writer import LogState
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant


def test_dropped_log_lines_are_counted_and_a_fault_for_a_minute() -> None:
    clock, metrics, state = FakeClock(), Metrics(), LogState()
    health = LogHealth(metrics, clock, lambda: state)
    assert health.faults() == []
    state = LogState(dropped=7)
    (fault,) = health.faults()
    assert (fault.what, fault.detail.message_args) == ("log", {"dropped": 7})
    assert value_of(metrics.log_dropped) == 7
    clock.advance(59)
    assert health.faults()
    clock.advance(2)
    assert health.faults() == []


def test_a_log_that_nobody_reads_is_a_fault_before_a_line_is_lost() -> None:
    health = LogHealth(Metrics(), FakeClock(), lambda: LogState(0, 11.0))
    assert [fault.what for fault in health.faults()] == ["log"]


def test_machines_that_discovery_refuses_are_a_fault_until_there_is_room() -> None:
    config = schema.Config(
        templates={Name("m"): schema.Template()}, discovery=schema.Discovery(max_assets=1)
    )
    plant = Plant(config)
    assert plant.discover("A", "m") is not None
    assert discovery_faults(plant) == []  # full, but nobody was refused
    assert plant.discover("B", "m") is None
    (fault,) = discovery_faults(plant)
    assert fault.what == "discovery"
    assert fault.detail.message_args == {"limit": 1, "refused": 1}
    plant.adopt(schema.Config(discovery=schema.Discovery(max_assets=2)))
    assert discovery_faults(plant) == []


def test_a_source_that_monitors_nothing_for_a_minute_is_a_fault_until_it_finds_a_machine() -> None:
    """With a wrong topic or name everything else is green: connected, no trouble, no machine."""
    template = schema.Template({Name("s"): schema.Signal(source=Name("bus"))})
    config = schema.Config(templates={Name("m"): template}, discovery=schema.Discovery())
    clock, plant, link = FakeClock(), Plant(config), Link()
    sources = {"bus": SimpleNamespace(link=link)}
    runtime = SimpleNamespace(plant=plant, config=config, sources=sources)
    idle = IdleSources(lambda: runtime, clock)  # type: ignore[arg-type, return-value]

    def after(seconds: float) -> list[str]:
        clock.advance(seconds)
        return [fault.what for fault in idle.faults()]

    assert after(0) == after(100) == []  # not connected: the link's own fault
    link.state = LinkState.UP
    assert after(1) == after(59) == []
    assert after(2) == ["idle.bus"]
    plant.discover("A", "m")
    assert after(1) == []
