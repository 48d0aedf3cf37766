"""A recipe of pictures: which files have which class and product, and which part they are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.errors import ConfigError, UsageError
from edge_agent.factory.pictures.folders import Labelled, list_pictures, load_recipe
from edge_agent.factory.pictures.parts import drawn_test, fold_of
from edge_agent.labelled import LabelledPicture, LabelledSet

HERE = Path("x")


def recipe(folder: Path, text: str = "pictures: [set]") -> tuple[Labelled, ...]:
    file = folder / "parts.yaml"
    file.write_text(f"name: parts\nkind: pictures\n{text}\n")
    return list_pictures(load_recipe(file), folder)


def files(folder: Path, *names: str) -> None:
    """Files with a content of their own; it is not decoded here."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def folders(folder: Path, count: int = 8) -> None:
    for label in ("good", "scratch"):
        files(folder, *(f"set/{label}/{label[0]}{i // 2}-{i % 2}.png" for i in range(count)))


def test_a_folder_is_a_class_and_the_pattern_finds_the_product(tmp_path: Path) -> None:
    """Files below subfolders too; what is no picture is left out."""
    folders(tmp_path)
    files(tmp_path, "set/good/more/g9-0.JPG", "set/good/notes.txt", "set/g9-1.png")
    found = recipe(tmp_path, 'pictures: [set]\ngroup: "/([a-z][0-9]+)-"')
    labels = {one.file.name: (one.label, one.group) for one in found}
    assert labels["g0-1.png"] == ("good", "g0")
    assert labels["s3-0.png"] == ("scratch", "s3")
    assert labels["g9-0.JPG"] == ("good", "g9")
    assert len(found) == 17


def test_the_same_picture_of_two_products_joins_them(tmp_path: Path) -> None:
    """Else it would be in the training and in the test; it counts once."""
    folders(tmp_path, 12)
    (tmp_path / "set/good/g1-1.png").write_bytes(b"set/good/g0-0.png")
    found = recipe(tmp_path, 'pictures: [set]\ngroup: "/([a-z][0-9]+)-"')
    joined = {one.file.name: one.group for one in found}
    assert len(joined) == 23
    assert joined["g0-0.png"] == joined["g1-0.png"] != joined["g2-0.png"]


def test_a_table_names_label_product_weight_and_part(tmp_path: Path) -> None:
    folders(tmp_path)
    rows = [f"set/good/g{i // 2}-{i % 2}.png,good,{i // 2},1,train" for i in range(8)]
    rows += [f"set/scratch/s{i // 2}-{i % 2}.png,worn,{i // 2},0.33,test" for i in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group,weight,part", *rows]))
    found = recipe(tmp_path, "table: labels.csv")
    assert {(one.label, one.weight, one.part) for one in found} == {
        ("good", 1.0, "train"),
        ("worn", 0.33, "test"),
    }
    assert found[0].group == "0"


def test_the_labelled_set_is_read_as_it_is(tmp_path: Path) -> None:
    """False alarms are good, true ones have the class of their part; the rest tells nothing."""
    kept = LabelledSet(tmp_path / "labelled", 1 << 20, 1 << 60)
    verdicts = [("false", "")] * 8 + [("true", "scratch")] * 8 + [("true", "")] * 8
    for number, (verdict, part) in enumerate([*verdicts, ("planned", ""), ("none", "")]):
        data = b"\xff\xd8\xff" + bytes([number])
        kept.add(LabelledPicture("LID.p", "LID", number, data), verdict, part, 0)
    found = recipe(tmp_path, "labelled: labelled")
    counts = {label: sum(one.label == label for one in found) for label in {f.label for f in found}}
    assert counts == {"good": 8, "scratch": 8, "defect": 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pictures: [nothing]", "no such folder"),
        ("table: nothing.csv", "cannot be read"),
        ("pictures: [set]\nhealthy: fine", "the classes found are: good 8, scratch 8"),
        ("pictures: [few]", "too few pictures: bad 1, good 1"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, message: str) -> None:
    folders(tmp_path)
    files(tmp_path, "few/good/a.png", "few/bad/b.png")
    with pytest.raises(UsageError, match=message):
        recipe(tmp_path, text)


def test_a_picture_with_two_classes_is_refused(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "set/scratch/s0-0.png").write_bytes(b"set/good/g0-0.png")
    with pytest.raises(UsageError, match=r"the same picture is 'scratch' here and 'good'"):
        recipe(tmp_path)


@pytest.mark.parametrize(
    ("text", "key"),
    [("", "pictures"), ("pictures: [a]\nsize: 100", "size"), ("table: a\ngroup: '('", "group")],
)
def test_a_wrong_recipe_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        recipe(tmp_path, text)


def labelled(products: int, told: str = "") -> list[Labelled]:
    """Two pictures of each product; every fourth one is worn."""
    return [
        Labelled(HERE / f"{n}", "worn" if n % 4 == 0 else "good", f"p{n}", part=told)
        for n in range(products)
        for _ in range(2)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_product_is_in_two_parts_and_kinds_keep_their_share(seed: int) -> None:
    pictures = labelled(80)
    test = drawn_test(pictures, 0.25, np.random.default_rng(seed))
    folds = fold_of(pictures, 5, np.random.default_rng(seed))
    for found in (test.astype(int), folds):
        by_product = {(one.group, part) for one, part in zip(pictures, found.tolist(), strict=True)}
        assert len(by_product) == 80
    worn = np.array([one.label == "worn" for one in pictures])
    assert (test[worn].sum(), test[~worn].sum()) == (10, 30)
    assert np.bincount(folds[worn]).tolist() == [8] * 5


def test_the_part_of_a_table_is_not_drawn() -> None:
    pictures = [
        *labelled(8, "test"),
        *(Labelled(HERE, "good", f"q{n}", part="train") for n in "ab"),
    ]
    assert drawn_test(pictures, 0.5, np.random.default_rng(0)).tolist() == [True] * 16 + [False] * 2
