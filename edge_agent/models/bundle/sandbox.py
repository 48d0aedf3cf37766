"""Child processes of the daemon, for code that may use too much memory or time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.models.bundle.kinds import WINDOW

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.kinds import BundleKind

_MAX_PROBLEMS: Final = 20
_MAX_TEXT: Final = 400
_MAX_REPORT: Final = 65_536
# If memory is short, the kernel ends the children before the daemon.
_RUN: Final = """
import importlib, json, sys
try:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
except OSError:
    pass
sys.path[:] = json.loads(sys.argv.pop(1))
sys.exit(importlib.import_module(sys.argv.pop(1)).main())
"""
_SIGNALS: Final = {
    signal.SIGKILL: "it was killed: too much memory",
    signal.SIGXCPU: "it took too much time",
    signal.SIGABRT: "it crashed the runtime",
    signal.SIGSEGV: "it crashed the runtime",
}


def child_command(module: str, *arguments: str) -> list[str]:
    """A command that runs the `main` of a module with only our own import path.

    `-I` excludes PYTHON* variables, the working folder and user packages; the path is passed
    explicitly, so that a checkout that is not installed works too.
    """
    path = json.dumps([entry for entry in sys.path if entry])
    return [sys.executable, "-I", "-c", _RUN, path, module, *arguments]


def child_environment() -> dict[str, str]:
    """The environment of a child: without secrets, and one thread for linear algebra."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "LC_ALL": "C.UTF-8"}


class Found(NamedTuple):
    """A child's report: problems as (reason, text), and the trial of the variants as JSON."""

    problems: list[tuple[str, str]]
    trial: object = None


def probe(folder: Path, digest: str, rules: BundleKind = WINDOW) -> Found:
    """Let a child parse, load and run the bundle whose manifest has that SHA-256."""
    command = child_command(rules.sandbox, str(folder), digest)
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter and module)
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=rules.wall_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{folder}: it took more than {rules.wall_s:g} s to try the model"
        return Found([("limits", text)])
    except OSError as error:
        return Found([("limits", f"{folder}: cannot try the model: {error.strerror}")])
    found = _reported(done.stdout)
    if done.returncode == 0:
        return Found([], found.trial)
    return Found(found.problems or [("limits", f"{folder}: {exit_reason(done)}")])


def exit_reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why a child ended, as text."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode)
        return _SIGNALS.get(name, f"it ended by {name.name}")
    last = done.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
    return f"the trial ended with code {done.returncode}: {last[:_MAX_TEXT]}"


def _reported(stdout: bytes) -> Found:
    """The child's report: one JSON line; it is untrusted, because the child ran the model."""
    try:
        found = json.loads(stdout[-_MAX_REPORT:])
        pairs = [(str(reason)[:32], str(text)[:_MAX_TEXT]) for reason, text in found["problems"]]
        trial = found["trial"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return Found([])
    clean = [(r, "".join(c if c.isprintable() else " " for c in t)) for r, t in pairs]
    return Found(clean[:_MAX_PROBLEMS], trial)
