"""Learning from good pictures alone: what it finds, what it promises, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from edge_agent.cli import main
from edge_agent.errors import ModelError
from edge_agent.learning.pictures import PictureRecipe, learn_pictures
from edge_agent.learning.pictures.drawn import DEFECTS, with_defects
from edge_agent.learning.pictures.fit import Features, fit
from edge_agent.learning.pictures.graph import anomaly_graph
from edge_agent.learning.pictures.head import doubled
from edge_agent.learning.pictures.limit import limit_of, upper_share
from edge_agent.learning.pictures.memory import Memory, distances, memory_of
from edge_agent.models import PictureManifest, load_manifest, open_session, verify_bundle
from edge_agent.signals import Look

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 96
GOOD = 60


CONFIG = """
sources: {bus: {type: mqtt, url: 'mqtt://127.0.0.1:9', subscribe: [{topic: '{asset}/{signal}'}]}}
templates: {press: {signals: {load: {source: bus}}}}
assets: {P-1: {template: press}}
cameras:
  lid: {asset: P-1, http: {url: 'http://127.0.0.1:9/x', every: 10}}
  rim:
    asset: P-1
    http: {url: 'http://127.0.0.1:9/y', every: 10}
    view: {rotate: 90, region: [0, 0, 0.5, 1]}
models_dir: models
"""


def sheet(number: int, *, turned: bool = False) -> NDArray[np.uint8]:
    """A sheet with ribs, which lies a little differently each time."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    phase = (columns if turned else rows) / 9 + random.uniform(0, 6)
    grey = 120 + 50 * np.sin(phase) + random.normal(0, 4, (SIDE, SIDE))
    return np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def spoiled(number: int) -> NDArray[np.uint8]:
    """The same with a dark spot."""
    found = sheet(number)
    found[40:50, 40:52] = 20
    return found


def write(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)
    return folder


def good_sheets(count: int = GOOD) -> dict[str, NDArray[np.uint8]]:
    return {f"{n:03}.png": sheet(n) for n in range(count)}


def recipe(tmp_path: Path, images: Path) -> PictureRecipe:
    return PictureRecipe("P-1", images, tmp_path / "models", side=SIDE)


# -- the whole way ----------------------------------------------------------------------------


def test_a_folder_of_good_pictures_becomes_a_bundle(tmp_path: Path) -> None:
    """One graph: a spot is above the limit at its place, other good pictures are not."""
    images = write(tmp_path / "good", good_sheets())
    steps: list[float] = []
    learned = learn_pictures(recipe(tmp_path, images), lambda share, _: steps.append(share))
    folder = tmp_path / "models" / "learned-pictures-P-1"
    assert verify_bundle(folder) == []
    assert (learned.pictures, learned.refused) == (GOOD, {})
    assert steps == sorted(steps)
    assert learned.manifest.calibration["held_out_pictures"] == str(GOOD)
    session = open_session((folder / "model.onnx").read_bytes())
    pictures = np.stack([sheet(1000), sheet(1001), spoiled(1002)])
    score, places, limit = session.run(["score", "map", "threshold"], {"picture": pictures})
    assert limit.shape == ()
    assert (score >= limit).tolist() == [False, False, True]
    row, column = np.unravel_index(places[2].argmax(), places[2].shape)
    assert 40 <= 8 * row + 4 <= 52
    assert 40 <= 8 * column + 4 <= 54


def test_learning_again_keeps_the_version_before(tmp_path: Path) -> None:
    """For a rollback."""
    images = write(tmp_path / "good", good_sheets(52))
    first = learn_pictures(recipe(tmp_path, images)).manifest.version
    write(images, {"more.png": sheet(2000)})
    second = learn_pictures(recipe(tmp_path, images)).manifest.version
    shelf = tmp_path / "models" / ".shelf" / "learned-pictures-P-1"
    assert first != second
    assert (shelf / first / "model.yaml").is_file()


def test_the_command_prints_what_it_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON: the limit's basis, and each file that was not used."""
    images = write(tmp_path / "good", good_sheets(51))
    (images / "cut.png").write_bytes((images / "000.png").read_bytes()[:500])
    (images / "again.png").write_bytes((images / "001.png").read_bytes())
    where = ("--models-dir", str(tmp_path / "models"))
    assert main(["learn", "--images", str(images), "--asset", "P-1", *where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pictures"] == 51
    assert "false_alarms_at_most" in told["calibration"]
    assert set(told["refused"]) == {"cut.png", "again.png"}


def test_a_camera_of_the_config_gives_view_and_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is learned is what the daemon loads for this camera, and looks at as it does."""
    images = write(tmp_path / "good", good_sheets(52))
    (tmp_path / "agent.yaml").write_text(CONFIG)
    run = ("learn", "-c", str(tmp_path / "agent.yaml"), "--images", str(images), "--asset", "P-1")
    assert main([*run, "--json"]) == 2
    assert "asset P-1 has 2 cameras: lid, rim" in capsys.readouterr().err
    assert main([*run, "--camera", "rim", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "learned-pictures-P-1"
    assert told["training"]["view"] == "rotate 90, region [0.0, 0.0, 0.5, 1.0], 0 masks"
    manifest = load_manifest(tmp_path / "models" / "learned-pictures-P-1")
    assert isinstance(manifest, PictureManifest)
    assert set(manifest.look) == {field.name for field in fields(Look)}


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "text"),
    [
        (good_sheets(20), "20 different good pictures.*at least 50"),
        ({f"{n:03}.png": sheet(n % 7) for n in range(60)}, "7 different good pictures"),
        ({}, "no picture"),
        (
            good_sheets(55)
            | {f"x{n}.png": np.zeros((SIDE, SIDE, 3), np.uint8) + n for n in range(20)},
            "cannot be used",
        ),
    ],
)
def test_pictures_that_cannot_be_learned_are_refused(
    tmp_path: Path, pictures: dict[str, NDArray[np.uint8]], text: str
) -> None:
    """With what to do; nothing is written."""
    images = write(tmp_path / "good", pictures)
    with pytest.raises(ModelError, match=text):
        learn_pictures(recipe(tmp_path, images))
    assert not (tmp_path / "models" / "learned-pictures-P-1").exists()


def test_two_products_in_one_folder_are_refused() -> None:
    """The mend is to sort them."""
    mixed = [sheet(n) for n in range(45)] + [sheet(n, turned=True) for n in range(12)]
    with pytest.raises(ModelError, match=r"unlike the others.*sort the pictures"):
        fit(np.stack(mixed).astype(np.uint8), 0.01, lambda _share, _what: None)


def test_one_strange_picture_is_left_out() -> None:
    """Somebody's hand was in it."""
    pictures = np.stack([sheet(n) for n in range(55)] + [255 - sheet(7, turned=True) // 4])
    assert fit(pictures, 0.01, lambda _share, _what: None).strange == (55,)


# -- its parts --------------------------------------------------------------------------------


def test_the_graph_computes_what_learning_computed() -> None:
    """Score and map of unseen pictures, against numpy."""
    fitted = fit(np.stack([sheet(n) for n in range(50)]), 0.01, lambda _share, _what: None)
    pictures = np.stack([sheet(100), spoiled(101)])
    features = Features(SIDE).of(pictures)
    pairs = zip(fitted.head.banks, features, strict=True)
    away = [distances(bank.axes.whitened(each), bank.memory) for bank, each in pairs]
    session = open_session(anomaly_graph(fitted.head, SIDE))
    score, places = session.run(["score", "map"], {"picture": pictures})
    np.testing.assert_allclose(score, fitted.head.scores(away), rtol=0.01)
    np.testing.assert_allclose(places, fitted.head.maps(away), atol=0.02 * float(places.max()))


def test_a_place_is_never_compared_with_its_own_picture() -> None:
    """Else every held-out distance of a known place is 0."""
    random = np.random.default_rng(0)
    places = random.standard_normal((4, 5, 3)).astype(np.float32)
    memory = memory_of(places, 20, random)
    own = memory.picture == np.arange(4)[:, None]
    flat = places.reshape(20, 3)
    far = np.sqrt(np.square(flat[:, None] - flat[None]).sum(axis=2))
    far[np.arange(20)[:, None] // 5 == np.arange(20)[None] // 5] = np.inf
    np.testing.assert_allclose(
        distances(places, memory, own), far.min(axis=1).reshape(4, 5), rtol=1e-3
    )
    assert np.allclose(distances(places, memory), 0, atol=1e-2)


def test_known_places_are_far_apart() -> None:
    """Of two heaps of places, the first two known ones are one each."""
    heaps = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 9.0)]).astype(np.float32)
    found: Memory = memory_of(heaps[:, None], 2, np.random.default_rng(1))
    assert sorted(found.places[:, 0].tolist()) == [0, 9]


@pytest.mark.parametrize(
    ("count", "total", "share"), [(0, 50, 0.0582), (1, 100, 0.0466), (5, 200, 0.0519), (3, 3, 1.0)]
)
def test_the_largest_share_is_that_of_clopper_and_pearson(
    count: int, total: int, share: float
) -> None:
    """One-sided, 95 %: from tables."""
    assert upper_share(count, total) == pytest.approx(share, abs=2e-4)


def test_the_limit_keeps_its_promise() -> None:
    """Over many draws the share of good pictures above the limit is the wanted one, or below."""
    random = np.random.default_rng(3)
    for pictures, most in ((50, 0.02), (200, 0.013)):
        shares = []
        for _ in range(200):
            limit = limit_of(np.exp(0.1 * random.standard_normal(pictures)), 0.01)
            later = np.exp(0.1 * random.standard_normal(2000))
            shares.append(float((later >= limit.value).mean()))
        assert np.mean(shares) < most


def test_interpolation_is_the_graphs() -> None:
    """As ONNX defines Resize with half_pixel."""
    assert doubled(np.array([[0, 4], [0, 4]], np.float32))[0].tolist() == [0, 1, 3, 4]


def test_every_kind_of_defect_changes_a_picture_a_little() -> None:
    """And the same seed draws the same."""
    pictures = np.stack([sheet(n) for n in range(8)])
    drawn, kinds = with_defects(pictures)
    assert set(kinds) == set(DEFECTS)
    changed = (drawn != pictures).any(axis=3).mean(axis=(1, 2))
    assert ((changed > 0) & (changed < 0.5)).all()
    assert (with_defects(pictures)[0] == drawn).all()
