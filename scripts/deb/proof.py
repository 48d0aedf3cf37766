"""Install, upgrade, downgrade, remove and purge the package in a machine that systemd boots.

    scripts/package-proof                            # makes all it needs: five minutes, as root
    scripts/package-proof --wheelhouse DIR --root-tar debian.tar --json

The machine is a Debian 12 of mmdebstrap (needs a Debian mirror) under systemd-nspawn, without a
network and with a mosquitto; `guest.py` says what is done in it. One line a check; exit code 1 if
one does not hold. It shows nothing of arm64: no code of another processor runs here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from scripts.deb.__main__ import epoch_s
from scripts.deb.build import build_package
from scripts.deb.environment import make_environment, site_packages
from scripts.deb.target import MACHINES, Target
from scripts.deb.tree import Release
from scripts.rigs import ROOT

SUITE: Final = "bookworm"
PACKAGES: Final = "systemd,systemd-sysv,python3.11,ca-certificates,mosquitto,mosquitto-clients"
NEXT: Final = "9.9.9"
LIMIT_S: Final = 600.0
SERVICE: Final = """\
[Unit]
After=multi-user.target mosquitto.service
[Service]
Type=oneshot
TimeoutStartSec=500
ExecStart=/bin/sh -c 'exec /usr/bin/python3.11 /opt/out/guest.py > /opt/out/log 2>&1'
ExecStopPost=/bin/systemctl exit 0
[Install]
WantedBy=multi-user.target
"""


def main() -> int:
    """Run the proof and print its checks."""
    args = _arguments()
    if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None:
        print("scripts/package-proof needs root and systemd-nspawn", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="edge-agent-proof-") as work:
        checks = prove(Path(work), args)
    if args.json:
        print(json.dumps(checks, indent=1))
    else:
        for check in checks:
            print(f"{'holds ' if check['holds'] else 'BROKEN'} {check['what']}: {check['found']}")
    return int(not all(check["holds"] for check in checks))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/package-proof",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wheelhouse", type=Path, metavar="DIR", help="of scripts/wheelhouse")
    parser.add_argument(
        "--root-tar", type=Path, metavar="FILE", help="of mmdebstrap; made if absent"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def prove(work: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every check with what was found, in the order of the steps."""
    machine = {name: arch for arch, name in MACHINES.items()}[platform.machine()]
    target = Target(machine, "3.11")
    out = work / "out"
    out.mkdir()
    packages = _make_packages(work, args.wheelhouse, target)
    is_same = packages["now"].read_bytes() == packages["again"].read_bytes()
    same = {"what": "built twice", "found": "same bytes" if is_same else "", "holds": is_same}
    for name in ("now", "next"):
        shutil.move(packages[name], out / f"{name}.deb")
    shutil.copy2(Path(__file__).with_name("guest.py"), out)
    root = _make_machine(work, args.root_tar)
    (root / "etc/systemd/system/proof.service").write_text(SERVICE, encoding="utf-8")
    _tell("a machine boots")
    done = subprocess.run(
        ["systemd-nspawn", *_nspawn(root, out)],
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    found = out / "found.json"
    log = (out / "log").read_text(errors="replace")[-3000:] if (out / "log").exists() else ""
    if not found.exists():
        raise RuntimeError(f"the machine has found nothing: {log or done.stderr[-2000:]}")
    checks: list[dict[str, Any]] = json.loads(found.read_text())
    return [same, *checks]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _make_packages(work: Path, wheels: Path | None, target: Target) -> dict[str, Path]:
    """Today's package twice, and one of a later version with another default config."""
    if wheels is None:
        wheels = work / "wheels"
        command = [ROOT / "scripts" / "wheelhouse", wheels, target.machine, target.python]
        subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    _tell("packages are made")
    made = {}
    make_environment(work / "environment", wheels, target)
    for name in ("now", "again", "next"):
        root = work / name
        shutil.copytree(work / "environment", root, symlinks=True)
        release = Release(epoch_s())
        if name == "next":
            release = Release(epoch_s(), NEXT)
            init = site_packages(root, target) / "edge_agent" / "__init__.py"
            text = init.read_text()
            init.write_text(text.replace("__version__ = ", f'__version__ = "{NEXT}"  # '))
        made[name] = build_package(root, work / f"{name}-deb", release, target, "none")
    return made


def _make_machine(work: Path, tar: Path | None) -> Path:
    if tar is None:
        tar = work / "root.tar"
        _tell("a Debian is made")
        include = f"--include={PACKAGES}"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", include, SUITE, str(tar)]
        subprocess.run(command, check=True, cwd=work)
    root = work / "machine"
    root.mkdir()
    subprocess.run(["tar", "-C", str(root), "-xf", str(tar)], check=True)
    return root


def _nspawn(root: Path, out: Path) -> list[str]:
    return [
        *("--quiet", f"--directory={root}", "--boot", "--private-network", "--register=no"),
        *("--keep-unit", "--console=pipe", "--link-journal=no"),
        f"--machine=edge-agent-proof-{os.getpid()}",
        f"--bind={out}:/opt/out",
        "systemd.wants=proof.service",
        "systemd.mask=systemd-networkd-wait-online.service",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
