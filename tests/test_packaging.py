"""What is installed is what was tested, under a name that is ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import sbom
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = {"runtime": (), "demo": ("demo",), "dev": ("demo", "dev"), "compress": ("compress",)}
APART = {"torch"}  # requirements/torch.txt
OWN = "edge-agent-pdm"


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def locked(name: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Requirements of a lock with the number of their hashes, by package."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for entry in re.split(r"\n(?=[A-Za-z])", re.sub(r"(?m)^#.*\n", "", text).strip()):
        first, *hashes = (part.strip() for part in entry.split("\\\n"))
        requirement = Requirement(first)
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), entry
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return found


@pytest.mark.parametrize("name", [*LOCKS, "audit", "build", "torch"])
def test_a_lock_names_one_version_and_the_hashes_of_its_files(name: str) -> None:
    for rows in locked(name).values():
        for requirement, hashes in rows:
            assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
            assert hashes > 0, requirement


@pytest.mark.parametrize(("name", "extras"), LOCKS.items())
def test_a_lock_fits_pyproject(name: str, extras: tuple[str, ...]) -> None:
    """After a change of pyproject.toml comes ./scripts/lock."""
    wanted = [*project()["dependencies"]]
    for extra in extras:
        wanted += project()["optional-dependencies"][extra]
    found = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        if requirement.name == OWN or requirement.name in APART:
            continue
        for pinned, _ in found[canonicalize_name(requirement.name)]:
            version = str(pinned.specifier).removeprefix("==")
            assert requirement.specifier.contains(version, prereleases=True), (text, version)


@pytest.mark.parametrize("name", ["demo", "dev", "compress"])
def test_what_is_tested_is_what_a_gateway_installs(name: str) -> None:
    """Every other lock stands on the versions of runtime.txt."""
    here, runtime = locked(name), locked("runtime")
    for package, rows in runtime.items():
        assert {str(r.specifier) for r, _ in here[package]} == {str(r.specifier) for r, _ in rows}


def test_torch_is_locked_in_the_version_that_the_factory_wants() -> None:
    (wanted,) = (r for r in project()["optional-dependencies"]["compress"] if "torch" in r)
    ((pinned, _),) = locked("torch")["torch"]
    assert str(pinned) == wanted


def test_no_text_of_ours_installs_a_strangers_package() -> None:
    """On the package index `edge-agent` is somebody else's program with our import name."""
    wrong = re.compile(
        r"pip install[^\n]*[ '\"]edge[-_]agent(?!-pdm|_pdm)(\[|'|\"| |==|$)", re.MULTILINE
    )
    folders = [ROOT / name for name in ("docs", "edge_agent", "scripts", "systemd", "config")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts = [*files, ROOT / "README.md", ROOT / "pyproject.toml"]
    found = [str(path) for path in texts if wrong.search(path.read_text(errors="replace"))]
    assert found == []
    assert wrong.search("pip install 'edge-agent[demo]'")


class Made(NamedTuple):
    """A wheel, and what making it left in the checkout."""

    wheel: Path
    left: set[str]


def wheel_in(folder: Path, umask: int) -> Path:
    """A wheel made without the network by the locked build tools."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, check=True, capture_output=True, umask=umask, env=environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    before = {one.name for one in ROOT.iterdir()}
    wheel = wheel_in(tmp_path_factory.mktemp("wheel"), 0o022)
    return Made(wheel, {one.name for one in ROOT.iterdir()} - before)


def test_the_wheel_is_whole_and_named_as_ours(made: Made) -> None:
    """Package data and the shipped bundles, and nothing of the tests."""
    wheel = made.wheel
    assert wheel.name.startswith("edge_agent_pdm-")
    names = zipfile.ZipFile(wheel).namelist()
    data = {p.relative_to(ROOT).as_posix() for p in (ROOT / "edge_agent").rglob("*.*")}
    data = {n for n in data if "__pycache__" not in n and not n.endswith(".pyc")}
    assert data <= set(names)
    assert any(n.endswith("share/edge-agent/models/demo-pump/model.onnx") for n in names)
    assert not [n for n in names if n.startswith(("tests/", "scripts/", "requirements/"))]


def test_making_a_wheel_leaves_nothing_in_the_checkout(made: Made) -> None:
    """Stale files of a build folder would be in the next installation."""
    assert made.left & {"build", "edge_agent.egg-info", "edge_agent_pdm.egg-info"} == set()


def test_the_wheel_can_be_made_again_byte_by_byte(made: Made, tmp_path: Path) -> None:
    """Whoever has the commit can check what was published; also with another umask."""
    assert wheel_in(tmp_path, 0o077).read_bytes() == made.wheel.read_bytes()


# -- the bill of materials ------------------------------------------------------------------------


def test_what_a_gateway_gets_may_be_shipped() -> None:
    packages = sbom.locked(sbom.LOCK.read_text())
    assert [text for package in packages if (text := sbom.problem_of(package))] == []


@pytest.mark.parametrize(
    ("wording", "expression"),
    [
        ("MIT License", "MIT"),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        ("GPL-3.0-only", ""),
        ("MIT AND AGPL-3.0-or-later", ""),
        ("see the file LICENSE", ""),
        ("", ""),
    ],
)
def test_a_licence_is_known_by_its_spdx_expression(wording: str, expression: str) -> None:
    assert sbom.spdx(wording) == expression


def test_a_package_without_a_licence_that_may_be_shipped_is_named() -> None:
    package = sbom.Package("numpy", "1.0", ("0" * 64,), "", ())
    assert "numpy 1.0: its licence" in sbom.problem_of(package)


def test_the_bill_names_each_package_and_model_and_can_be_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    packages = sbom.locked(sbom.LOCK.read_text())
    bill = sbom.bill(packages)
    assert json.dumps(bill) == json.dumps(sbom.bill(packages))
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    names = {canonicalize_name(component["name"]) for component in bill["components"]}
    assert set(locked("runtime")) | {"demo-pump", "turbofan-life", "bearing-fault"} == names
    refs = [component["bom-ref"] for component in bill["components"]]
    refs.append(bill["metadata"]["component"]["bom-ref"])
    assert len(set(refs)) == len(refs)
    assert {each for row in bill["dependencies"] for each in row["dependsOn"]} <= set(refs)
    needs = {row["ref"].split("@")[0]: row["dependsOn"] for row in bill["dependencies"]}
    assert any(ref.startswith("pkg:pypi/yarl@") for ref in needs["pkg:pypi/aiohttp"])
