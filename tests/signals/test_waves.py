"""Waveform windows: unbroken runs of samples at the input's own rate."""

from __future__ import annotations

import numpy as np
import pytest
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


@given(st.sampled_from([1.2, 4 / 3, 2.0, 3.7]), st.lists(st.integers(200, 900), min_size=8))
def test_a_faster_sensor_is_resampled_whatever_the_size_of_its_blocks(
    ratio: float, sizes: list[int]
) -> None:
    """A tone below the model's Nyquist frequency keeps its height; one above it is gone."""
    windows, first, found = WaveWindows((512,), 256, (RATE,)), 0, []
    for size in sizes:
        at_s = np.arange(first, first + size) / (ratio * RATE)
        wave = np.sin(2 * np.pi * 125 * at_s)
        if ratio >= 2:
            wave += np.sin(2 * np.pi * 0.9 * RATE * at_s)
        first += size
        end_us = round((first - 1) / (ratio * RATE) * 1e6)
        samples = wave.astype(np.float32)
        found += list(windows.accept_block(0, 0, TensorBlock(0, end_us, ratio * RATE, samples)))
    assert len(found) == pytest.approx((first / ratio - 512) // 256 + 1, abs=1)
    for window in found:
        level = np.abs(np.fft.rfft(window.samples[0] * np.hanning(512))) / 128
        assert np.argmax(level) == 64
        assert level[64] == pytest.approx(1, abs=0.02)
        assert np.delete(level, range(60, 69)).max() < 0.02


def test_a_sensor_that_changes_its_rate_begins_anew() -> None:
    windows = WaveWindows((8,), 8, (RATE,))
    assert not list(windows.accept_block(0, 0, block(0, 6)))
    fast = TensorBlock(0, 8 * US, 2 * RATE, np.zeros(6, np.float32))
    assert not list(windows.accept_block(0, 0, fast))
    assert windows.rejected == 0


def test_inputs_of_different_rates_go_on_together() -> None:
    windows = WaveWindows((8, 4), 8, (RATE, RATE / 2))
    assert not list(windows.accept_block(0, 0, block(0, 16)))
    slow = TensorBlock(1, 14 * US, RATE / 2, np.arange(8, dtype=np.float32))
    found = list(windows.accept_block(0, 1, slow))
    assert [w.samples[1].tolist() for w in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
