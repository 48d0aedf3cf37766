"""Run the daemon as a candidate of a benchmark: the whole pipeline, every score is published.

It subscribes to `plant/{line}/{asset}[/{signal}]`, discovers the assets, keeps windows of 64 rows
of 8 signals with hop 16, runs MODEL (`x` float32 [N, 64, 8] -> `score` [N]) and publishes each
score under the topic root `alerts`.

    scripts/bench-candidate --host 127.0.0.1 --port 1883 --model ae.onnx --mode signal --qos 0
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.config.types import Name
from edge_agent.daemon import Daemon, load_config
from edge_agent.models import InputSpec, Manifest, OutputNames, Task, WindowSpec, bundle_from_onnx
from edge_agent.ops import logs

if TYPE_CHECKING:
    from edge_agent.config.schema import Config

SIGNALS = 8
WINDOW = 64
HOP = 16

CONFIG = """
gateway: {{id: bench}}
topic_root: alerts
models_dir: {models}
store: {{path: {store}}}
http: {{enabled: false}}
log: {{level: warning}}
tuning: {{score_interval: 0s{tuning}}}
discovery: {{max_assets: 10000}}
sources:
  plant:
    type: mqtt
    url: mqtt://{host}:{port}
    stale_after: 1h
    subscribe:
      - topic: "{topic}"
        template: machine
        qos: {qos}
        payload: {{format: json, time: ts{value}}}
sinks:
  bus: {{type: mqtt, url: "mqtt://{host}:{port}"}}
templates:
  machine:
    signals: {{{signals}}}
    models: [{{bundle: bench, alarm: {{limit: 1000000000.0}}}}]
"""
TOPICS = {"signal": "plant/{line}/{asset}/{signal}", "asset": "plant/{line}/{asset}"}


def main() -> int:
    """Write a config into a fresh folder and run the daemon on it."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench-candidate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mode", choices=sorted(TOPICS), default="signal")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=0)
    parser.add_argument("--tuning", default="", help="more keys of `tuning`, as in YAML")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench.") as folder:
        config = load_config(write_config(args, Path(folder)))
        logs.setup(config.log.level)
        asyncio.run(serve(config))
    return 0


async def serve(config: Config) -> None:
    """Run until a signal; the daemon must be created on the loop that runs it."""
    await Daemon(config).run()


def write_config(args: argparse.Namespace, folder: Path) -> Path:
    """Write the bundle and the config for one benchmark."""
    manifest = Manifest(
        name=Name("bench"),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=tuple(InputSpec(f"s{number}") for number in range(SIGNALS)),
        outputs=OutputNames(score="score"),
        window=WindowSpec(step_s=0.0, length=WINDOW, hop=HOP),
    )
    bundle_from_onnx(args.model, folder / "models" / "bench", manifest)
    path = folder / "edge-agent.yaml"
    path.write_text(
        CONFIG.format(
            models=folder / "models",
            store=folder / "store.db",
            host=args.host,
            port=args.port,
            topic=TOPICS[args.mode],
            qos=args.qos,
            value=", value: value" if args.mode == "signal" else "",
            signals=", ".join(f"s{number}: {{}}" for number in range(SIGNALS)),
            tuning=f", {args.tuning}" if args.tuning else "",
        )
    )
    return path


if __name__ == "__main__":
    sys.exit(main())
