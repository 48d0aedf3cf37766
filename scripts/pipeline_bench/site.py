"""Configs, models and in-process measurements for `scripts/bench`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from edge_agent.config.types import Name
from edge_agent.daemon import Replay, load_config
from edge_agent.learning import Recipe, learn
from edge_agent.models import InputSpec
from edge_agent.sources.mqtt import Decoder, FrameCutter, Refusals, Routes
from edge_agent.testing import Mosquitto, find_free_port, mean_bundle
from edge_agent.values import BoundedIntake
from scripts.pipeline_bench.load import SIGNALS, payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.sources.mqtt import MqttSourceConfig

T = TypeVar("T")

_FIRST_MS = 1_700_000_000_000

CONFIG = """
gateway: {{id: bench}}
models_dir: {folder}/models
store: {{path: {folder}/store.db}}
http: {{port: {http}}}
log: {{level: warning}}
tuning: {{score_interval: 0s}}
sources:
  plant:
    type: mqtt
    url: mqtt://127.0.0.1:{port}
    subscribe:
      - topic: "{topic}"
        template: machine
        qos: 0
        payload: {{format: json, time: ts{value}}}
sinks:
  bus: {{type: mqtt, url: "mqtt://127.0.0.1:{port}"}}
templates:
  machine:
    signals: {{{signals}}}
    models: [{{bundle: bench, alarm: {{limit: {limit}}}}}]
"""
# It drops nothing if a subscriber is slow.
BROKER = "log_type error\nmax_queued_messages 0\nset_tcp_nodelay true"
TOPICS = {"signal": "plant/{line}/{asset}/{signal}", "asset": "plant/{line}/{asset}"}


def broker(folder: Path) -> Mosquitto:
    """A mosquitto, not yet started."""
    return Mosquitto(folder, BROKER)


def fleet_config(
    folder: Path,
    port: int,
    shape: str,
    assets: int,
    *,
    hop: int,
    length: int,
    step_s: float,
    limit: float = 1e6,
) -> Path:
    """A config whose assets are discovered, with a learned model for all of them."""
    make_baseline(folder / "models" / "bench", assets, hop=hop, length=length, step_s=step_s)
    text = CONFIG.format(
        folder=folder,
        http=find_free_port(),
        port=port,
        limit=f"{limit:f}",
        topic=TOPICS[shape],
        value=", value: value" if shape == "signal" else "",
        signals=", ".join(f"s{i}: {{}}" for i in range(SIGNALS)),
    )
    path = folder / "edge-agent.yaml"
    path.write_text(text)
    return path


TABLE_MODEL, TABLE_INPUTS = "table", ("a", "b")
TABLE_CONFIG = """
gateway: {{id: bench}}
models_dir: {folder}/models
trust: {{allow_unsigned: ["*"]}}
store: {{path: {folder}/store.db}}
http: {{port: {http}}}
sources:
  plant: {{type: mqtt, url: "mqtt://127.0.0.1:{away}", subscribe: [{{topic: "x/{{asset}}"}}]}}
sinks: {{log: {{type: log}}}}
templates: {{pair: {{signals: {{a: {{}}, b: {{}}}}, models: [{{bundle: table}}]}}}}
assets: {{P-1: {{template: pair}}}}
"""


def table_config(folder: Path) -> Path:
    """A config with a model of two inputs, and no data."""
    mean_bundle(folder / "models" / TABLE_MODEL, list(TABLE_INPUTS), length=16)
    path = folder / "edge-agent.yaml"
    path.write_text(
        TABLE_CONFIG.format(folder=folder, http=find_free_port(), away=find_free_port())
    )
    return path


def make_baseline(folder: Path, assets: int, *, hop: int, length: int, step_s: float) -> None:
    """One bundle for all assets, as `learn` makes it; each has its own baseline."""
    random = np.random.default_rng(0)
    level = 20.5 + np.arange(SIGNALS)
    rows = {
        f"a{n:03d}": (level + random.uniform(-0.5, 0.5, (600, SIGNALS))).astype(np.float32)
        for n in range(assets)
    }
    inputs = tuple(InputSpec(f"s{i}") for i in range(SIGNALS))
    recipe = Recipe("bench", inputs, step_s=step_s, length=length, hop=hop)
    learn(rows, recipe, now_us=0).write(folder)


class Clocked:
    """CPU time of this process by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[..., T], *args: object) -> T:
        """Do the work and count its time."""
        begin = time.process_time()
        done = work(*args)
        self.spent[stage] = self.spent.get(stage, 0.0) + time.process_time() - begin
        return done


def stages(folder: Path, values: int = 400_000) -> Iterator[tuple[str, str, float]]:
    """(shape, stage, CPU seconds per million values), for 64 KiB of broker bytes per read."""
    for shape in TOPICS:
        (folder / shape).mkdir()
        spent, sent = asyncio.run(_walk(folder / shape, shape, values))
        for stage, seconds in spent.items():
            yield shape, stage, seconds / sent * 1e6


async def _walk(folder: Path, shape: str, values: int) -> tuple[dict[str, float], int]:
    assets, rows = 50, values // (50 * SIGNALS)
    path = fleet_config(folder, 1, shape, assets, hop=16, length=64, step_s=0.0)
    replay = await Replay.load(load_config(path))
    runtime = replay.runtime
    intake = BoundedIntake(1_000_000, 1 << 20, lambda: None)
    struct = cast("MqttSourceConfig", runtime.config.sources[Name("plant")])
    refusals = Refusals("plant", replay.metrics)
    routes = Routes("plant", struct.subscribe, runtime.plant, replay.metrics, refusals)
    received = replay.metrics.values_received.labels("plant")
    decoder = Decoder(routes, refusals, intake, received)
    cutter = FrameCutter(1 << 20, v5=True, held=set())
    stream = b"".join(_packets(shape, assets, rows))
    timed, pipeline = Clocked(), runtime.pipeline
    for start in range(0, len(stream), 1 << 16):
        messages = timed("cut MQTT packets", cutter.cut, stream[start : start + (1 << 16)])
        timed("decode to columns", decoder.decode_messages, messages, 0)
        drained, _ = timed("intake", intake.drain)
        due = timed("windows", pipeline.close_windows, drained.sorted_by_time())
        scored = timed("inference", pipeline.score_windows, due)
        timed("alarms, scores", pipeline.update_alarms, scored)
    replay.close()
    return timed.spent | {"all": sum(timed.spent.values())}, assets * rows * SIGNALS


def _packets(shape: str, assets: int, rows: int) -> Iterator[bytes]:
    for row in range(rows):
        for asset in range(assets):
            topic = f"plant/line1/a{asset:03d}"
            number = (row * assets + asset) * SIGNALS
            for name, payload in payloads(topic, _FIRST_MS + row * 10, number, shape):
                head = len(name).to_bytes(2, "big") + name.encode() + b"\x00"
                yield b"\x30" + _length(len(head) + len(payload)) + head + payload


def _length(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])  # noqa: PLR2004 (MQTT 5, 1.5.5)
