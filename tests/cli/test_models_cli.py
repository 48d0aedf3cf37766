"""`edge-agent models`: its tables, its JSON and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper
from tiny_models import mean_model, mean_node, model

from edge_agent.cli import main
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models.bundle.manifest import InputSpec

if TYPE_CHECKING:
    from pathlib import Path


def write_bundle(folder: Path, assets: tuple[str, ...]) -> None:
    rows = np.random.default_rng(0).random((600, 2)).astype(np.float32)
    inputs = (InputSpec("flow", "m3/h"), InputSpec("pressure", "bar"))
    recipe = Recipe(folder.name, inputs, length=16)
    learn(dict.fromkeys(assets, rows), recipe, now_us=0).write(folder)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two good bundles."""
    write_bundle(tmp_path / "line-1", ("P-1", "P-2"))
    write_bundle(tmp_path / "line-2", ("P-3",))
    return tmp_path


def test_list_is_a_table(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--models-dir", str(models)]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    columns = "NAME VERSION STATE TASK INPUTS ASSETS THRESHOLD FALSE_ALARMS_PER_DAY"
    assert head.split() == [*columns.split(), "WINDOW", "VARIANTS", "SIGNER"]
    assert first.split()[0] == "line-1"
    assert first.split()[2:] == "active anomaly 2 2 1 0.1 16 x 1 s fp32 unsigned".split()  # noqa: SIM905
    assert second.split()[5] == "1"


def test_list_as_json(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--models-dir", str(models), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [bundle["name"] for bundle in found["bundles"]] == ["line-1", "line-2"]
    assert found["bundles"][0]["assets"] == ["P-1", "P-2"]


def test_an_unreadable_bundle_is_told_beside_the_others(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "line-2" / "model.yaml").write_text("name: line-2\ntaks: anomaly\n")
    assert main(["models", "list", "--models-dir", str(models)]) == 1
    out, err = capsys.readouterr()
    assert "line-1" in out
    assert "unknown key 'taks'" in err


def test_an_empty_folder_and_a_missing_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list", "--models-dir", str(tmp_path)]) == 0
    assert "no bundles" in capsys.readouterr().out
    assert main(["models", "list", "--models-dir", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_verify_by_name_and_by_path(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "line-2", "--models-dir", str(models)]) == 0
    assert capsys.readouterr().out.startswith("line-2 19700101T000000Z-")
    assert main(["models", "verify", str(models / "line-2")]) == 0


def test_verify_says_what_is_wrong(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "line-2" / "model.onnx").write_bytes(b"other")
    assert main(["models", "verify", str(models / "line-2")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "checksum" in err
    assert main(["models", "verify", str(models / "line-2"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert len(found["problems"]) == 1


def test_several_bundles_are_verified_in_one_go(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is refused, or is not there, stops none of the others."""
    (models / "line-1" / "model.onnx").write_bytes(b"other")
    names = [str(models / "line-1"), str(models / "gone"), str(models / "line-2")]
    assert main(["models", "verify", *names]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("line-2 ")
    assert "checksum" in err
    assert "gone" in err
    assert main(["models", "verify", str(models / "line-2"), str(models / "line-2")]) == 0


MANIFEST = """
name: theirs
version: "1"
task: anomaly
inputs: [{name: flow}, {name: pressure}]
outputs: {score: score}
window: {length: 8}
threshold: 2
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Somebody's ONNX with its manifest beside it."""
    (tmp_path / "model.onnx").write_bytes(mean_model())
    (tmp_path / "model.yaml").write_text(MANIFEST)
    return tmp_path / "model.onnx"


def test_a_version_is_packed_once(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same again is the same file; something else under its name is refused, unless forced."""
    pack = ["models", "pack", str(theirs), "-o", str(theirs.parent)]
    archive = theirs.parent / "theirs-1.eab"
    assert main(pack) == 0
    assert main(pack) == 0
    before = archive.read_bytes()
    theirs.with_name("model.yaml").write_text(MANIFEST.replace("threshold: 2", "threshold: 3"))
    assert main(pack) == 2
    assert "another bundle of this version is there" in capsys.readouterr().err
    assert archive.read_bytes() == before
    assert main([*pack, "--force"]) == 0
    assert archive.read_bytes() != before


def test_what_verify_would_refuse_is_not_packed(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written, so that nobody ships it."""
    nodes = [mean_node("x", "mean"), helper.make_node("RandomUniformLike", ["mean"], ["score"])]
    theirs.write_bytes(model(nodes).SerializeToString())
    assert main(["models", "pack", str(theirs), "-o", str(theirs.parent)]) == 1
    err = capsys.readouterr().err
    assert "operator RandomUniformLike is not allowed" in err
    assert "models inspect" in err
    assert not list(theirs.parent.glob("*.eab"))


def test_inspect_shows_what_to_write_into_the_manifest(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "inspect", str(theirs)]) == 0
    out = capsys.readouterr().out
    assert "input   x float32 [N, 8, 2]" in out
    assert "output  score float32 [N]" in out
    assert main(["models", "inspect", str(theirs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"] == {"ReduceMean": True}


def test_the_list_of_operators_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "inspect", "--operators"]) == 0
    names = capsys.readouterr().out.split()
    assert {"Conv", "ai.onnx.ml:TreeEnsembleRegressor"} <= {*names}
    assert "Loop" not in names
    assert main(["models", "inspect"]) == 2


def test_the_folder_comes_from_the_config(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bundles that the config names may be missing: they are what one looks for."""
    file = models / "edge-agent.yaml"
    file.write_text(
        f"models_dir: {models}\n"
        "sources: {plant: {type: replay, path: gone.csv}}\n"
        "templates: {pump: {signals: {flow: {}, pressure: {}}, models: [{bundle: gone}]}}\n"
        "assets: {P-1: {template: pump}}\n"
    )
    assert main(["models", "verify", "line-2", "-c", str(file)]) == 0
    assert capsys.readouterr().out.startswith("line-2 ")


@pytest.mark.parametrize(
    "words", [["models"], ["models", "verify"], ["models", "list", "-c", "x", "--models-dir", "y"]]
)
def test_wrong_use_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--help"]) == 0
    assert "example:" in capsys.readouterr().out
