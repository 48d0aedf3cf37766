"""The speed and load of a waveform are those of its own time, late and lost values included."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.config.schema import Resample
from edge_agent.signals import BAD, GOOD, BlockRows, BlockWindow

S = 1_000_000
WAIT_US = 5 * S


def table(*resample: Resample, hold_us: int | None = 30 * S) -> BlockRows:
    found = BlockRows(resample or (Resample.MEAN,), WAIT_US)
    found.add_asset([hold_us] * max(1, len(resample)))
    return found


def write(rows: BlockRows, *values: tuple[float, float], mark: int = GOOD) -> None:
    times, found = np.array(values, float).reshape(-1, 2).T
    n = len(times)
    rows.write_values(
        np.zeros(n, np.intp),
        np.zeros(n, np.intp),
        np.round(times * S).astype(np.int64),
        found,
        np.full(n, mark, np.uint8),
    )


def window(middle_s: float, asset: int = 0) -> BlockWindow:
    return BlockWindow(asset, round((middle_s - 0.2) * S), round((middle_s + 0.2) * S), {})


def test_a_speed_between_two_values_is_interpolated() -> None:
    """In a run-up the speed of the window is not that of the last second."""
    rows = table()
    write(rows, (0, 1000), (1, 1100))
    due, found = rows.accept_windows([window(0.25)])
    assert len(due) == 1
    assert found.tolist() == [[1025.0]]


def test_a_state_holds_its_last_value() -> None:
    rows = table(Resample.LAST)
    write(rows, (0, 1), (1, 3))
    assert rows.accept_windows([window(0.5)])[1].tolist() == [[1.0]]


def test_a_window_waits_for_the_next_value_but_not_for_ever() -> None:
    """Live, the next speed comes after the block; a source that reports only changes sends none."""
    rows = table()
    write(rows, (0, 1000))
    assert rows.accept_windows([window(0.5)])[0] == []
    assert rows.is_waiting
    write(rows, (1, 1100))
    assert rows.accept_windows([])[1].tolist() == [[1050.0]]
    rows.accept_windows([window(2.0)])
    rows.set_clock(np.zeros(1, np.intp), np.array([round(7.1 * S)]))
    assert rows.accept_windows([])[0] == []
    rows.set_clock(np.zeros(1, np.intp), np.array([round(7.3 * S)]))
    assert rows.accept_windows([])[1].tolist() == [[1100.0]]


def test_at_the_end_of_a_recording_no_window_waits() -> None:
    rows = table()
    write(rows, (0, 1000))
    assert rows.accept_windows([window(0.5)], ended=True)[1].tolist() == [[1000.0]]


@pytest.mark.parametrize("case", ["never", "stale", "bad", "not yet"])
def test_a_speed_that_is_not_usable_is_no_speed(case: str) -> None:
    rows = table(hold_us=10 * S)
    if case == "bad":
        write(rows, (0, 1000))
        write(rows, (40, np.nan), mark=BAD)
    elif case == "stale":
        write(rows, (0, 1000))
    elif case == "not yet":
        write(rows, (60, 1000))
    _, found = rows.accept_windows([window(50)], ended=True)
    assert np.isnan(found).all()


def test_a_bad_value_after_the_window_does_not_bend_its_speed() -> None:
    rows = table()
    write(rows, (0, 1000))
    write(rows, (1, np.nan), mark=BAD)
    assert rows.accept_windows([window(0.5)])[1].tolist() == [[1000.0]]


def test_values_may_come_late_and_out_of_order() -> None:
    rows = table()
    write(rows, (2, 1200))
    write(rows, (0, 1000), (1, 1100))
    assert rows.accept_windows([window(1.5)])[1].tolist() == [[1150.0]]


def test_a_recording_that_comes_at_once_has_the_speed_of_each_window() -> None:
    """Values of two minutes are written before their windows are asked for."""
    rows = table()
    write(rows, *((second, 1000 + 10 * second) for second in range(120)))
    windows = [window(second + 0.5) for second in range(119)]
    _, found = rows.accept_windows(windows)
    assert np.allclose(found[:, 0], 1005 + 10 * np.arange(119))


def test_memory_is_bounded() -> None:
    """A speed at 1 kHz for ten minutes keeps the newest values; one that is rare keeps its last."""
    rows = table(hold_us=None)
    times = np.arange(0, 600, 0.001)
    write(rows, *zip(times, times, strict=True))
    assert len(rows._inputs[0][0].time_us) <= 8192
    assert rows.accept_windows([window(599.5)])[1][0, 0] == pytest.approx(599.5)
    rare = table(hold_us=None)
    write(rare, (0, 1000))
    write(rare, (900, 2000))
    assert rare.accept_windows([window(100)], ended=True)[1][0, 0] == pytest.approx(1111.1, abs=0.1)


def test_its_clock_can_be_shifted_and_reset() -> None:
    rows = table()
    write(rows, (0, 1000), (1, 1100))
    rows.shift_clock(np.zeros(1, np.intp), 100 * S)
    assert rows.accept_windows([window(100.5)])[1].tolist() == [[1050.0]]
    rows.accept_windows([window(101.5)])
    rows.forget(np.zeros(1, np.intp))
    assert not rows.is_waiting
    assert np.isnan(rows.accept_windows([window(0.5)], ended=True)[1]).all()
