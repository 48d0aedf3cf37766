"""The Python environment of the package: made from wheels, no code of them is run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scripts.deb.target import Target

PREFIX: Final = Path("opt/edge-agent")
OWN: Final = "edge_agent_pdm"
# Debian's python3-venv would make the same three things, and a copy of pip that nobody is to use.
PYVENV: Final = """\
home = /usr/bin
include-system-site-packages = false
version = {python}
"""
PROGRAM: Final = """\
#!/opt/edge-agent/bin/python3
import sys

from edge_agent.cli import main

sys.exit(main())
"""
_OF_PIP: Final = ("RECORD", "REQUESTED", "direct_url.json")


def make_environment(root: Path, wheels: Path, target: Target) -> None:
    """Fill /opt/edge-agent below `root` with every wheel of a wheelhouse's requirements.txt."""
    prefix = root / PREFIX
    site = site_packages(root, target)
    _install(_whole_lock(wheels), wheels, site, target)
    shutil.rmtree(site / "bin", ignore_errors=True)
    shutil.move(site / "share", prefix / "share")
    for folder in site.glob("*.dist-info"):
        _hand_to_dpkg(folder)
    _make_programs(prefix, target)


def site_packages(root: Path, target: Target) -> Path:
    """The folder of the packages below `root`."""
    return root / PREFIX / "lib" / f"python{target.python}" / "site-packages"


def _whole_lock(wheels: Path) -> str:
    """The lock of a wheelhouse, and its wheel of edge-agent with the hash that it has."""
    (own,) = wheels.glob(f"{OWN}-*.whl")
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    return f"{(wheels / 'requirements.txt').read_text()}\n{own} --hash=sha256:{digest}\n"


def _install(lock: str, wheels: Path, site: Path, target: Target) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--no-index", "--no-deps"]
    command += ["--no-compile", "--disable-pip-version-check", "--target", str(site)]
    command += ["--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", target.python]
    command += [word for tag in target.platforms for word in ("--platform", tag)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(lock)
        file.flush()
        command += ["--require-hashes", "--find-links", str(wheels), "-r", file.name]
        subprocess.run(command, check=True)


def _hand_to_dpkg(folder: Path) -> None:
    """Name the installer; PEP 627 lets pip's lists, which name paths of the build, be absent."""
    for name in _OF_PIP:
        (folder / name).unlink(missing_ok=True)
    (folder / "INSTALLER").write_text("dpkg\n", encoding="utf-8")


def _make_programs(prefix: Path, target: Target) -> None:
    (prefix / "pyvenv.cfg").write_text(PYVENV.format(python=target.python), encoding="utf-8")
    programs = prefix / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"/usr/bin/python{target.python}")
    (programs / "edge-agent").write_text(PROGRAM, encoding="utf-8")
    (programs / "edge-agent").chmod(0o755)
