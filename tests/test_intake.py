"""The bounded intake: nothing lost below its capacity, the oldest first above it, all counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.values import BoundedIntake, TensorBlock, columns


def make(capacity: int = 10_000, max_bytes: int = 1 << 20) -> tuple[BoundedIntake, list[int]]:
    woken: list[int] = []
    return BoundedIntake(capacity, max_bytes, lambda: woken.append(1)), woken


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(50, 300))
def test_what_went_in_comes_out_or_is_counted(sizes: list[int], capacity: int) -> None:
    intake, _ = make(capacity)
    sent = 0
    for size in sizes:
        numbers = range(sent, sent + size)
        intake.append(columns([7] * size, list(numbers), [0.0] * size))
        sent += size
    values, _ = intake.drain()
    dropped = intake.drain_dropped().get(7, 0)
    assert len(values) + dropped == sent
    assert len(values) <= capacity
    assert values.time_us.tolist() == list(range(dropped, sent))


def test_it_wakes_the_pipeline_once_until_it_is_drained() -> None:
    intake, woken = make()
    intake.append(columns([0], [1], [1.0]))
    intake.append(columns([0], [2], [1.0]))
    assert len(woken) == 1
    intake.drain()
    intake.append(columns([0], [3], [1.0]))
    assert len(woken) == 2


def test_it_is_crowded_when_half_full_so_that_a_sender_can_be_held_back() -> None:
    intake, _ = make(100, max_bytes=4000)
    intake.append(columns([0] * 50, list(range(50)), [0.0] * 50))
    assert not intake.backpressured()
    intake.append(columns([0], [50], [0.0]))
    assert intake.backpressured()
    intake.drain()
    assert not intake.backpressured()
    intake.append_block(TensorBlock(3, 0, 1000.0, np.zeros(501, np.float32)))
    assert intake.backpressured()


def test_waveform_blocks_are_bounded_by_bytes_and_the_oldest_go() -> None:
    intake, _ = make(max_bytes=4000)
    for number in range(4):
        intake.append_block(TensorBlock(3, number, 1000.0, np.zeros(500, np.float32)))
    _, blocks = intake.drain()
    assert [block.end_us for block in blocks] == [2, 3]
    assert intake.drain_dropped() == {3: 2}
