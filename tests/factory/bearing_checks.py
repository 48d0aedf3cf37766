"""Checks of the bearing model's parts that need torch; run_checks.py runs them."""

from __future__ import annotations

import numpy as np
import torch

from edge_agent.config.bearing import Bearing
from edge_agent.factory.bearing.bench import other_machines
from edge_agent.factory.bearing.features import (
    LENGTH,
    LINES,
    SHAPE,
    BearingFeatures,
    _Spectrum,
    features_of,
)
from edge_agent.factory.bearing.sim import CLASSES, machine, simulate
from edge_agent.factory.bearing.student import Body, Distance
from edge_agent.factory.bearing.teacher import Known, gate_of, old_hand
from edge_agent.factory.student import Scale

torch.set_num_threads(1)
ORDERS = Bearing(model="6205").orders


def the_products_are_a_fourier_transform() -> None:
    x = torch.randn(2, 3, 4096)
    found = torch.complex(*_Spectrum(4096)(x))
    assert torch.allclose(found, torch.fft.fft(x)[..., :2048], atol=1e-3)
    z = torch.complex(torch.randn(2, 1024), torch.randn(2, 1024))
    whole = torch.complex(*_Spectrum(2048, filled=1024)(z.real, z.imag))
    assert torch.allclose(whole, torch.fft.fft(z, n=2048), atol=1e-3)


def a_6205_has_its_published_orders() -> None:
    assert np.allclose(ORDERS, (3.585, 5.415, 4.714, 0.398), atol=1e-3)


def a_loud_defect_lights_its_own_lines_at_any_speed() -> None:
    random = np.random.default_rng(1)
    first = dict(zip(CLASSES[3:0:-1], (0, 4, 7), strict=True))
    for kind, line in first.items():
        for speed_hz in (12.0, 29.95, 55.0):
            wave = machine(ORDERS, kind, speed_hz, 10.0, random)[None]
            rpm = np.array([speed_hz * 60], np.float32)
            (found,) = features_of(ORDERS, rpm, wave)
            own = found[line : line + 3].mean()
            others = [found[n : n + 3].mean() for k, n in first.items() if k != kind]
            assert own > max(others) + 3, (kind, speed_hz, own, others)


def neither_gain_nor_offset_is_a_feature() -> None:
    wave = np.random.default_rng(2).normal(size=(1, LENGTH)).astype(np.float32)
    rpm = np.array([1797], np.float32)
    one, other = features_of(ORDERS, rpm, wave), features_of(ORDERS, rpm, 0.01 * wave + 0.5)
    assert np.allclose(one, other, atol=0.05)


def both_simulators_fill_every_class_with_numbers() -> None:
    random = np.random.default_rng(3)
    for made in (simulate(ORDERS, 2, random, (-10, 0)), other_machines(ORDERS, 2, -5.0, random)):
        assert made.label.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert made.waveforms.shape == (8, LENGTH)
        assert np.isfinite(made.waveforms).all()


def the_gate_is_open_for_the_learned_machine_alone() -> None:
    known, _ = learned()
    gate = gate_of(known)
    assert gate(known.features[:, 2 * LINES :]).mean() > 0.8
    other = known.features[:, 2 * LINES :] + np.linspace(-20, 20, SHAPE)
    assert gate(other).max() < 0.01


def a_student_begins_as_its_teachers_old_hand_and_gate() -> None:
    known, features = learned()
    scale = Scale(features)
    body = Body(known, scale).eval()
    scaled = scale(torch.from_numpy(known.features))
    with torch.no_grad():
        hand = body.hand(scaled).numpy()
        distance = Distance(gate_of(known), scale)(scaled[:, 2 * LINES :]).numpy()[:, 0]
    assert np.allclose(hand, old_hand(known.features, known.label)(known.features), atol=1e-2)
    gate = gate_of(known)
    wanted = gate.distance(known.features[:, 2 * LINES :]) / gate.limit
    assert np.allclose(distance, wanted, atol=1e-2)


def the_features_take_a_batch_of_any_size() -> None:
    module = BearingFeatures(ORDERS)
    found = module(torch.full((3, 1, 1), 1500.0), torch.randn(3, LENGTH))
    assert found.shape == (3, 2 * LINES + SHAPE)
    assert torch.isfinite(found).all()


def learned() -> tuple[Known, np.ndarray]:
    """A made-up machine with three sizes of damage; its features, and those of others."""
    random = np.random.default_rng(4)
    label = np.tile(np.arange(4), 60)
    size = np.where(label == 0, 0, np.repeat([7, 14, 21], 80))
    center = random.normal(0, 3, (4, 2 * LINES + SHAPE))
    features = (center[label] + random.normal(0, 1, (240, 2 * LINES + SHAPE))).astype(np.float32)
    return Known(features, label, size), features
