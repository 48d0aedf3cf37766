"""Make a Debian package of this checkout; scripts/package runs this.

scripts/package /tmp/deb
scripts/package /tmp/deb --arch arm64 --python 3.11 --wheelhouse /tmp/wheelhouse
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from scripts.deb.build import build_package
from scripts.deb.environment import make_environment
from scripts.deb.target import MACHINES, Target
from scripts.deb.tree import Release
from scripts.rigs import ROOT


def main() -> int:
    """Collect the wheels, make the package and print its path."""
    args = _arguments()
    target = Target(args.arch, args.python)
    with tempfile.TemporaryDirectory(prefix="edge-agent-deb-") as work:
        wheels = args.wheelhouse or _wheelhouse(Path(work) / "wheels", target)
        root = Path(work) / "root"
        root.mkdir()
        print(f"installing {len(list(wheels.glob('*.whl')))} wheels", flush=True)
        make_environment(root, wheels, target)
        print(f"compressing with {args.compression}", flush=True)
        made = build_package(root, args.folder, Release(epoch_s()), target, args.compression)
    print(f"{made}: {made.stat().st_size / 1e6:.0f} MB")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/package",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = {machine: arch for arch, machine in MACHINES.items()}.get(platform.machine())
    parser.add_argument("folder", type=Path, help="where the .deb goes")
    parser.add_argument("--arch", choices=MACHINES, default=here, required=here is None)
    parser.add_argument(
        "--python", default="3.11", metavar="X.Y", help="the gateway's Python: Debian 12 has 3.11"
    )
    parser.add_argument("--wheelhouse", type=Path, metavar="DIR", help="made by scripts/wheelhouse")
    parser.add_argument("--compression", choices=("xz", "zstd", "gzip", "none"), default="xz")
    return parser.parse_args()


def _wheelhouse(folder: Path, target: Target) -> Path:
    command = [str(ROOT / "scripts" / "wheelhouse"), str(folder), target.machine, target.python]
    subprocess.run(command, check=True)
    return folder


def epoch_s() -> int:
    """SOURCE_DATE_EPOCH, else the time of the commit."""
    if named := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(named)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    raise SystemExit(main())
