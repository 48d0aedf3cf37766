"""scale and offset of a signal, whatever source delivers it."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.config.schema import Signal
from edge_agent.signals.scaling import Scaling
from edge_agent.values import TensorBlock, columns


def make(*signals: Signal) -> Scaling:
    scaling = Scaling()
    for signal in signals:
        scaling.add(signal)
    return scaling


def test_values_come_in_the_unit_of_their_signal() -> None:
    scaling = make(Signal(), Signal(scale=0.1), Signal(scale=-2, offset=5))
    values = columns([1, 0, 2, 1], [1, 2, 3, 4], [537, 7, 1, np.nan])
    assert scaling.scale_values(values).value[:3].tolist() == pytest.approx([53.7, 7, 3])
    assert np.isnan(scaling.scale_values(values).value[3])


def test_signals_may_be_added_later() -> None:
    scaling = make(Signal(scale=2))
    assert scaling.scale_values(columns([0], [1], [1])).value.tolist() == [2]
    scaling.add(Signal(offset=1))
    assert scaling.scale_values(columns([0, 1], [1, 1], [1, 1])).value.tolist() == [2, 2]


def test_nothing_is_touched_where_nothing_is_scaled() -> None:
    scaling = make(Signal(), Signal())
    values = columns([0, 1], [1, 1], [1, 1])
    assert scaling.scale_values(values) is values


def test_waveforms_are_scaled_as_well() -> None:
    block = TensorBlock(1, 0, 10.0, np.array([1, 2], np.float32))
    (plain, scaled) = make(Signal(), Signal(scale=10, offset=1)).scale_blocks(
        [TensorBlock(0, 0, 10.0, block.samples), block]
    )
    assert plain.samples.tolist() == [1, 2]
    assert scaled.samples.tolist() == [11, 21]
    assert scaled.samples.dtype == np.float32
