"""Faults of sources and sinks are service alarms for as long as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon_support import fed_config

from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.messages import AlarmState, Detail, Fault

if TYPE_CHECKING:
    from pathlib import Path

ALARM = "gateway.service.input.plant"
FAULT = Fault("input.plant", "plant: odd input", Detail("store_trouble", {"reason": "x"}))


async def test_a_fault_of_a_link_is_a_trouble_and_a_service_alarm(tmp_path: Path) -> None:
    """As long as its owner reports it; a restored alarm that nobody reports any more clears."""
    path = fed_config(tmp_path, ("pump", {"signals": {"flow": {}}}), "P-1")
    daemon = Daemon(load_config(path), path=path)
    await daemon.startup()
    try:
        faults = daemon.runtime.sources["plant"].link.faults
        faults[FAULT.what] = FAULT
        await daemon.parts.supervisor.supervise()
        alarm = daemon.runtime.alarms.get(ALARM)
        assert alarm is not None
        assert alarm.state is AlarmState.UNACK
        assert FAULT.text in daemon.parts.supervisor.troubles()
        faults.clear()
        rule = daemon.runtime.catalogue.rule(ALARM)
        for later_us in (0, round(rule.off_delay * 1e6) + 1):
            for seen in daemon.parts.supervisor.observations(
                daemon.parts.clock.now_us() + later_us
            ):
                daemon.runtime.alarms.accept_observation(seen)
        alarm = daemon.runtime.alarms.get(ALARM)
        assert alarm is not None
        assert alarm.state is AlarmState.RTN_UNACK
        assert FAULT.text not in daemon.parts.supervisor.troubles()
    finally:
        await daemon.shutdown()
