"""The work folder: what is kept, what is made anew, and what a kill leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import UsageError
from edge_agent.factory.recipe import Context
from edge_agent.factory.recordings.csv_files import load_recipe
from edge_agent.factory.split import refuse_shared_groups
from edge_agent.factory.stages import Workshop, code_of, read_json, source_digests, write_json


class Shop:
    """A workshop whose stages count how often they are made."""

    def __init__(self, folder: Path, **identity: Any) -> None:
        self.said: list[str] = []
        self.made: list[str] = []
        self.shop = Workshop(folder, identity, self.said.append)

    def stage(self, name: str, **inputs: Any) -> Path:
        def make(folder: Path) -> None:
            self.made.append(name)
            write_json(folder / "result.json", inputs)

        return self.shop.stage(name, make, inputs=inputs)


def test_a_stage_is_made_once(tmp_path: Path) -> None:
    first = Shop(tmp_path, seed=1)
    kept = [first.stage("data"), first.stage("teacher", trees=3)]
    again = Shop(tmp_path, seed=1)
    assert [again.stage("data"), again.stage("teacher", trees=3)] == kept
    assert again.made == []
    assert read_json(kept[1] / "result.json") == {"trees": 3}
    assert again.said == [
        f"{name}: unchanged, the result of an earlier run is used" for name in ("data", "teacher")
    ]


def test_a_change_makes_its_stage_and_all_after_it_anew(tmp_path: Path) -> None:
    first = Shop(tmp_path, seed=1)
    for name in ("data", "teacher", "distill"):
        first.stage(name, trees=3)
    again = Shop(tmp_path, seed=1)
    again.stage("data", trees=3)
    again.stage("teacher", trees=4)
    again.stage("distill", trees=3)
    assert again.made == ["teacher", "distill"]


def test_another_seed_shares_nothing(tmp_path: Path) -> None:
    assert Shop(tmp_path, seed=1).stage("data") != Shop(tmp_path, seed=2).stage("data")


def test_the_code_of_a_stage_is_part_of_its_key(tmp_path: Path) -> None:
    shops = [Workshop(tmp_path, {}, print) for _ in range(2)]
    folders = [
        shop.stage("data", lambda _: None, code=code)
        for shop, code in zip(shops, [("split.py",), ("stages.py",)], strict=True)
    ]
    assert folders[0] != folders[1]


def test_the_code_of_a_recipe_is_its_module_and_what_that_uses() -> None:
    """What a module of the package imports from another belongs to it, at any depth."""
    assert list(code_of([write_json])) == ["edge_agent.factory.stages"]
    assert list(code_of([refuse_shared_groups, load_recipe])) == [
        "edge_agent.factory.recordings.csv_files",
        "edge_agent.factory.split",
    ]
    here = {
        "edge_agent.factory.recordings.csv_files",
        "edge_agent.factory.recipe",
        "edge_agent.factory.split",
        "edge_agent.factory.stages",
        __name__,
    }
    assert set(code_of([test_a_stage_is_made_once])) == here


def test_a_stage_that_fails_leaves_nothing_that_looks_done(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half.json").write_text("{")
        raise ValueError("killed")

    shop = Workshop(tmp_path, {}, print)
    with pytest.raises(ValueError, match="killed"):
        shop.stage("data", fails)
    assert list(tmp_path.iterdir()) == []


def test_recordings_that_change_change_the_key_and_missing_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    before = source_digests(tmp_path, ("*.csv",))
    (tmp_path / "a.csv").write_text("2")
    assert source_digests(tmp_path, ("*.csv",)) != before
    with pytest.raises(UsageError, match=r"no file \*\.txt .give the folder by --data"):
        source_digests(tmp_path, ("*.txt",))


def test_each_purpose_has_random_numbers_of_its_own() -> None:
    def draw(seed: int, purpose: str) -> float:
        return float(Context(seed, Path(), lambda steps, _: steps).random(purpose).random())

    assert draw(1, "split") == draw(1, "split")
    assert len({draw(1, "split"), draw(2, "split"), draw(1, "mix-up")}) == 3
