"""All benchmark figures of the models, each next to its baseline.

A section is a function from a context to tables. If it cannot be measured here (no recordings, no
training packages), its table states this instead of a figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.model_bench.bearing import bearing
from scripts.model_bench.context import Context, environment
from scripts.model_bench.demo import demo
from scripts.model_bench.docs import write_docs
from scripts.model_bench.machines import machines
from scripts.model_bench.shipped import latency, parity
from scripts.model_bench.skab import skab
from scripts.model_bench.table import Table
from scripts.model_bench.turbofan import turbofan

if TYPE_CHECKING:
    from collections.abc import Callable

SECTIONS: Final[dict[str, Callable[[Context], list[Table]]]] = {
    "latency": latency,
    "parity": parity,
    "skab": skab,
    "machines": machines,
    "turbofan": turbofan,
    "bearing": bearing,
    "demo": demo,
}

__all__ = ["SECTIONS", "Context", "Table", "environment", "write_docs"]
