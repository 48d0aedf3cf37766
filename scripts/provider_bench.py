"""Compare ONNX Runtime's execution providers on this machine, with the bundles of a folder.

    scripts/bench-providers                                 # what is installed here, models/
    scripts/bench-providers --providers cuda,cpu --models DIR
    scripts/bench-providers --json

Each bundle is loaded as the daemon loads it (verified, tested with its golden vectors on the
provider itself), and then scores its golden windows repeatedly. The columns: bundle, provider,
largest difference from the golden outputs relative to their largest value, median milliseconds of
a run of 1, 64 and 1024 windows (transfers included), seconds until it is loaded.
A provider that is missing, or that falls back to the CPU, is an error here: exit code 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.settings import Runtime, Trust
from edge_agent.errors import ModelError
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import GOLDEN, MANIFEST
from edge_agent.models.bundle.ort import available_providers
from edge_agent.models.runtime.providers import PROVIDERS
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from edge_agent.models.runtime.model import Model

BATCHES: Final = (1, 64, 1024)
BUDGET_S: Final = 1.0  # of one bundle, provider and batch size
WARM_UP: Final = 3
LEAST: Final = 5
TINY: Final = 1e-9


def main() -> int:
    """Measure and print; 1 if a provider did not run."""
    args = parse_arguments()
    rows: list[dict[str, Any]] = []
    failed = False
    for folder in sorted(file.parent for file in args.models.glob(f"*/{MANIFEST}")):
        for provider in args.providers:
            try:
                rows.append(measured(folder, provider))
            except ModelError as error:
                failed = True
                rows.append({"bundle": folder.name, "provider": provider, "error": str(error)})
            if not args.json:
                print(line(rows[-1]), flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))
    return int(failed)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench-providers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = [name for name, known in PROVIDERS.items() if known in available_providers()]
    parser.add_argument("--providers", type=lambda text: text.split(","), default=here)
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def measured(folder: Path, provider: str) -> dict[str, Any]:
    """The figures of one bundle on one provider; ModelError if it does not run there."""
    started = time.perf_counter()
    model = loaded(folder, provider)
    load_s = time.perf_counter() - started
    figures = {"bundle": folder.name, "provider": provider, "load_s": round(load_s, 2)}
    figures["difference"] = difference(model, folder)
    for batch in BATCHES:
        figures[f"ms_{batch}"] = median_ms(model, feeds_of(folder, batch))
    return figures


def loaded(folder: Path, provider: str) -> Model:
    """The bundle as the daemon loads it, on this provider or not at all."""
    runtime = Runtime(providers=(provider,), required=True, max_batch=max(BATCHES))
    trust = Trust(allow_unsigned=("*",))
    return SessionRegistry(folder.parent, runtime, Metrics(), trust).load(folder.name)


def feeds_of(folder: Path, batch: int) -> dict[str, Any]:
    """Its golden windows, repeated to the batch size."""
    inputs = parse_golden((folder / GOLDEN).read_bytes()).inputs
    rows = len(next(iter(inputs.values())))
    chosen = np.arange(batch) % rows
    return {name: array[chosen] for name, array in inputs.items()}


def difference(model: Model, folder: Path) -> float:
    """The largest distance of any output from its golden value, relative to its largest value."""
    golden = parse_golden((folder / GOLDEN).read_bytes())
    found = model.engine.infer(golden.inputs, list(golden.outputs))
    worst = 0.0
    for name, wanted in golden.outputs.items():
        values = np.asarray(wanted, float)
        distance = np.abs(np.asarray(found[name], float) - values).max()
        worst = max(worst, float(distance / max(np.abs(values).max(), TINY)))
    return worst


def median_ms(model: Model, feeds: dict[str, Any]) -> float:
    """The median of a run in milliseconds, transfers to and from the device included."""
    names = list(model.manifest.outputs.named().values())
    for _ in range(WARM_UP):
        model.engine.infer(feeds, names)
    times: list[float] = []
    until = time.perf_counter() + BUDGET_S
    while len(times) < LEAST or time.perf_counter() < until:
        started = time.perf_counter()
        model.engine.infer(feeds, names)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e3, 4)


def line(row: dict[str, Any]) -> str:
    """One row of the table, in Markdown."""
    if "error" in row:
        return f"| {row['bundle']} | {row['provider']} | {row['error']} |"
    times = " | ".join(f"{row[f'ms_{batch}']:.3f}" for batch in BATCHES)
    return (
        f"| {row['bundle']} | {row['provider']} | {row['difference']:.1e} | {times} "
        f"| {row['load_s']:.1f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
