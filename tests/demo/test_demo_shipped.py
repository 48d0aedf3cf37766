"""The demo's own bundle is found in a checkout and in an installation, and is missed aloud."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from support import shipped_bundles

from edge_agent.demo.shipped import BUNDLE, copy_shipped
from edge_agent.errors import EdgeAgentError
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demos_bundle_is_copied_whole_and_holds(tmp_path: Path) -> None:
    copy_shipped(tmp_path / "models")
    assert verify_bundle(tmp_path / "models" / BUNDLE) == []


def test_it_serves_pumps_that_nobody_named() -> None:
    assert load_manifest(ROOT / "models" / BUNDLE).units == ()


def test_one_that_is_there_stays(tmp_path: Path) -> None:
    mine = tmp_path / "models" / BUNDLE / "model.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    copy_shipped(tmp_path / "models")
    assert mine.read_text() == "mine"


def test_the_second_place_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "share" / BUNDLE).mkdir(parents=True)
    copy_shipped(tmp_path / "models", (tmp_path / "none", tmp_path / "share"))
    assert (tmp_path / "models" / BUNDLE).is_dir()


def test_a_missing_bundle_is_told_with_its_places(tmp_path: Path) -> None:
    with pytest.raises(EdgeAgentError, match=r"demo-pump.*missing") as error:
        copy_shipped(tmp_path / "models", (tmp_path / "a", tmp_path / "b"))
    assert str(tmp_path / "b") in str(error.value)


def test_an_installation_brings_every_shipped_bundle() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert installed == {
        f"models/{name}": f"share/edge-agent/models/{name}"
        for name in (folder.name for folder in shipped_bundles())
    }
