"""Several files as one config: what merges, what is a problem, and where it is said to be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from config_tables import find_problems, load

if TYPE_CHECKING:
    from pathlib import Path

MAIN = """\
include: [plant/*.yaml, local.yaml]
sources:
  s: {type: bus, host: h}
templates:
  t: {signals: {x: {}}}
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "main.yaml"


def said(main: Path) -> list[str]:
    """The problems, with the folder's name left out."""
    config, problems = find_problems(main)
    assert (config is None) == bool(problems)
    return [str(problem).replace(f"{main.parent}{os.sep}", "") for problem in problems]


def test_maps_merge_by_key(tmp_path: Path) -> None:
    """Globs and files, maps of entries and the keys of a section, in the order of reading."""
    main = write(
        tmp_path,
        {
            "main.yaml": MAIN + "gateway: {site: north}",
            "plant/b.yaml": "assets: {B: {template: t}}",
            "plant/a.yaml": "assets: {A: {template: t}}\nsources: {r: {type: bus, host: h}}",
            "local.yaml": "gateway: {id: g7}\ntemplates: {u: {signals: {y: {source: r}}}}\n",
        },
    )
    main.write_text(main.read_text().replace("{x: {}}", "{x: {source: s}}"))
    config = load(main)
    assert list(config.assets) == ["A", "B"]
    assert list(config.sources) == ["s", "r"]
    assert list(config.templates) == ["t", "u"]
    assert (config.gateway.id, config.gateway.site) == ("g7", "north")


def test_a_key_in_two_files_names_both(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {
            "main.yaml": MAIN + "topic_root: a",
            "plant/a.yaml": "assets:\n  A: {template: t}",
            "plant/b.yaml": "\nassets:\n  A: {template: t}",
            "local.yaml": "topic_root: b",
        },
    )
    assert said(main) == [
        "plant/b.yaml:3: assets.A: written twice: first at plant/a.yaml:2",
        "local.yaml:1: topic_root: written twice: first at main.yaml:6",
    ]


def test_a_problem_is_said_of_the_file_it_stands_in(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {"main.yaml": MAIN, "local.yaml": "\nassets:\n  A: {template: u}\n  B: {tmplate: t}"},
    )
    assert said(main) == [
        "local.yaml:3: assets.A.template: there is no template 'u' (known: t)",
        "local.yaml:4: assets.B.tmplate: unknown key 'tmplate' (did you mean 'template'?)",
        "local.yaml:4: assets.B: missing key 'template'",
    ]


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {
            "main.yaml": MAIN.replace("plant/*.yaml, local.yaml", "sub/x.yaml"),
            "sub/x.yaml": "store: {path: state.db}\ninclude: [../more.yaml]",
            "more.yaml": "models_dir: m",
        },
    )
    config = load(main)
    assert config.store.path == tmp_path / "sub/state.db"
    assert config.models_dir.resolve() == tmp_path / "m"


def test_one_name_instead_of_a_list(tmp_path: Path) -> None:
    main = write(tmp_path, {"main.yaml": MAIN.replace("[plant/*.yaml, local.yaml]", "b.yaml")})
    (tmp_path / "b.yaml").write_text("topic_root: b")
    assert load(main).topic_root == "b"


def test_a_glob_may_match_nothing(tmp_path: Path) -> None:
    main = write(tmp_path, {"main.yaml": MAIN.replace(", local.yaml", "")})
    assert said(main) == []


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    """References are not judged while a file they may lead to is unread."""
    main = write(tmp_path, {"main.yaml": MAIN + "assets: {A: {template: far}}"})
    (line,) = said(main)
    assert line.startswith("main.yaml:1: include: there is no file ")


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        {"main.yaml": MAIN + "topic_root: a/b", "local.yaml": "a: [", "plant/a.yaml": "b: 1"},
    )
    assert [line.split(": ")[0] for line in said(main)] == [
        "main.yaml:6",
        "plant/a.yaml:1",
        "local.yaml:1",
    ]


@pytest.mark.parametrize("via", ["main.yaml", "./main.yaml", "plant/../main.yaml"])
def test_a_cycle_is_found_under_any_name(tmp_path: Path, via: str) -> None:
    main = write(tmp_path, {"main.yaml": MAIN, "plant/a.yaml": "topic_root: x", "local.yaml": ""})
    (tmp_path / "local.yaml").write_text(f"include: [{via}]")
    (line,) = said(main)
    assert line.startswith("local.yaml:1: include: ")
    assert "includes itself" in line


def test_a_file_included_twice_is_one_problem(tmp_path: Path) -> None:
    main = write(tmp_path, {"main.yaml": MAIN, "local.yaml": "include: [plant/a.yaml]"})
    write(tmp_path, {"plant/a.yaml": "assets: {A: {template: t}}"})
    (line,) = said(main)
    assert line.startswith("local.yaml:1: include: ")
    assert line.endswith("is already included (at main.yaml:1)")


def test_includes_are_bounded_in_depth(tmp_path: Path) -> None:
    write(tmp_path, {f"f{n}.yaml": f"include: [f{n + 1}.yaml]" for n in range(30)})
    main = write(tmp_path, {"main.yaml": "include: [f0.yaml]"})
    (line,) = said(main)
    assert "includes are more than 10 deep" in line


def test_includes_are_bounded_in_number(tmp_path: Path) -> None:
    write(tmp_path, {f"many/{n}.yaml": "gateway: {}" for n in range(1100)})
    main = write(tmp_path, {"main.yaml": "include: ['many/*.yaml']"})
    assert "more than 1000 files" in said(main)[-1]


def test_the_budget_holds_for_all_files_together(tmp_path: Path) -> None:
    """Each file is small enough alone."""
    text = "assets: {" + ", ".join(f"@{n}: {{template: t}}" for n in range(20_000)) + "}"
    write(tmp_path, {f"plant/{k}.yaml": text.replace("@", k) for k in "abc"})
    main = write(tmp_path, {"main.yaml": MAIN.replace(", local.yaml", "")})
    (line,) = said(main)
    assert "more than 200000 values" in line


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Opening one for reading would block until somebody writes."""
    os.mkfifo(tmp_path / "local.yaml")
    main = write(tmp_path, {"main.yaml": MAIN})
    (line,) = said(main)
    assert "is not a regular file" in line


def test_include_stands_at_the_top_only(tmp_path: Path) -> None:
    main = write(tmp_path, {"main.yaml": MAIN.replace("include: [plant/*.yaml, local.yaml]", "")})
    with main.open("a") as file:
        file.write("gateway: {include: x}")
    assert "gateway.include: unknown key 'include'" in said(main)[0]
