"""`model.yaml`: what it says comes back as said, and what is wrong is refused with its key."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import INPUTS, manifest, wave

from edge_agent.config.schema import Resample
from edge_agent.config.types import Name
from edge_agent.errors import ModelError
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.manifest_text import dump_manifest, parse_manifest
from edge_agent.models.bundle.reference_distribution import Histogram, Interval
from edge_agent.models.bundle.tasks import OutputNames, Task

METER = InputSpec("energy", offset=(4.2e9,), counter=(True, False, False, True))
FILE = Path("models/mean/model.yaml")
FILES = ("model.onnx", "golden.npz", "model.int8.onnx", "model.int8-arm64.onnx", "card.md", "a.png")


def parse(text: str) -> Manifest:
    return parse_manifest(text.encode(), FILE)


def test_everything_that_is_written_is_read_again() -> None:
    whole = manifest(
        inputs=(
            *INPUTS,
            InputSpec("no", "°C", (-1.5, 80.0), resample=Resample.MEAN),
            METER,
            wave("a", 4),
        ),
        outputs=OutputNames("score", "health", "contributions"),
        false_alarms_per_day=1e-05,
        calibration={"held_out_alarms": "0"},
        classes=("healthy", "worn: a bit"),
        units=("P-001", "007", "1:30", "null"),
        teacher={"model": "forest"},
        benchmarks={"p50_us": "84", "command": "scripts/bench"},
        training={"licence": "CC0"},
        variants=("int8", "int8-arm64"),
        healthy={"flow": Histogram((-1.5, 1e-07), (0.25, 0.5, 0.25))},
        sha256=dict.fromkeys(FILES, "0" * 64),
    )
    assert parse_manifest(dump_manifest(whole), FILE) == whole


def test_the_interval_of_a_remaining_life_comes_back() -> None:
    life = manifest(
        task=Task.REMAINING_LIFE, outputs=OutputNames(rul="rul"), interval=Interval(0.9, 0.1)
    )
    assert parse_manifest(dump_manifest(life), FILE) == life


def test_the_normal_range_of_an_input_is_as_it_is_read() -> None:
    """Scaled back to each machine, with its offset; unknown for an input of few levels."""
    several = Histogram((-2.5, -1, 0, 1, 2.5), (0.1, 0.1, 0.3, 0.3, 0.1, 0.1), (5, 50), (1, 2))
    manifest = Manifest(
        Name("m"),
        Name("1"),
        Task.ANOMALY,
        (InputSpec("flow", offset=(0.0, 1000.0)), InputSpec("valve"), InputSpec("new")),
        OutputNames(score="score"),
        units=("P-1", "P-2"),
        healthy={"flow": several, "valve": Histogram((0.5,), (0.5, 0.5))},
    )
    assert manifest.normal_ranges(0) == {"flow": (2.5, 7.5)}
    assert manifest.normal_ranges(1)["flow"] == (1045.0, 1055.0)


HEALTHY = "threshold: 2.0\nhealthy: {flow: {edges: "


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("threshold: 2.0", "threshold: 2.0\nvariants: [int8]\nsha256: {}", ""),
        ("threshold: 2.0", HEALTHY + "[1, 2], shares: [0.2, 0.3, 0.5]}}", ""),
        ("threshold: 2.0", "threshold: 2.0\nvariants: [INT8]", "variants: lower-case letters"),
        ("threshold: 2.0", "threshold: 2.0\nvariants: [a/../b]", "variants: lower-case letters"),
        ("threshold: 2.0", "threshold: 2.0\nvariants: [int8, int8]", "none twice"),
        ("threshold: 2.0", "threshold: 2.0\nvariants: [fp32]", "not fp32"),
        ("threshold: 2.0", f"threshold: 2.0\nvariants: {list('abcdefghi')}", "at most 8"),
        (
            "threshold: 2.0",
            f"threshold: 2.0\nvariants: [int8]\nsha256: {{model.onnx: {'0' * 64}}}",
            "variants: each has its file (model.int8.onnx), and no other",
        ),
        (
            "threshold: 2.0",
            f"threshold: 2.0\nsha256: {{model.int8.onnx: {'0' * 64}}}",
            "variants: each has its file",
        ),
        ("threshold: 2.0", "threshold: 2.0\nsha256: {model.sig: 00}", "no file of a bundle"),
        ("threshold: 2.0", "threshold: 2.0\ninterval: {coverage: 0.8}", "only for remaining life"),
        ("threshold: 2.0", HEALTHY + "[2, 1], shares: [0.2, 0.3, 0.5]}}", "finite and ascend"),
        ("threshold: 2.0", HEALTHY + "[1, 1], shares: [0.2, 0.3, 0.5]}}", "finite and ascend"),
        ("threshold: 2.0", HEALTHY + "[1], shares: [0.2, 0.3, 0.5]}}", "one less than shares"),
        ("threshold: 2.0", HEALTHY + "[1], shares: [0.5, 0.6]}}", "sum to 1"),
        ("threshold: 2.0", HEALTHY + "[1], shares: [-0.5, 1.5]}}", "0 to 1 each"),
        ("threshold: 2.0", HEALTHY + "[], shares: [1]}}", "2 to 32 bins"),
        ("name: flow,", "name: flow, offset: [4.2e9], counter: [true],", ""),
        ("name: flow,", "name: flow, offset: [1, 2],", "one for each unit, or one for all"),
        ("name: flow,", "name: flow, offset: [.inf],", "is not a number"),
        ("threshold: 2.0", "threshold: 2.0\nhealthy: {x: {edges: [1], shares: [0, 1]}}", "scalar"),
    ],
)
def test_what_the_newer_keys_may_say(old: str, new: str, told: str) -> None:
    """An empty text: this is right."""
    good = dump_manifest(manifest()).decode()
    if not told:
        parse(good.replace(old, new, 1))
        return
    with pytest.raises(ModelError, match=re.escape(told)):
        parse(good.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("task: anomaly", "task: prophecy", "task: 'prophecy' is not allowed"),
        ("task: anomaly", "taks: anomaly", "unknown key 'taks' (did you mean 'task'?)"),
        ("version:", "name: mean\nversion:", "written twice"),
        ("name: mean", "name: ../mean", "name"),
        ("length: 8", "length: 0", "window.length: must be between 1 and 65536"),
        ("length: 8", "length: eight", "window.length"),
        ("length: 8", "length: 65536, hop: 1e9", "window.hop"),
        ("step_s: 1.0", "step_s: -1", "window.step_s"),
        ("threshold: 2.0", "threshold: 0", "threshold: must be above 0"),
        ("threshold: 2.0", "threshold: .nan", "threshold"),
        ("{score: score}", "{health: h}", "outputs.score: missing: task anomaly needs it"),
        ("name: flow", "name: pressure", "used once"),
        ("name: flow", "name: flow, kind: waveform", "a waveform needs length and rate_hz"),
        (
            "name: flow",
            "name: x, kind: waveform, length: 8, rate_hz: 100",
            "a waveform may not be named x",
        ),
        ("threshold: 2.0", "threshold: 2.0\nunits: [A, A]", "listed twice"),
        ("threshold: 2.0", "threshold: 2.0\nsha256: {passwd: 00}", "sha256"),
        ("threshold: 2.0", "threshold: !!python/name:os.system ''", "tag"),
        ("task: anomaly", "task: classification", "outputs.probabilities: missing"),
        (
            "inputs:\n- {name: flow, unit: m3/h}\n- {name: pressure, unit: bar}",
            "inputs: []",
            "inputs",
        ),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, told: str) -> None:
    """One line of the manifest is broken at a time; the error names the file and the key."""
    good = dump_manifest(manifest()).decode()
    assert old in good
    with pytest.raises(ModelError) as refused:
        parse(good.replace(old, new, 1))
    assert told in str(refused.value)
    assert str(FILE) in str(refused.value)


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(9)]
    with pytest.raises(ModelError, match="more than"):
        parse("\n".join(lines))


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises(ModelError):
        parse_manifest(raw, FILE)


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(dump_manifest(manifest()))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with suppress(ModelError):
        parse_manifest(bytes(good), FILE)


def test_shapes_follow_from_the_inputs() -> None:
    both = manifest(inputs=(*INPUTS, wave("acceleration", 4096)), units=("A",))
    assert both.tensors() == {
        "x": ("float32", (8, 2)),
        "acceleration": ("float32", (4096,)),
        "unit": ("int64", ()),
    }
    assert both.output_shape("contributions") == (2,)
    life = replace(both, task=Task.REMAINING_LIFE, outputs=OutputNames(rul="rul"))
    assert life.output_shape("rul") == (3,)
