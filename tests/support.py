"""The bundles of the project, and what a metric stands at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.metrics import MetricWrapperBase

# The struct of a source that a plant only needs the name of.
NO_SOURCE: Any = None
LEARNED = "learned-"  # what was learned in this checkout


def shipped_bundles() -> list[Path]:
    """The folders in `models/` that belong to the project."""
    found = (file.parent for file in (ROOT / "models").glob("*/model.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith(LEARNED))


def value_of(metric: MetricWrapperBase) -> float:
    """What a counter or a gauge stands at; labels are chosen already."""
    (family,) = metric.collect()
    return family.samples[0].value
