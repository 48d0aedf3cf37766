"""`edge-agent train` with folders of pictures: from files to a bundle that verifies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edge_agent.cli import main
from edge_agent.models import PictureManifest, load_manifest, open_session, verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """\
name: lids
kind: pictures
pictures: [set]
group: "/([a-z]+[0-9]+)-"
size: 64
symmetry: mirror
card: {About: Made by a test.}
"""


def lid(random: np.random.Generator, label: str) -> np.ndarray:
    """A grey surface; a dark line or a bright spot on it."""
    pixels = 120 + random.normal(0, 10, (72, 72))
    at = random.integers(14, 44)
    if label == "scratch":
        pixels[at : at + 3, 10:60] = 20
    if label == "spot":
        pixels[at : at + 12, at : at + 12] = 230
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lids")
    random = np.random.default_rng(1)
    for label in ("good", "scratch", "spot"):
        (folder / "set" / label).mkdir(parents=True)
        for n in range(20):
            file = folder / "set" / label / f"{label}{n // 2:02d}-{n % 2}.png"
            Image.fromarray(lid(random, label)).save(file)
    (folder / "lids.yaml").write_text(RECIPE)
    assert main(train_words(folder, "models")) == 0
    return folder


def train_words(folder: Path, models: str) -> list[str]:
    places = ["--work", str(folder / "work"), "--output", str(folder / models)]
    return ["train", str(folder / "lids.yaml"), *places]


def test_the_bundle_is_whole_and_answers_right(trained: Path) -> None:
    """One graph from uint8 to probabilities, verified; no package of training is needed."""
    bundle = trained / "models" / "lids"
    assert verify_bundle(bundle) == []
    manifest = load_manifest(bundle)
    assert isinstance(manifest, PictureManifest)
    assert manifest.classes == ("good", "scratch", "spot")
    assert (manifest.variants, manifest.side) == (("int8",), 64)
    assert manifest.look["sharpness"] > 0  # else no camera is ever blurred
    session = open_session((bundle / "model.onnx").read_bytes())
    random = np.random.default_rng(2)
    new = np.stack([lid(random, label)[4:68, 4:68] for label in manifest.classes for _ in range(4)])
    found = session.run(None, {"picture": np.repeat(new[..., None], 3, axis=3)})[0]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-4)
    assert found.argmax(axis=1).tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_the_card_says_how_good_it_is(trained: Path) -> None:
    card = (trained / "models" / "lids" / "card.md").read_text()
    assert "Made by a test." in card
    assert "95 % interval" in card
    assert "| is, answered | good | scratch | spot | recall |" in card
    assert "| not sure | below a probability of" in card
    assert "| train pictures | 48 |" in card  # of 30 products of two pictures, 6 for the test


def test_a_second_run_gives_the_same_bundle_from_kept_features(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*train_words(trained, "again"), "--json"]) == 0
    said = capsys.readouterr()
    assert "features: unchanged" in said.err
    assert json.loads(said.out)["bundle"].endswith("again/lids")
    one, other = (trained / name / "lids" for name in ("models", "again"))
    for name in ("model.onnx", "model.int8.onnx", "golden.npz"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_file_that_is_no_picture_is_named(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = trained / "set" / "good" / "good99-0.png"
    broken.write_bytes(b"GIF89a" + bytes(40))
    try:
        assert main(train_words(trained, "broken")) == 2
    finally:
        broken.unlink()
    assert "good99-0.png" in capsys.readouterr().err
