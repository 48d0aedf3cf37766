"""Baselines of waveforms: features that find what they are for, limits that hold, one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Kind
from edge_agent.errors import ModelError
from edge_agent.learning.waveform import Bank, defect_lines, length_for, measure
from edge_agent.learning.waveform_bundle import WaveRecipe
from edge_agent.learning.waveform_fit import LEAST_WAVES, learn_waves
from edge_agent.models.bundle.bundle import verify_bundle
from edge_agent.models.bundle.manifest import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learning.learned_bundle import LearnedBundle

SHAFT_HZ = 25.0
INNER_HZ = 137.0


def rotor(rate_hz: float, n: int, seed: int, fault: float = 0.0) -> np.ndarray:
    """Noise and two tones of a shaft; fault: the RMS of strikes of an inner race, by the noise's.

    The strikes ring at .3 of the sampling rate, slip by 1 %, and pass through the load zone.
    """
    random = np.random.default_rng(seed)
    t = np.arange(n) / rate_hz
    wave = random.standard_normal(n)
    for order, size in ((1, 0.5), (2, 0.2)):
        wave += size * np.sin(2 * np.pi * order * SHAFT_HZ * t + random.uniform(0, 6))
    if fault:
        times = np.arange(0, n / rate_hz, 1 / INNER_HZ)
        at = times + random.normal(0, 0.01 / INNER_HZ, len(times))
        index = np.clip((at * rate_hz).astype(int), 0, n - 1)
        strikes = np.zeros(n)
        strikes[index] = 1 + 0.5 * np.cos(2 * np.pi * SHAFT_HZ * at)
        k = np.arange(int(rate_hz * 0.005) + 8)
        ringing = np.convolve(strikes, np.exp(-k / (rate_hz * 0.001)) * np.sin(0.6 * np.pi * k))[:n]
        wave += fault * ringing / ringing.std()
    return wave.astype(np.float32)


def windows(wave: np.ndarray, length: int, hop: int | None = None) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(wave, length)[:: hop or length]


def recipe_of(
    rate_hz: float, length: int, lines: tuple[tuple[str, float], ...] = (), n: int = 1
) -> WaveRecipe:
    specs = [
        InputSpec(f"vibration{k}", "g", kind=Kind.WAVEFORM, rate_hz=rate_hz, length=length)
        for k in range(n)
    ]
    return WaveRecipe("waves", tuple(specs), length / rate_hz, lines=lines)


def scores(learned: LearnedBundle, *waves: np.ndarray, unit: int = 0) -> np.ndarray:
    session = onnxruntime.InferenceSession(learned.onnx_bytes)
    feeds = {spec.name: wave for spec, wave in zip(learned.manifest.inputs, waves, strict=True)}
    units = np.full(len(waves[0]), unit, np.int64)
    found = session.run(["score", "contributions"], {**feeds, "unit": units})
    assert np.allclose(found[1].sum(axis=1), found[0], rtol=1e-3)
    return np.asarray(found[0])


@pytest.mark.parametrize("rate_hz", [1000.0, 12_000.0, 50_000.0])
def test_healthy_is_quiet_and_a_growing_fault_is_found_at_any_rate(rate_hz: float) -> None:
    """Strikes as strong as all noise are found, and half as strong ones above 10 kHz."""
    length = length_for(rate_hz, 1 << 30)
    recipe = recipe_of(rate_hz, length)
    n = 80 * length
    features = recipe.measure([windows(rotor(rate_hz, n, 1), length)])
    learned = learn_waves({"P": features}, recipe, now_us=0)
    assert scores(learned, windows(rotor(rate_hz, n, 2), length)).max() < 1
    found = 1.0 if rate_hz < 10_000 else 0.5
    assert scores(learned, windows(rotor(rate_hz, n, 3, found), length)).min() > 1


def test_a_line_that_is_buried_in_noise_is_found_by_the_envelope_not_by_the_level() -> None:
    """At a tenth of the power of the noise the level rises by 4 %."""
    recipe = recipe_of(25_600.0, 8192, defect_lines({"inner race": INNER_HZ / SHAFT_HZ}, SHAFT_HZ))
    n = 80 * 8192
    healthy = recipe.measure([windows(rotor(25_600.0, n, 1), 8192)])
    worn = recipe.measure([windows(rotor(25_600.0, n, 3, 0.3), 8192)])
    learned = learn_waves({"P": healthy}, recipe, now_us=0)
    assert np.median(scores(learned, windows(rotor(25_600.0, n, 3, 0.3), 8192))) > 1
    spread = 1.4826 * np.median(np.abs(healthy - np.median(healthy, axis=0)), axis=0)
    z = (np.median(worn, axis=0) - np.median(healthy, axis=0)) / spread
    names = list(recipe.banks[0].names)
    assert z[names.index("inner race")] > 5
    assert abs(z[names.index("kurtosis")]) < 2


@settings(max_examples=8, deadline=None)
@given(
    rate_hz=st.floats(500, 60_000),
    length=st.sampled_from([256, 512, 1000, 2048, 4096]),
    size=st.floats(1e-6, 1e6),
    inputs=st.integers(1, 3),
    speed_hz=st.floats(0, 100),
)
def test_the_graph_is_the_reference_for_any_rate_length_and_unit(
    rate_hz: float, length: int, size: float, inputs: int, speed_hz: float
) -> None:
    """Golden vectors, and samples in other units: the score does not depend on the unit."""
    recipe = recipe_of(rate_hz, length, defect_lines({"outer": 3.6}, speed_hz), inputs)
    random = np.random.default_rng(0)
    waves = [random.standard_normal((LEAST_WAVES, length)) * size for _ in recipe.inputs]
    features = recipe.measure(waves)
    learned = learn_waves({"P": features}, recipe, now_us=0)
    model = onnx.load_from_string(learned.onnx_bytes)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds, expected = learned.golden
    names = list(expected)
    found = dict(zip(names, session.run(names, feeds), strict=True))
    for name in names:
        assert np.allclose(found[name], expected[name], rtol=2e-3, atol=1e-4)
    assert found["score"][-1] > max(1, 5 * found["score"][0])


def _sources(n: int, length: int) -> dict[str, np.ndarray]:
    """Healthy machines of many kinds, [n, length] each."""
    random = np.random.default_rng(1)
    noise = random.standard_normal((n, length))
    t = np.arange(n * length).reshape(n, length)
    slow = np.linspace(0, 1, n)[:, None]
    return {
        "noise": noise,
        "tone": np.sin(t / 7) + 0.1 * noise,
        "louder and louder": noise * (1 + slow),
        "two loads": noise * np.where(np.arange(n)[:, None] % 20 < 10, 1.0, 2.0),
        "season": noise * (1.5 + np.sin(2 * np.pi * slow * 3)),
        "start-up": noise * np.where(np.arange(n)[:, None] < n // 10, 5.0, 1.0),
        "counted": np.round(3 * noise),
        "rare shocks": noise + 30 * (random.random((n, length)) < 1 / length / 20),
        "two levels": np.sign(noise),
    }


@pytest.mark.parametrize("kind", list(_sources(1, 256)))
def test_a_baseline_is_never_over_its_limit_on_what_it_learned(kind: str) -> None:
    length = 512
    wave = _sources(160, length)[kind].astype(np.float32)
    recipe = recipe_of(5000.0, length)
    learned = learn_waves({"P": recipe.measure([wave])}, recipe, now_us=0)
    assert (scores(learned, wave) >= 1).mean() <= 0.01


@pytest.mark.parametrize(
    ("silent", "says"),
    [(160, "160 of 160 windows never change"), (40, "40 of 160"), (0, "")],
)
def test_a_dead_sensor_is_not_healthy(silent: int, says: str) -> None:
    """It is refused at learning; a sensor that dies later raises the alarm."""
    wave = _sources(160, 512)["noise"]
    wave[:silent] = 3.0
    recipe = recipe_of(5000.0, 512)
    features = {"P": recipe.measure([wave])}
    if says:
        with pytest.raises(ModelError, match=rf"vibration0: {says}.*a dead sensor"):
            learn_waves(features, recipe, now_us=0)
        return
    learned = learn_waves(features, recipe, now_us=0)
    dead = np.stack([np.zeros(512), np.full(512, 3.0), np.full(512, 1e30)]).astype(np.float32)
    assert (scores(learned, dead) > 10).all()


def test_too_few_windows_are_refused_for_that_asset_only() -> None:
    recipe = recipe_of(5000.0, 512)
    features = recipe.measure([_sources(100, 512)["noise"]])
    learned = learn_waves({"P": features, "Q": features[:40]}, recipe, now_us=0)
    assert learned.manifest.units == ("P",)
    assert learned.refused == {"Q": "40 windows of the 48 needed (learn from more time)"}


def test_assets_have_their_own_limits_in_one_graph() -> None:
    recipe = recipe_of(5000.0, 512)
    noise = _sources(100, 512)["noise"].astype(np.float32)
    features = {"P": recipe.measure([noise]), "Q": recipe.measure([noise * 10])}
    learned = learn_waves(features, recipe, now_us=0)
    assert (scores(learned, noise) < 1).all()
    assert (scores(learned, noise, unit=1) > 1).all()
    assert (scores(learned, noise * 10, unit=1) < 1).all()


def test_the_bundle_passes_the_sandbox_and_is_the_same_for_the_same_data(tmp_path: Path) -> None:
    recipe = recipe_of(12_000.0, 4096, n=2)
    random = np.random.default_rng(5)
    waves = [random.standard_normal((60, 4096)) for _ in range(2)]
    features = {"P": recipe.measure(waves)}
    learned = learn_waves(features, recipe, now_us=0)
    learned.write(tmp_path / "waves")
    assert verify_bundle(tmp_path / "waves") == []
    assert learn_waves(features, recipe, now_us=0).onnx_bytes == learned.onnx_bytes


def test_features_follow_their_definitions() -> None:
    """A sine has kurtosis 1.5, crest √2 and all of its energy in its band; modulation is a line."""
    bank = Bank(8000.0, 4096)
    t = np.arange(4096) / 8000.0
    plain = 3.0 * np.sin(2 * np.pi * 1000 * t)
    names = list(bank.names)
    (found,) = measure(plain[None], bank)
    assert np.exp(found[names.index("level")]) == pytest.approx(3 / 2**0.5, rel=1e-3)
    assert np.exp(found[names.index("kurtosis")]) == pytest.approx(1.5, rel=1e-3)
    assert np.exp(found[names.index("crest factor")]) == pytest.approx(2**0.5, rel=1e-3)
    bands = {n: np.exp(v) for n, v in zip(names, found, strict=True) if n.startswith("band")}
    loudest = max(bands, key=bands.__getitem__)
    low, high = (float(x) for x in loudest.split(" ")[1].split("-"))
    assert low <= 1000 <= high
    assert sum(v**2 for v in bands.values()) ** 0.5 == pytest.approx(3 / 2**0.5, rel=0.02)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(4096)
    (beating,) = measure((plain * (1 + 0.5 * np.sin(2 * np.pi * 60 * t)) + hiss)[None], bank)
    lines = {n: v for n, v in zip(names, beating, strict=True) if n.startswith("envelope")}
    strongest = max(lines, key=lines.__getitem__)
    low, high = (float(x) for x in strongest.split(" ")[1].split("-"))
    assert low <= 60 <= high


def test_cwru_healthy_stays_quiet_and_every_fault_is_found(data_dir: Path) -> None:
    """Learned from the first half of the one healthy recording; judged by its second half."""
    healthy = _drive_end(data_dir / "cwru" / "normal_000_load0.npz")
    recipe = recipe_of(12_000.0, length_for(12_000.0, 1 << 30))
    length = recipe.inputs[0].length
    half = len(healthy) // 2
    features = recipe.measure([windows(healthy[:half], length, length // 2)])
    learned = learn_waves({"P": features}, recipe, now_us=0)
    assert scores(learned, windows(healthy[half:], length)).max() < 0.7
    faults = [p for p in sorted((data_dir / "cwru").glob("*.npz")) if "normal" not in p.name]
    assert len(faults) == 60
    for path in faults:
        assert scores(learned, windows(_drive_end(path), length)).min() > 5, path.name


def _drive_end(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive["drive_end"], np.float32).ravel()


@pytest.mark.parametrize(
    ("rate_hz", "run", "length"),
    [(12_000, 1 << 30, 4096), (12_000, 2500, 2048), (50_000, 1 << 30, 8192), (1000, 1 << 30, 1024),
     (1000, 300, 256), (1000, 200, 0)],
)  # fmt: skip
def test_a_window_is_a_third_of_a_second_and_no_longer_than_a_block(
    rate_hz: float, run: int, length: int
) -> None:
    assert length_for(rate_hz, run) == length
