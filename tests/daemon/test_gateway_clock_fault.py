"""The gateway's own clock as a fault: moved, or probably wrong."""

from __future__ import annotations

from edge_agent.clock import FakeClock
from edge_agent.daemon.service_faults import GatewayClock
from edge_agent.messages import Link

LIMIT_S = 300.0


def link(offset_s: float | None, *, moved: bool = False) -> Link:
    return Link(clock_offset_s=offset_s, gateway_moved=moved)


def test_a_step_is_told_with_its_size_for_ten_minutes() -> None:
    clock = FakeClock(10**15)
    gateway = GatewayClock(clock)
    clock.advance(1)
    assert gateway.faults({}, LIMIT_S) == []
    clock.set_wall(-3600)
    clock.advance(1)
    (fault,) = gateway.faults({}, LIMIT_S)
    assert (fault.what, fault.text) == (
        "clock.gateway",
        "this gateway's clock was moved by -3600 s",
    )
    clock.advance(599)
    assert gateway.faults({}, LIMIT_S)
    clock.advance(2)
    assert gateway.faults({}, LIMIT_S) == []
    assert gateway.faults({"a": link(3600.0, moved=True)}, LIMIT_S)


def test_all_sources_off_by_the_same_make_the_gateways_clock_the_likely_one() -> None:
    gateway = GatewayClock(FakeClock())
    (fault,) = gateway.faults(
        {"a": link(3600.0), "b": link(3598.5), "c": link(None), "d": link(3601.0)}, LIMIT_S
    )
    assert fault.text == ("this gateway's clock is probably wrong: 3 sources are 3600 s ahead")


def test_one_source_or_sources_that_differ_do_not() -> None:
    gateway = GatewayClock(FakeClock())
    assert gateway.faults({"a": link(3600.0)}, LIMIT_S) == []
    assert gateway.faults({"a": link(3600.0), "b": link(0.1)}, LIMIT_S) == []
    assert gateway.faults({"a": link(3600.0), "b": link(7200.0)}, LIMIT_S) == []
    assert gateway.faults({"a": link(-0.2), "b": link(-0.1)}, LIMIT_S) == []
