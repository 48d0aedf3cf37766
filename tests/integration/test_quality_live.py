"""Parts over a real broker: limits learned, an alarm, records, and all of it over a restart."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.client import Client
from edge_agent.testing import DaemonProcess, Mosquitto, find_free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration]

WAIT_S = 60.0
CONFIG: dict[str, Any] = {
    "gateway": {"id": "gateway"},
    "store": {"path": "store.db"},
    "sinks": {"lines": {"type": "log"}},
    "templates": {"press": {"signals": {"bore": {"unit": "mm"}, "serial": {}, "done": {}}}},
    "assets": {"PRESS-1": {"template": "press"}},
    "control_charts": {
        "bore": {
            "asset": "PRESS-1",
            "signal": "bore",
            "part": {"trigger": "done", "id": "serial"},
            "phase_one": {"subgroups": 10},
            "specification": {"low": 9, "high": 11},
            "lateness": "0s",
        }
    },
}


class Press:
    """Publishes a part with each call: its measurement, its number, and that it is done."""

    def __init__(self, port: int) -> None:
        self.serial = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "press")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def make(self, bore: float) -> None:
        self.serial += 1
        for done in (0, 1):
            row = {"ts": time.time(), "bore": bore, "serial": self.serial, "done": done}
            self._client.publish("plant/PRESS-1", json.dumps(row), 1).wait_for_publish(WAIT_S)
            time.sleep(0.005)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_parts_become_alarms_and_records_and_go_on_after_a_restart(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        topic = {"topic": "plant/{asset}", "payload": {"time": "ts"}}
        source = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "subscribe": [topic]}
        path = tmp_path / "edge-agent.yaml"
        http = {"port": find_free_port()}
        path.write_text(yaml.safe_dump({**CONFIG, "http": http, "sources": {"plant": source}}))
        with DaemonProcess(path) as daemon:
            client = Client(daemon.url)
            wait_until(lambda: daemon.metric("source_up") == 1, WAIT_S, "source")
            press = Press(broker.port)
            for n in range(12):
                press.make(10 + 0.1 * (n % 3))
            wait_until(lambda: len(client.parts()) == 12, WAIT_S, "parts")
            (chart,) = client.quality()
            assert (chart.state, chart.counts["points"]) == ("in_control", 2)
        with DaemonProcess(path) as daemon:
            client = Client(daemon.url)
            wait_until(lambda: daemon.metric("source_up") == 1, WAIT_S, "source after the restart")
            (again,) = client.quality()
            assert again.baseline == chart.baseline
            press.make(10)
            press.make(12)
            wait_until(client.alarms, WAIT_S, "alarm")
            (alarm,) = client.alarms()
            assert alarm.alarm_id == "PRESS-1.bore.chart"
            wait_until(lambda: len(client.parts()) == 14, WAIT_S, "parts after the restart")
            newest, *_ = client.parts()
            assert (newest.part, newest.verdict) == ("14", "reject")
            assert newest.charts == {"bore": ["beyond_limits"]}
        press.stop()
