"""The bundles of the project, the value of a metric, and waiting for a condition."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prometheus_client.metrics import MetricWrapperBase

# The struct of a source that a plant only needs the name of.
NO_SOURCE: Any = None
WAIT_S = 20.0
LEARNED = "learned-"  # what was learned in this checkout


def shipped_bundles() -> list[Path]:
    """The folders in `models/` that belong to the project."""
    found = (file.parent for file in (ROOT / "models").glob("*/model.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith(LEARNED))


def value_of(metric: MetricWrapperBase) -> float:
    """What a counter or a gauge stands at; labels are chosen already."""
    (family,) = metric.collect()
    return family.samples[0].value


async def until(
    done: Callable[[], object],
    what: str | Callable[[], str] = "condition",
    wait_s: float = WAIT_S,
) -> None:
    """Poll `done` while the daemon, a thread or another process works; AssertionError if it fails.

    what: is waited for, or a call that says how far it is.
    """
    deadline = time.monotonic() + wait_s
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {wait_s:g} s")
        await asyncio.sleep(0.01)
