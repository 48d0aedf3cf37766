"""What is installed is what was tested, under a name that is ours."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


@pytest.mark.parametrize("name", [*LOCKS, "build", "torch"])
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The wheel, made without the network by the locked build tools."""
    before = {one.name for one in ROOT.iterdir()}
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
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
