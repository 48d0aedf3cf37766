"""Many short runs as one flat column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ragged(n: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For runs of n [k] items: whose each item is and its place in the run, both [sum n]."""
    owner = np.repeat(np.arange(len(n)), n)
    start = np.cumsum(n) - n
    return owner, np.arange(len(owner)) - start[owner]
