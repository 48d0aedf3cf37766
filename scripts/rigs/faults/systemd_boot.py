"""A real systemd boots in a container and runs the daemon in the shipped unit.

The guest (`systemd_guest.py`) follows docs/install.md, and measures what systemd makes of a
process that hangs, a reload, a wrong config, a stop during the start, and an upgrade in place.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.testing import mean_bundle
from scripts.rigs import ROOT
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.rigs.faults.promises import Run

RESTART_S: Final = 10.0  # promised from the stop of the process to the next READY
RELOAD_OPENS: Final = 0
STOP_S: Final = 10.0  # in the middle of a start
MODELS: Final = 40  # that are loaded when the start is stopped
EXPOSURE: Final = 1.2
_BOOT_S: Final = 420.0
_NEXT: Final = "9.9.9"

SERVICE: Final = """\
[Unit]
After=basic.target
Wants=basic.target
[Service]
Type=oneshot
TimeoutStartSec=400
ExecStart=/bin/sh -c '{python} -m scripts.rigs.faults.systemd_guest {steps} > /opt/out/log 2>&1'
Environment=LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/tree:/opt/packages HOME=/root
ExecStopPost=/bin/systemctl exit 0
"""
# What docs/install.md installs by pip: a program in /opt/edge-agent, with what it imports.
PROGRAM: Final = """\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/edge-agent/tree:/opt/packages
exec {python} -m edge_agent "$@"
"""


def life(run: Run) -> Measured:
    """Install, hang, reload, break the config, stop the start, upgrade; see `systemd_guest`.

    The control hangs in a unit without the watchdog.
    """
    steps = ["all", "1" if run.quick else "3"] if run.protected else ["hang-unwatched", "1"]
    found = booted(run, steps)
    hung_s = max(found["hung_s"])
    figure = (
        f"a process that hangs is killed after {max(found['killed_s']):.1f} s at most, and "
        f"replaced after {hung_s:.1f} s (load {_load()})"
    )
    if not run.protected:
        return Measured(figure, holds=hung_s <= RESTART_S)
    checks = {
        f"ready after {found['start_s']:.1f} s": found["started"] == "active",
        figure: hung_s <= RESTART_S and found["heard_after_hang"],
        f"a reload opens {found['reload_opens']} connections": found["reload_opens"]
        == RELOAD_OPENS,
        "a reload with a wrong config changes nothing": found["bad_reload"] == ["failed", "same"],
        f"a wrong config ends with {found['bad_start'][1]}, restarts {found['bad_start'][2]}": (
            found["bad_start"] == ["failed", "78", "0"]
        ),
        f"a start of {MODELS} models is stopped after {found['stopped_s']:.1f} s": (
            found["stopped_s"] <= STOP_S and found["stopped"] == "success"
        ),
        f"upgrade to {found['upgraded']}: {found['lost']} of {found['raised']} alarms lost": (
            found["upgraded"] == _NEXT and not found["lost"] and found["raised"] > 0
        ),
    }
    wrong = [text for text, holds in checks.items() if not holds]
    return Measured(f"NOT: {'; '.join(wrong)}" if wrong else "; ".join(checks), not wrong)


def sandbox(run: Run) -> Measured:
    """Exposure by systemd's own measure, and a score and an alarm from inside the sandbox."""
    exposure = exposure_of(run)
    if not run.protected:
        return Measured(f"exposure {exposure}", holds=exposure <= EXPOSURE)
    found = booted(run, ["sandbox", "1"])
    inside = f"seccomp {found['seccomp']}, capabilities {found['capabilities']}"
    is_tight = found["seccomp"] == "2" and set(found["capabilities"]) == {"0"}
    figure = f"exposure {exposure}; {inside}; alarm {found['alarm']} of a model inside"
    scored = found["alarm"] == "unack" and found["user"] == "edge-agent"
    return Measured(figure, holds=exposure <= EXPOSURE and is_tight and scored)


def exposure_of(run: Run) -> float:
    """The overall exposure of the unit; the control has one without its filter of system calls."""
    unit = run.folder / "edge-agent.service"
    text = (ROOT / "systemd" / "edge-agent.service").read_text()
    if not run.protected:
        text = "".join(f"{x}\n" for x in text.splitlines() if not x.startswith("SystemCallFilter"))
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.rpartition("exposure level for")[2].split()
    return float(next(word for word in words if word[:1].isdigit()))


def booted(run: Run, steps: list[str]) -> Mapping[str, Any]:
    """Boot, let the guest go through these steps, and return what it found."""
    _fill(run.folder, steps)
    run.tell(f"a systemd boots: {' '.join(steps)}")
    done = subprocess.run(
        ["systemd-nspawn", *_arguments(run.folder)],
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BOOT_S,
        check=False,
    )
    found = run.folder / "found.json"
    if not found.exists():
        log = run.folder / "log"
        last = log.read_text(errors="replace")[-1500:] if log.exists() else done.stderr[-500:]
        raise RuntimeError(f"the guest has found nothing: {last}")
    result: dict[str, Any] = json.loads(found.read_text())
    return result


def _python() -> str:
    return f"/opt/python/bin/python{sysconfig.get_python_version()}"


def _load() -> str:
    return f"{os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"


def _fill(folder: Path, steps: list[str]) -> None:
    """Files for the guest: the program in two versions, its unit, a model, and many models."""
    folder.chmod(0o755)
    mean_bundle(folder / "models" / "watch", ["x"], length=1, step_s=0.0, threshold=50.0)
    for number in range(MODELS):
        mean_bundle(folder / "many" / f"m{number:02d}", ["x"], length=4)
    for version in ("now", "next"):
        shutil.copytree(
            ROOT / "edge_agent",
            folder / version / "edge_agent",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    init = folder / "next" / "edge_agent" / "__init__.py"
    lines = [x for x in init.read_text().splitlines() if not x.startswith("__version__")]
    init.write_text("\n".join([*lines, f'__version__ = "{_NEXT}"', ""]))
    (folder / "edge-agent").write_text(PROGRAM.format(python=_python()))
    (folder / "edge-agent").chmod(0o755)
    text = SERVICE.format(python=_python(), steps=" ".join(steps))
    (folder / "probe.service").write_text(text)


def _arguments(out: Path) -> list[str]:
    """The host's /usr under an empty root, Python and its packages beside it, all read-only."""
    mounts = {
        Path(sys.base_prefix): "/opt/python",
        Path(sysconfig.get_path("purelib")): "/opt/packages",
        ROOT / "edge_agent": "/opt/tree/edge_agent",
        ROOT / "scripts": "/opt/tree/scripts",
        ROOT / "systemd": "/opt/tree/systemd",
        out / "probe.service": "/etc/systemd/system/probe.service",
    }
    return [
        *("--quiet", "--directory=/", "--volatile=yes", "--boot", "--private-network"),
        *("--register=no", "--keep-unit", "--console=pipe", "--link-journal=no"),
        f"--machine=edge-agent-faults-{os.getpid()}",
        *(f"--bind-ro={source}:{target}" for source, target in mounts.items()),
        f"--bind={out}:/opt/out",
        "systemd.unit=probe.service",
        "systemd.mask=systemd-networkd-wait-online.service",
    ]
