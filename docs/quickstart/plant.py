# ruff: noqa: INP001, T201 (a program beside the docs, which tells that it is ready)
"""A small plant to try edge-agent on: four pumps in two lines that publish to an MQTT broker.

python3 plant.py [PORT]          (default: 1883; needs paho-mqtt, which edge-agent brings)
A file `fault` beside it, holding the name of a pump (P-102), makes that pump's bearing wear; an
empty or missing file heals all.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

FAULT = Path("fault")
LINES = {"Line1": ("P-101", "P-102"), "Line2": ("P-201", "P-202")}
# name: healthy value, its noise, unit, what a worn bearing adds
SIGNALS = {
    "Flow": (62.0, 0.4, "m3/h", -6.0),
    "Pressure": (4.2, 0.03, "bar", -0.3),
    "Temperature": (55.0, 0.2, "°C", 9.0),
    "Vibration": (2.1, 0.05, "mm/s", 4.0),
}


def main() -> None:
    """Publish every 100 ms, until somebody ends it."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 1883
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wear = dict.fromkeys((pump for pumps in LINES.values() for pump in pumps), 0.0)
    print("READY", flush=True)
    while True:
        worn = FAULT.read_text().strip() if FAULT.exists() else ""
        for line, pumps in LINES.items():
            for pump in pumps:
                wear[pump] = min(1.0, wear[pump] + 0.02) if pump == worn else 0.0
                publish(client, f"plant/{line}/{pump}", wear[pump])
        time.sleep(0.1)


def publish(client: Client, topic: str, wear: float) -> None:
    """One value of each signal of a pump."""
    for name, (value, noise, unit, worn) in SIGNALS.items():
        number = random.gauss(value + wear * worn, noise)
        body = {"value": round(number, 4), "unit": unit, "ts": time.time_ns() // 1_000_000}
        client.publish(f"{topic}/{name}", json.dumps(body))


main()
