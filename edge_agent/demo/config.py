"""The config of the demo's daemon, written as a person would write it."""

from __future__ import annotations

import secrets
from string import Template
from typing import TYPE_CHECKING, Final

from edge_agent.demo.plant import SENSORS
from edge_agent.demo.servers import NAMESPACE
from edge_agent.demo.shipped import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

ON_BUS: Final = ("P-101", "P-102", "P-103")
ON_PLC: Final = ("P-104", "P-105")
PUMPS: Final = ON_BUS + ON_PLC
LINE: Final = "station-1"
LEARN_S: Final = 15.0
STEP_S: Final = 0.1
STUCK_S: Final = 3.0
TOKEN_FILE: Final = "http-token"  # noqa: S105 (its name; it is for the buttons of the status page)


def topic_of(asset: str) -> str:
    """The topic of a pump's readings."""
    return f"plant/{LINE}/{asset}"


_CONFIG: Final = Template("""\
# Five pumps: $on_bus announce themselves on the MQTT bus, $on_plc are
# nodes of an OPC UA server. The first have a model from the first second on; nobody trained one
# for the others: each learns what healthy looks like.
gateway: {id: demo, enterprise: acme, site: north, area: water, line: $line}
http: {port: $http_port, token: {file: $token_file}}
store: {path: edge-agent.db}
models_dir: models

sources:
  bus:
    type: mqtt
    url: $mqtt_url
    protocol: "3.1.1"  # the demo's broker knows no MQTT 5
    stale_after: 2s
    subscribe:
      - topic: plant/{line}/{asset}
        template: pump
        payload: {format: json, time: ts}
  plc:
    type: opcua
    url: $opcua_url
    node: "nsu=$namespace;s={asset}.{signal}"
    publishing_interval: 100ms

sinks:
  bus:
    type: mqtt
    url: $mqtt_url
    protocol: "3.1.1"

templates:
  pump:
    signals:
$bus_signals
    models:
      - bundle: $bundle
        lateness: 1s
        alarm: {on_delay: 1s, off_delay: 3s}
    quality_alarm: {off_delay: 3s}

  new-pump:
    learn:
      auto: true
      duration: ${learn_s}s  # a real plant takes a day or more; its cycles are not seconds long
      step: ${step_ms}ms
      length: 32
      lateness: 1s
      alarm: {on_delay: 1s, off_delay: 3s}
    quality_alarm: {off_delay: 3s}

assets:
  P-{$first..$last}:
    template: new-pump
    signals:
$plc_signals

alarms: {flood_limit: 1000}  # faults come by the minute here, not by the year
""")


def config_text(mqtt_url: str, opcua_url: str, http_port: int) -> str:
    """YAML for `edge-agent run`; the files that it names are in the same folder."""
    return _CONFIG.substitute(
        mqtt_url=mqtt_url,
        opcua_url=opcua_url,
        http_port=http_port,
        token_file=TOKEN_FILE,
        namespace=NAMESPACE,
        bundle=BUNDLE,
        line=LINE,
        on_bus=", ".join(ON_BUS),
        on_plc=", ".join(ON_PLC),
        first=ON_PLC[0].removeprefix("P-"),
        last=ON_PLC[-1].removeprefix("P-"),
        bus_signals=_signals("bus"),
        plc_signals=_signals("plc"),
        learn_s=f"{LEARN_S:g}",
        step_ms=round(STEP_S * 1000),
    )


def _signals(source: str) -> str:
    rows = []
    for name, sensor in SENSORS.items():
        stuck = f", stuck_after: {STUCK_S:g}s" if name == "bearing_temperature" else ""
        limits = f"[{sensor.low:g}, {sensor.high:g}]"
        rows.append(f'{name}: {{source: {source}, unit: "{sensor.unit}", valid: {limits}{stuck}}}')
    return "\n".join(" " * 6 + row for row in rows)


def make_token(folder: Path) -> str:
    """A new token for commands on the status page, in the file that the config names."""
    token, file = secrets.token_hex(12), folder / TOKEN_FILE
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(token)
    return token
