"""A source and a sink with a field of every type, and a config that uses each."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path  # noqa: TC003 (the loader reads the annotations)
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

from edge_agent import config
from edge_agent.config.types import Between, Duration, Name, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PASSWORD = "hunter2-hunter2"  # noqa: S105 what must never be printed


class Mode(StrEnum):
    FAST = "fast"
    CAREFUL = "careful"


@dataclass(frozen=True, slots=True)
class Tls:
    ca: Path
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Topic:
    pattern: str
    qos: Annotated[int, Between(0, 2)] = 1


@dataclass(frozen=True, slots=True)
class BusConfig:
    host: str
    port: Annotated[int, Between(1, 65535)] = 1883
    topics: tuple[Topic, ...] = ()
    mode: Mode = Mode.FAST
    tls: Tls | None = None
    user: str | None = None
    password: Secret | None = None
    headers: dict[str, Secret] = field(default_factory=dict)
    keep_alive: Duration = Duration(30)
    buffer: Size = Size(1 << 20)
    gain: float = 1.0
    band: tuple[float, float] = (0.0, 1.0)
    weights: dict[Name, float] = field(default_factory=dict)
    session: Name = Name("edge")
    template: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.gain == 0:
            yield "gain", "must not be 0"
        for number, topic in enumerate(self.topics):
            if "{signal" in topic.pattern and "}" not in topic.pattern:
                yield f"topics.{number}.pattern", "has an open brace"


@dataclass(frozen=True, slots=True)
class LogConfig:
    prefix: str = ""


SOURCES = {"bus": BusConfig}
SINKS = {"bus": BusConfig, "log": LogConfig}
find_problems = partial(config.find_problems, sources=SOURCES, sinks=SINKS)
load = partial(config.load, sources=SOURCES, sinks=SINKS)

VALID = """\
gateway:
  id: gw-1
  site: north
topic_root: edge
sources:
  north-bus:
    type: bus
    host: broker.plant
    port: 8883
    topics:
      - {pattern: "plant/{line}/{asset}/{signal}", qos: 2}
      - {pattern: "aux/#"}
    mode: careful
    tls:
      ca: ca.pem
      verify: false
    user: reader
    password: {env: BUS_PASSWORD}
    headers:
      X-Key: {file: key.txt}
    keep_alive: 30s
    buffer: 2MiB
    gain: 2.5
    band: [0.5, 1.5]
    weights: {a: 1, b: 0.5}
    session: edge-1
  south-bus: {type: bus, host: south}
sinks:
  back: {type: bus, host: broker.plant}
  console:
    type: log
templates:
  pump:
    signals:
      pressure:
        source: north-bus
        address: "{line}/{asset}/{signal}/{bay}"
        unit: bar
        kind: scalar
        valid: [0, 16]
        stale_after: 30s
        uncertain: hold
        resample: mean
        deadband: 0.1
      current: {source: south-bus, unit: A}
    models:
      - bundle: pump-baseline
        inputs: {p: pressure}
        min_coverage: 0.9
        lateness: 5s
        alarm:
          limit: 3.5
          on_delay: 10s
          severity: 700
          ne107: maintenance_required
          message: {en: "Pump wears"}
          enabled: true
    learn:
      auto: true
      length: 64
      inputs: [pressure, current]
    quality_alarm:
      on_delay: 20s
assets:
  "P-{001..020}":
    template: pump
    line: l1
    variables: {bay: b7}
  V-1:
    template: pump
    variables: {bay: b8}
    signals:
      flow: {source: north-bus, valid: [0, 5]}
lines:
  l1:
    shifts: three
    bottleneck: {every: 1m, window: 30m, buffers: {P-001: 4}, drift: 0.1, drift_alarm: true}
    machines:
      P-001:
        states: [{state: running, when: current > 1 and V-1.flow > 0}]
        parts: {signal: pressure, rolls_over_at: 65536}
        ideal_cycle: 4s
      V-1: {packml: flow, rejects: flow, parts: {signal: current, kind: pulse}}
shifts:
  three:
    timezone: Europe/Berlin
    holidays: ["2026-12-25"]
    shifts:
      early: {start: "06:00", end: "14:00", days: [mon, fri], breaks: ["09:00-09:15"]}
      night: {start: "22:00", end: "06:00"}
pictures: {max_pictures: 500, max_bytes: 8MiB, days: 30}
shard: {index: 0, of: 1}
standby: {enabled: false, lease: 5s}
discovery:
  max_assets: 100
models_dir: models
runtime:
  providers: [cuda, cpu]
  required: false
  max_batch: 32
alarms:
  flood_limit: 10
  flood_window: 10m
  languages: [en, de]
store:
  path: state.db
  max_bytes: 64MiB
trends: {max_bytes: 64MiB}
control_charts:
  p: {asset: "P-{001..002}", signal: pressure, part: every_value, chart: ewma, process: [current]}
part_records: {max_parts: 1000}
labelled: {days: 30}
cameras:
  gate: {asset: P-019, folder: {path: pictures}, view: {region: [0, 0, 0.5, 1]}}
opcua_server: {enabled: false, clients: 8}
maintenance:
  every: 10m
  due: {high: 2d}
  assets: {"P-*": {criticality: 2}}
  jobs: {bearing_wear: {duration: 4h, skills: [mechanic], parts: {bearing: 1}}}
  crews: {day: {skills: [mechanic], count: 2, hours: [{start: "06:00", end: "14:00"}]}}
  parts: {bearing: {stock: 1, lead_time: 7d}}
  stops: {saturday: {start: "2026-12-05T06:00", length: 8h, repeat: FREQ=WEEKLY}}
  calendars: {plant: {file: stops.ics, place: location}}
notify: {timezone: Europe/Berlin}
http:
  host: 127.0.0.1
  port: 9460
inference:
  enabled: false
manuals:
  folder: manuals
  encoder: none
language: {engine: openai, url: "http://gpu:8000", name: big}
remote:
  triton: {urls: ["https://triton:8000"], bundles: [big-pump], timeout: 40ms}
log:
  level: info
  json: false
tuning:
  tick: 20ms
trust:
  keys: []
  allow_unsigned: [learned-pump]
drift:
  enabled: true
  memory: 24h
"""


def install_daemon(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the daemon with the tables above, for what the commands ask of it."""
    module = ModuleType("edge_agent.daemon")
    module.find_problems = find_problems  # type: ignore[attr-defined]
    module.load_config = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edge_agent.daemon", module)
    return module
