"""The OPC UA server in the daemon: the same alarms and commands as over HTTP."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds
from daemon_support import Running, fed_config
from support import until

from edge_agent.opcua_server.ua_types import number_node
from edge_agent.store import AuditFilter
from edge_agent.testing import find_free_port

if TYPE_CHECKING:
    from pathlib import Path

AWAY = "gateway.service.source.plant"
WITHOUT = """
import sys
from edge_agent.clock import SystemClock
from edge_agent.config.schema import Config
from edge_agent.config.settings import OpcuaServer
from edge_agent.daemon.build import Parts
Parts(Config(opcua_server=OpcuaServer(enabled=sys.argv[1] == "on")), None, SystemClock())
print(*(name for name in sys.modules if "opcua_server" in name or "asyncua.server" in name))
"""


@pytest.mark.parametrize("state", ["off", "on"])
def test_a_gateway_without_the_server_does_not_import_it(state: str) -> None:
    """Start time and memory of other gateways stay; one with the server is the control."""
    command = [sys.executable, "-c", WITHOUT, state]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert bool(found) is (state == "on")


async def test_a_command_over_opc_ua_is_one_over_http(tmp_path: Path) -> None:
    """Acknowledged by a SCADA: the API shows the same state, and the audit says who."""
    port = find_free_port()
    server = {"enabled": True, "port": port, "anonymous": "command"}
    more = {"alarms": {"link_delay": "0s"}, "opcua_server": server}
    path = fed_config(tmp_path, ("pump", {"signals": {"flow": {}}}), "P-1", **more)
    async with Running(path) as running:
        parts = running.daemon.parts
        await until(lambda: running.states().get(AWAY) == "unack")
        opcua = parts.opcua
        assert opcua is not None
        await until(lambda: opcua.serves and AWAY in opcua.space.conditions)
        client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=30)
        await client.connect()
        try:
            node = client.get_node(f"ns=2;s=alarm:{AWAY}")
            event = await client.get_node(f"ns=2;s=alarm:{AWAY}/EventId").read_value()
            method = number_node(ObjectIds.AcknowledgeableConditionType_Acknowledge)
            await node.call_method(method, event, ua.LocalizedText("cable"))
            acked = client.get_node(f"ns=2;s=alarm:{AWAY}/AckedState/Id")
            assert await acked.read_value() is True
            (row,) = [one for one in parts.status.alarms(None) if one["alarm_id"] == AWAY]
            assert (row["state"], row["acked_by"], row["comment"]) == (
                "acked",
                "anonymous (opcua)",
                "cable",
            )
            (entry, *_) = await parts.status.audit(AuditFilter(alarm_id=AWAY), 10)
            assert entry["actor"] == "anonymous (opcua)"
            await parts.status.command("shelve", AWAY, "anna", 60.0, "")
            shelved = client.get_node(f"ns=2;s=alarm:{AWAY}/ShelvingState/CurrentState")
            await until(lambda: opcua.space.conditions[AWAY].condition.is_shelved)
            assert (await shelved.read_value()).Text == "TimedShelved"
        finally:
            await client.disconnect()
