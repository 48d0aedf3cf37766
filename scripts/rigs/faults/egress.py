"""Where the daemon and its children send to: every system call, seen by strace.

It runs in a network namespace of its own with a loopback only, so that a name server, a telemetry
service or an update server could not be reached, but each attempt is seen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from scripts.rigs import ROOT
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.rigs.faults.promises import Run

_TIMEOUT_S: Final = 300.0
_INET: Final = re.compile(
    r"sin6?_port=htons\((\d+)\).*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)"
)
_UNIX: Final = re.compile(r"sun_path=(@?\"[^\"]*\")")
_FAMILY: Final = re.compile(r"sa_family=(AF_\w+)")
_CALL: Final = re.compile(r"^\d+ +(?:connect|sendto|sendmsg|sendmmsg)\(")
_KERNEL: Final = "AF_NETLINK"  # goes to the kernel only


def egress(run: Run) -> Measured:
    """Count the destinations; in the control the processes of models call home."""
    found = _guest(run)
    allowed = set(found["allowed"])
    seen = destinations((run.folder / "strace").read_text(errors="replace").splitlines())
    strange = sorted(set(seen) - allowed)
    unheard = sorted(allowed - set(seen))
    figure = (
        f"{found['processes']} processes, {sum(seen.values())} calls to {len(seen)} destinations: "
        f"{len(strange)} not configured{': ' if strange else ''}{', '.join(strange[:4])}"
    )
    if unheard:  # what is configured must be seen, or the trace proves nothing
        raise RuntimeError(f"the trace lacks {', '.join(unheard)}: {figure}")
    return Measured(f"{figure}; {found['alarms']} alarms delivered", holds=not strange)


def destinations(lines: Iterable[str]) -> dict[str, int]:
    """Calls by destination, of a trace of strace."""
    seen: dict[str, int] = {}
    for line in lines:
        family = _FAMILY.search(line) if _CALL.match(line) else None
        if family is None or family[1] == _KERNEL:
            continue
        found, path = _INET.search(line), _UNIX.search(line)
        name = f"{found[2]}:{found[1]}" if found else path[1].strip('"') if path else family[1]
        seen[name] = seen.get(name, 0) + 1
    return seen


def _guest(run: Run) -> dict[str, Any]:
    words = [str(run.folder), "protected" if run.protected else "calls-home"]
    inside = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    done = subprocess.run(
        [*inside, sys.executable, "-m", "scripts.rigs.faults.egress_guest", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the guest ended with {done.returncode}: {done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads((run.folder / "found.json").read_text())
    return found
