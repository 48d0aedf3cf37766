"""Waveform windows: unbroken runs of samples at the input's own rate."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.signals.waves import WaveWindows
from edge_agent.values import TensorBlock

RATE = 1000.0
US = 1000  # between samples


def block(first: int, n: int, *, rate: float = RATE) -> TensorBlock:
    samples = np.arange(first, first + n, dtype=np.float32)
    return TensorBlock(0, (first + n - 1) * US, rate, samples)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=30))
def test_windows_do_not_depend_on_the_size_of_blocks(sizes: list[int]) -> None:
    windows, first = WaveWindows((64,), 32, (RATE,)), 0
    found = []
    for size in sizes:
        found += list(windows.accept_block(0, 0, block(first, size)))
        first += size
    starts = [int(w.samples[0][0]) for w in found]
    assert starts == list(range(0, max(0, first - 63), 32))
    assert all(w.end_us == (int(w.samples[0][-1])) * US for w in found)


def test_a_gap_begins_anew() -> None:
    windows = WaveWindows((8,), 8, (RATE,))
    assert not list(windows.accept_block(0, 0, block(0, 6)))
    (window,) = windows.accept_block(0, 0, block(100, 8))
    assert window.samples[0].tolist() == list(range(100, 108))


def test_a_wrong_rate_and_samples_that_are_no_numbers_are_refused() -> None:
    windows = WaveWindows((8,), 8, (RATE,))
    bad = TensorBlock(0, 0, RATE, np.full(8, np.nan, np.float32))
    assert not list(windows.accept_block(0, 0, block(0, 8, rate=900.0)))
    assert not list(windows.accept_block(0, 0, bad))
    assert windows.rejected == 2


def test_inputs_of_different_rates_go_on_together() -> None:
    windows = WaveWindows((8, 4), 8, (RATE, RATE / 2))
    assert not list(windows.accept_block(0, 0, block(0, 16)))
    slow = TensorBlock(1, 14 * US, RATE / 2, np.arange(8, dtype=np.float32))
    found = list(windows.accept_block(0, 1, slow))
    assert [w.samples[1].tolist() for w in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
