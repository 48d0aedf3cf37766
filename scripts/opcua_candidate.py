"""A candidate of opcua/run_opcua.py: only the OPC UA source, with an intake that only counts.

Environment: OPC_URL, ASSETS, SIGNALS, PUBLISH (ms), WARM and SECONDS. Prints READY when the clock
starts, then one line of JSON: values, values_per_s, cpu_s_per_M, cpu_pct, p50_ms, p99_ms, rss_mb.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import SystemClock
from edge_agent.config import schema
from edge_agent.config.types import Duration, Name
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.opcua import OpcUaSource, OpcUaSourceConfig

if TYPE_CHECKING:
    from edge_agent.values import Columns, TensorBlock

EVERY = 50  # one of this number of values is sampled for latency


class CountingIntake:
    """Counts values and samples their latency."""

    def __init__(self) -> None:
        self.values = 0
        self.late_ms: list[float] = []

    def append(self, values: Columns) -> None:
        """Count values, and sample the latency of some."""
        self.values += len(values)
        now_us = time.time_ns() // 1000
        self.late_ms.extend(((now_us - values.time_us[::EVERY]) / 1000).tolist())

    def append_block(self, block: TensorBlock) -> None:
        """Count samples."""
        self.values += len(block.samples)

    def __len__(self) -> int:
        return 0

    def backpressured(self) -> bool:
        """False: it accepts everything."""
        return False


def make_source(intake: CountingIntake) -> OpcUaSource:
    """The source that the environment variables describe."""
    assets, signals = int(os.environ["ASSETS"]), int(os.environ["SIGNALS"])
    publish_s = float(os.environ.get("PUBLISH", "100")) / 1000
    opcua = OpcUaSourceConfig(
        os.environ["OPC_URL"],
        node="ns=1;s={asset}.{signal}",
        publishing_interval=Duration(publish_s),
        sampling_interval=Duration(0),
        queue_size=100,
    )
    config = schema.Config(
        sources={Name("plc"): opcua},
        templates={
            Name("t"): schema.Template(
                signals={Name(f"s{q}"): schema.Signal() for q in range(signals)}
            )
        },
        assets={f"a{{000..{assets - 1:03}}}": schema.Asset(template=Name("t"))},
    )
    gateway = schema.Gateway()
    return OpcUaSource("plc", opcua, Plant(config), intake, Metrics(), SystemClock(), gateway)


def cpu_s() -> float:
    """CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    """Warm up, count, print."""
    intake = CountingIntake()
    source = make_source(intake)
    await source.start()
    await asyncio.sleep(float(os.environ.get("WARM", "8")))
    print("READY", flush=True)
    intake.values, intake.late_ms = 0, []
    cpu, begin = cpu_s(), time.perf_counter()
    await asyncio.sleep(float(os.environ.get("SECONDS", "8")))
    seconds, cpu = time.perf_counter() - begin, cpu_s() - cpu
    late = np.array(intake.late_ms or [-1.0])
    result = {
        "client": "edge_agent",
        "values": intake.values,
        "values_per_s": round(intake.values / seconds),
        "cpu_s_per_M": round(cpu / max(1, intake.values) * 1e6, 2),
        "cpu_pct": round(100 * cpu / seconds, 1),
        "p50_ms": float(np.percentile(late, 50)),
        "p99_ms": float(np.percentile(late, 99)),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    await source.stop()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
