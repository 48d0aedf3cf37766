"""The Debian package: what is in it, and what its scripts do in a root of their own.

The wheels of the runtime are not installed here (the network, a minute): the environment is our own
wheel. scripts/package-proof shows the whole package under a booted systemd.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edge_agent import __version__
from scripts.deb.build import build_package
from scripts.deb.environment import PREFIX, make_environment
from scripts.deb.manual import escaped, manual_page
from scripts.deb.target import Target, lock_for
from scripts.deb.tree import COMPLETIONS, CONFIG, SCRIPTS, Release
from scripts.rigs import ROOT

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGET = Target("amd64", PYTHON)
RELEASE = Release(1_700_000_000)
LATER = Release(1_700_000_000, "99.0")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with /opt/edge-agent in it: our own wheel, made without the network."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    wheels = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheels / "requirements.txt").write_text("")
    root = tmp_path_factory.mktemp("environment") / "root"
    make_environment(root, wheels, TARGET)
    return root


@pytest.fixture(scope="module")
def packages(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Today's package and a later one."""
    return [
        build(environment, tmp_path_factory.mktemp("deb"), release) for release in (RELEASE, LATER)
    ]


def build(environment: Path, folder: Path, release: Release) -> Path:
    root = folder / "root"
    shutil.copytree(environment, root, symlinks=True)
    return build_package(root, folder, release, TARGET, "none")


def contents(package: Path) -> dict[str, str]:
    """Mode by path, as dpkg-deb lists them."""
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True
    )
    rows = (line.split(maxsplit=5) for line in listed.stdout.splitlines())
    return {row[5].split(" -> ")[0].removeprefix("."): f"{row[0]} {row[1]}" for row in rows}


def field(package: Path, name: str) -> str:
    done = subprocess.run(
        ["dpkg-deb", "--field", str(package), name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_it_says_what_it_is_and_needs(packages: list[Path]) -> None:
    package, later = packages
    assert field(package, "Version") == f"{__version__}+py{PYTHON.replace('.', '')}-1"
    assert f"python{PYTHON}" in field(package, "Depends").split(", ")
    compare = ["dpkg", "--compare-versions", field(later, "Version"), "gt"]
    assert subprocess.run([*compare, field(package, "Version")], check=False).returncode == 0


def test_its_files_have_their_places_and_modes(packages: list[Path]) -> None:
    """Config and secrets are not for everybody; nothing but the program itself is executable."""
    found = contents(packages[0])
    assert found["/etc/edge-agent/edge-agent.yaml"] == "-rw-r----- root/root"
    assert found["/etc/edge-agent/secrets/"] == "drwx------ root/root"
    assert found["/usr/lib/systemd/system/edge-agent.service"] == "-rw-r--r-- root/root"
    assert "/usr/share/man/man1/edge-agent.1.gz" in found
    assert set(COMPLETIONS.values()) <= {name.removeprefix("/") for name in found}
    assert f"/{PREFIX}/share/edge-agent/models/demo-pump/model.onnx" in found
    runs = [name for name, mode in found.items() if mode.startswith("-") and "x" in mode[:10]]
    assert runs == [f"/{PREFIX}/bin/edge-agent"]


def test_nothing_in_it_names_the_folder_of_its_build(environment: Path) -> None:
    assert not list(environment.rglob("RECORD"))
    assert not list(environment.rglob("direct_url.json"))
    assert not list(environment.rglob("__pycache__"))


def test_it_can_be_made_again_byte_by_byte(
    environment: Path, packages: list[Path], tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        again = build(environment, tmp_path, RELEASE)
    finally:
        os.umask(before)
    assert again.read_bytes() == packages[0].read_bytes()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_maintainer_script_is_sound(script: str) -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        [program, str(ROOT / "deploy" / "deb" / script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


# -- dpkg in a root of its own --------------------------------------------------------------------


class Machine:
    """A root file system with a package database and nothing else; its scripts run from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "usr/bin"):
            (root / name).mkdir(parents=True)
        for name in ("var/lib/dpkg/status", "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"):
            (root / name).touch()
        self.before = self.files()

    def dpkg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["dpkg", f"--root={self.root}", "--force-script-chrootless", "--force-depends"]
        command += ["--force-confold", f"--log={self.root}.log"]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    def done(self, *arguments: str) -> None:
        done = self.dpkg(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> set[str]:
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in found if not name.startswith("var/lib/dpkg")}

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for program in ("dpkg", "systemd-sysusers", "systemd-tmpfiles", "userdel"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root may give files to another account")
    return Machine(tmp_path / "root")


def test_an_installation_has_its_account_folders_and_command(
    machine: Machine, packages: list[Path]
) -> None:
    machine.done("--install", str(packages[0]))
    number = next(
        line.split(":")[2:4]
        for line in machine.text("etc/passwd").splitlines()
        if line.startswith("edge-agent:")
    )
    state = (machine.root / "var/lib/edge-agent/models").stat()
    config = (machine.root / CONFIG).stat()
    assert [str(state.st_uid), str(state.st_gid)] == number
    assert (config.st_uid, str(config.st_gid), config.st_mode & 0o777) == (0, number[1], 0o640)
    assert (machine.root / "usr/bin/edge-agent").readlink() == Path(f"/{PREFIX}/bin/edge-agent")


def test_an_upgrade_keeps_config_and_state(machine: Machine, packages: list[Path]) -> None:
    """Also the mode that the site gave its config."""
    machine.done("--install", str(packages[0]))
    (machine.root / CONFIG).write_text("gateway: {id: ours}\n")
    (machine.root / CONFIG).chmod(0o600)
    (machine.root / "var/lib/edge-agent/edge-agent.db").write_text("alarms")
    machine.done("--install", str(packages[1]))
    assert machine.text(CONFIG) == "gateway: {id: ours}\n"
    assert (machine.root / CONFIG).stat().st_mode & 0o777 == 0o600
    assert machine.text("var/lib/edge-agent/edge-agent.db") == "alarms"


def test_a_removal_leaves_config_and_state_alone(machine: Machine, packages: list[Path]) -> None:
    machine.done("--install", str(packages[0]))
    (machine.root / "var/lib/edge-agent/edge-agent.db").write_text("alarms")
    cache = (
        machine.root / PREFIX / "lib" / f"python{PYTHON}" / "site-packages/edge_agent/__pycache__"
    )
    cache.mkdir()
    (cache / "clock.cpython-311.pyc").touch()
    machine.done("--remove", "edge-agent")
    left = machine.files() - machine.before
    assert not [name for name in left if name.startswith(("opt", "usr/lib/systemd", "usr/bin/"))]
    assert {CONFIG, "var/lib/edge-agent/edge-agent.db"} <= left


def test_a_purge_leaves_nothing(machine: Machine, packages: list[Path]) -> None:
    """Secrets, drop-ins, learned models and the account go, too."""
    machine.done("--install", str(packages[0]))
    (machine.root / "etc/edge-agent/secrets/mqtt-password").write_text("secret")
    drop_in = machine.root / "etc/systemd/system/edge-agent.service.d/site.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\n")
    (machine.root / "var/lib/edge-agent/models/learned-P-1").mkdir()
    machine.done("--purge", "edge-agent")
    left = {name for name in machine.files() - machine.before if "edge-agent" in name}
    assert left == set()
    assert "edge-agent" not in machine.text("etc/passwd") + machine.text("etc/group")


def test_it_does_not_mix_with_an_installation_by_hand(
    machine: Machine, packages: list[Path]
) -> None:
    (machine.root / PREFIX).mkdir(parents=True)
    (machine.root / PREFIX / "pyvenv.cfg").write_text("by hand\n")
    done = machine.dpkg("--install", str(packages[0]))
    assert done.returncode != 0
    assert "mv /opt/edge-agent /opt/edge-agent.before" in done.stderr
    assert [path.name for path in (machine.root / PREFIX).iterdir()] == ["pyvenv.cfg"]


# -- what a lock means elsewhere, and the manual page ---------------------------------------------


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_lock_for_a_target_is_what_pip_reads_there(arch: str, python: str) -> None:
    """One version of each package, all hashes, no condition left to judge."""
    text = (ROOT / "requirements" / "runtime.txt").read_text()
    kept = lock_for(text, Target(arch, python))
    heads = [line for line in kept.splitlines() if line[:1].isalnum()]
    names = [Requirement(line.rstrip(" \\")).name for line in heads]
    assert len(names) == len(set(names))
    assert not [line for line in heads if ";" in line]
    assert ("wait-for2" in names) == (python == "3.11")
    (numpy,) = (line for line in heads if line.startswith("numpy=="))
    wanted = {"3.11": "<"}.get(python, ">=")
    assert f"{numpy.split()[0]} ; python_full_version {wanted} '3.12'" in text
    assert all(f"--hash=sha256:{part.split()[0]}" in text for part in kept.split("sha256:")[1:])


def test_the_manual_page_has_every_command_and_option() -> None:
    page = manual_page(1_700_000_000)
    assert page.startswith(".TH EDGE-AGENT 1 2023-11-14")
    for words in (".SS edge\\-agent alarms ack", "\\-\\-connect", ".B 78", "SH FILES"):
        assert words in page
    program = shutil.which("man")
    if program is not None:
        done = subprocess.run(
            [program, "-l", "--warnings", "-Tutf8", "-"],
            input=page,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "warning" not in done.stderr


def test_text_of_a_command_is_no_order_to_roff() -> None:
    assert escaped(".so /etc/passwd") == r"\&.so /etc/passwd"
    assert escaped(r"a\b --x") == r"a\eb \-\-x"
