"""Checks of the bearing model's parts that need torch; run_checks.py runs them."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from edge_agent.config.bearing import Bearing
from edge_agent.factory.bearing.bench import other_machines
from edge_agent.factory.bearing.features import (
    LENGTH,
    LINES,
    PHYSICS,
    SHAPE,
    BearingFeatures,
    _Spectrum,
    features_of,
)
from edge_agent.factory.bearing.judge import named_figures, own_orders
from edge_agent.factory.bearing.sim import (
    BALL,
    CLASSES,
    INNER,
    OUTER,
    PARTS,
    UNKNOWN_ORDERS,
    machine,
    simulate,
)
from edge_agent.factory.bearing.student import Body, Distance
from edge_agent.factory.bearing.teacher import (
    CEILING,
    NEVER,
    OWN,
    Known,
    clear_parts,
    gate_of,
    old_hand,
)
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
    bearings = [Bearing(model=name).orders for name in ("6205", "6804", "ZA-2115")]
    first = dict(zip((OUTER, INNER, BALL), (0, 4, 7), strict=True))
    for kind, line in first.items():
        for speed_hz, orders in product((12.0, 29.95, 55.0), bearings):
            wave = machine(orders, kind, speed_hz, 20.0, random)[None]
            rpm = np.array([speed_hz * 60], np.float32)
            (found,) = features_of(ORDERS, rpm, wave, own_orders(1, orders))
            own = found[line : line + 3].mean()
            others = [found[n : n + 3].mean() for k, n in first.items() if k != kind]
            assert own > max(others) + 3, (kind, speed_hz, own, others)


def neither_gain_nor_offset_is_a_feature() -> None:
    wave = np.random.default_rng(2).normal(size=(1, LENGTH)).astype(np.float32)
    rpm = np.array([1797], np.float32)
    one, other = (
        features_of(ORDERS, rpm, each, own_orders(1, ORDERS)) for each in (wave, 0.01 * wave + 0.5)
    )
    assert np.allclose(one, other, atol=0.05)


def both_simulators_fill_every_class_with_numbers() -> None:
    random = np.random.default_rng(3)
    for made in (simulate(2, random, (-10, 0)), other_machines(2, -5.0, random)):
        assert made.label.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert made.waveforms.shape == (10, LENGTH)
        assert made.orders[2:8].all()
        assert np.isfinite(made.waveforms).all()


def the_gate_is_open_for_the_learned_machine_alone() -> None:
    known, _ = learned()
    gate = gate_of(known)
    assert gate(known.features[:, PHYSICS:]).mean() > 0.8
    other = known.features[:, PHYSICS:] + np.linspace(-20, 20, SHAPE)
    assert gate(other).max() < 0.01


def a_student_begins_as_its_teachers_old_hand_and_gate() -> None:
    known, features = learned()
    scale = Scale(features)
    body = Body(known, scale).eval()
    scaled = scale(torch.from_numpy(known.features))
    with torch.no_grad():
        hand = body.hand(scaled).numpy()
        distance = Distance(gate_of(known), scale)(scaled[:, PHYSICS:]).numpy()[:, 0]
    assert (hand[:, -1] == NEVER).all()
    assert np.allclose(
        hand[:, :-1], old_hand(known.features, known.label)(known.features), atol=1e-2
    )
    gate = gate_of(known)
    wanted = gate.distance(known.features[:, PHYSICS:]) / gate.limit
    assert np.allclose(distance, wanted, atol=1e-2)


def the_features_take_a_batch_of_any_size() -> None:
    module = BearingFeatures(ORDERS)
    orders = torch.tensor([ORDERS, UNKNOWN_ORDERS, ORDERS])
    found = module(torch.full((3, 1, 1), 1500.0), torch.randn(3, LENGTH), orders)
    assert found.shape == (3, PHYSICS + SHAPE)
    assert torch.isfinite(found).all()


def damage_of_another_bearing_is_not_at_the_configured_lines() -> None:
    """The strongest free order is there instead; without a geometry nothing else is read."""
    random = np.random.default_rng(5)
    other = Bearing(model="6804").orders
    wave = machine(other, OUTER, 30.0, 10.0, random)[None]
    rpm = np.array([1800], np.float32)
    own, strange, none = (
        features_of(ORDERS, rpm, wave, own_orders(1, orders))[0, 2 * LINES : PHYSICS]
        for orders in (other, ORDERS, UNKNOWN_ORDERS)
    )
    assert own[0] > own[8] + 3  # the comb of the outer race, and that of the strongest free order
    assert strange[8] > strange[:4].max() + 3
    assert (none[:4] == 0).all()
    assert none[8] > 10
    assert [own[-1], strange[-1], none[-1]] == [0, 1, 0]


def a_part_is_named_if_no_other_is_nearly_as_likely() -> None:
    told = np.array([[0.1, 0.8, 0.05, 0.05, 0.0], [0.1, 0.4, 0.35, 0.15, 0.0]])
    clear = clear_parts(told)
    assert np.allclose(clear.sum(axis=1), 1)
    assert np.allclose(clear[:, 0], told[:, 0])
    assert clear.argmax(axis=1).tolist() == [1, len(CLASSES) - 1]
    figures = named_figures(np.array([[0.0, 0.95, 0.05, 0, 0]] * 2), np.array([1, 3]))
    assert figures["wrong_part_surely"] == 0.5
    assert len(PARTS) == 3


def only_the_learned_machine_makes_sure_of_a_part() -> None:
    known, features = learned()
    scale = Scale(features)
    body = Body(known, scale).eval()
    with torch.no_grad():
        body.lines[-1].bias[1] += 50.0
        own = torch.exp(body(scale(torch.from_numpy(features))))
        features[:, OWN] = 0.0
        foreign = torch.exp(body(scale(torch.from_numpy(features))))
    assert torch.allclose(own.sum(dim=1), torch.ones(len(own)), atol=1e-3)
    assert 0.86 < own[:, 1:4].max() < 0.9
    assert foreign[:, 1].min() > CEILING - 0.01
    assert foreign[:, 1:4].max() <= CEILING + 0.001


def learned() -> tuple[Known, np.ndarray]:
    """A made-up machine with three sizes of damage; its features, and those of others."""
    random = np.random.default_rng(4)
    label = np.tile(np.arange(4), 60)
    size = np.where(label == 0, 0, np.repeat([7, 14, 21], 80))
    center = random.normal(0, 3, (4, PHYSICS + SHAPE))
    features = (center[label] + random.normal(0, 1, (240, PHYSICS + SHAPE))).astype(np.float32)
    features[:, OWN] = 1.0
    return Known(features, label, size), features
