"""The files of the package beside its Python environment, and its control files."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent import __version__
from edge_agent.cli.completion import script_for
from scripts.deb.environment import PREFIX
from scripts.deb.manual import manual_page
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.deb.target import Target

NAME: Final = "edge-agent"
CONFIG: Final = "etc/edge-agent/edge-agent.yaml"
PARTS: Final = ROOT / "deploy" / "deb"
MAINTAINER: Final = "edge-agent maintainers <maintainers@edge-agent.invalid>"
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
# From the checkout: where it goes, and its mode.
FILES: Final = {
    "systemd/edge-agent.service": ("usr/lib/systemd/system/edge-agent.service", 0o644),
    "systemd/edge-agent.sysusers.conf": ("usr/lib/sysusers.d/edge-agent.conf", 0o644),
    "deploy/deb/tmpfiles.conf": ("usr/lib/tmpfiles.d/edge-agent.conf", 0o644),
    "config/minimal-mqtt.yaml": (CONFIG, 0o640),
    "config/edge-agent.yaml": ("usr/share/doc/edge-agent/examples/edge-agent.yaml", 0o644),
    "deploy/deb/copyright": ("usr/share/doc/edge-agent/copyright", 0o644),
    "deploy/deb/lintian-overrides": ("usr/share/lintian/overrides/edge-agent", 0o644),
}
FOLDERS: Final = {"etc/edge-agent": 0o750, "etc/edge-agent/secrets": 0o700}
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/edge-agent",
    "zsh": "usr/share/zsh/vendor-completions/_edge-agent",
    "fish": "usr/share/fish/vendor_completions.d/edge-agent.fish",
}
CONTROL: Final = """\
Package: {name}
Version: {version}
Architecture: {target.arch}
Maintainer: {maintainer}
Installed-Size: {size_kib}
Depends: python{target.python}, libc6 (>= 2.28), libgcc-s1, libstdc++6, systemd
Recommends: ca-certificates
Section: misc
Priority: optional
Description: sensor streams of a plant to maintenance alarms
 A daemon for a factory gateway: it reads OPC UA and MQTT, runs ONNX models on
 windows of the values, and raises ISA-18.2 alarms on the plant's bus. The
 program and its Python packages are in /opt/edge-agent.
"""


@dataclass(frozen=True)
class Release:
    """A version of the program, and the time of its sources in seconds since 1970."""

    epoch_s: int
    version: str = __version__

    def for_target(self, target: Target) -> str:
        """The package's version; that of a later Python is higher, so an OS upgrade is one too."""
        return f"{self.version}+py{target.python.replace('.', '')}-1"

    @property
    def changelog(self) -> str:
        """An entry in Debian's form; what changed is in the program's own changelog."""
        date = email.utils.formatdate(self.epoch_s)
        first = f"{NAME} ({self.version}-1) stable; urgency=medium\n\n"
        return f"{first}  * See changelog.gz.\n\n -- {MAINTAINER}  {date}\n"


def fill_tree(root: Path, release: Release, target: Target) -> None:
    """Everything but the Python environment, which is in `root` already, and control files."""
    for source, (name, mode) in FILES.items():
        _write(root / name, (ROOT / source).read_bytes(), mode)
    docs = root / "usr/share/doc" / NAME
    _write(docs / "changelog.gz", _gzipped((ROOT / "CHANGELOG.md").read_bytes()))
    _write(docs / "changelog.Debian.gz", _gzipped(release.changelog.encode()))
    page = manual_page(release.epoch_s).encode()
    _write(root / "usr/share/man/man1/edge-agent.1.gz", _gzipped(page))
    for shell, place in COMPLETIONS.items():
        _write(root / place, script_for(shell).encode())
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin" / NAME).symlink_to(f"/{PREFIX}/bin/{NAME}")
    for path in (root, *root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    for name, mode in FOLDERS.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    _fill_control(root, release, target)


def _fill_control(root: Path, release: Release, target: Target) -> None:
    files = list(files_of(root))
    size_kib = sum(-(-(root / name).lstat().st_size // 1024) for name in files)
    text = CONTROL.format(
        name=NAME,
        version=release.for_target(target),
        target=target,
        maintainer=MAINTAINER,
        size_kib=size_kib,
    )
    control = root / "DEBIAN"
    control.mkdir()
    control.chmod(0o755)
    _write(control / "control", text.encode())
    _write(control / "conffiles", f"/{CONFIG}\n".encode())
    _write(control / "md5sums", "".join(_checksums(root, files)).encode())
    for script in SCRIPTS:
        _write(control / script, (PARTS / script).read_bytes(), 0o755)


def files_of(root: Path) -> Iterator[str]:
    """Paths of files and links below `root`, sorted."""
    paths = sorted(root.rglob("*"))
    yield from (str(p.relative_to(root)) for p in paths if p.is_symlink() or not p.is_dir())


def _checksums(root: Path, files: list[str]) -> Iterator[str]:
    for name in files:
        if name != CONFIG and not (root / name).is_symlink():
            digest = hashlib.md5((root / name).read_bytes(), usedforsecurity=False)
            yield f"{digest.hexdigest()}  {name}\n"


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def set_modes(root: Path) -> None:
    """Modes of the environment that depend neither on the umask of the build nor on the wheels."""
    for path in root.rglob("*"):
        if not path.is_symlink() and not path.is_dir():
            path.chmod(0o755 if path.parent == root / PREFIX / "bin" else 0o644)
