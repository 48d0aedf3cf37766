"""The card of the demo plant's baseline, and its picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.demo import FAULTS
from edge_agent.factory.demo_pump.model import (
    JUDGED_SEED,
    LENGTH,
    ONSET_ROW,
    SCORED_FAULTS,
    STEP_S,
    simulated,
)

if TYPE_CHECKING:
    from edge_agent.factory.demo_pump.model import Judged, Scorer
    from edge_agent.models import Manifest

_CARD = """\
# {name} {version}

What healthy is for any pump of the demo's simulated station (`edge_agent/demo/plant.py`): eight
sensors, windows of {length} rows of {step_s:g} s. In the demo a second is a minute of the plant.
It is the daemon's own learner (multivariate EWMA with Hotelling's T², see docs/models.md), taught
many pumps as one, so that what differs between pumps counts as healthy.

| | |
| --- | --- |
| task | anomaly: score 1 is the limit; contributions by input sum to the score |
| learned from | {data} |
| licence of the data | {licence} |
| false alarms | {alarms} in {days:.2f} days of 100 other pumps; largest score {largest:.2f} |
| size | {size} bytes, fp32 |
| variants | none: a graph of two small products has nothing to gain from int8 |

Faults that begin in 100 pumps each that it was not learned from, in seconds of the demo from the
onset to the first window over the limit (the demo's alarm waits one second more):

| fault | leading input | median s | slowest s | leading input first |
| --- | --- | --- | --- | --- |
{faults}

![scores](scores.png)

Made for the demo and good for nothing else: no real pump was ever measured for it. Sensors that
are lost or stuck are not its business; the daemon's data-quality alarms tell of them.

All figures: `{command}`, which also builds this bundle anew.
"""


def card(manifest: Manifest, found: Judged, command: str) -> str:
    """The card's text."""
    rows = [
        f"| {FAULTS[fault].text} | {FAULTS[fault].leading} | {np.median(answer.delay_s):.1f} "
        f"| {max(answer.delay_s):.1f} | {answer.right:.0%} |"
        for fault, answer in found.faults.items()
    ]
    return _CARD.format(
        name=manifest.name,
        version=manifest.version,
        length=manifest.window.length,
        step_s=manifest.window.step_s,
        data=manifest.training["data"],
        licence=manifest.training["licence"],
        alarms=found.false_alarms,
        days=found.healthy_days,
        largest=found.largest,
        size=manifest.benchmarks["bytes"],
        faults="\n".join(rows),
        command=command,
    )


def picture(scorer: Scorer) -> bytes:
    """PNG: the score of a healthy pump, and of one with each fault."""
    import matplotlib as mpl  # noqa: PLC0415 (large, and only the picture needs it)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(7, 3.2), dpi=110)
    for fault in ("", *SCORED_FAULTS):
        (pump,) = simulated(JUDGED_SEED + 100, 1, 3 * ONSET_ROW, fault, ONSET_ROW)
        score, _ = scorer.along(pump)
        after_s = (np.arange(len(score)) + LENGTH - 1 - ONSET_ROW) * STEP_S
        axes.semilogy(after_s, score, label=fault.replace("_", " ") or "well", linewidth=1.2)
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--", label="limit")
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_xlabel("seconds of the demo since the onset")
    axes.set_ylabel("score")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    figure.tight_layout()
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    plt.close(figure)
    return target.getvalue()
