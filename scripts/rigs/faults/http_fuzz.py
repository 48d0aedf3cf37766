"""schemathesis on the daemon's HTTP server: requests from /openapi.json, right and wrong."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import psutil
import yaml

from scripts.rigs.faults.flow import Flow, PatchedDaemon, Shape, broker_of, write_config
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.rigs.faults.promises import Run

LONG_S: Final = 600.0
QUICK_S: Final = 20.0
TOKEN: Final = "of-the-fuzzer-0123456789abcdef"  # noqa: S105 (for a daemon that lives for minutes)
ALLOWED_MIB: Final = 100.0
SHAPE: Final = Shape(assets=4, hz=2.0)
_CASES: Final = re.compile(r"([\d,]+) generated")
_LAST_LINES: Final = 40


def http_fuzz(run: Run) -> Measured:
    """Fuzz for ten minutes with the token, so that commands are executed too."""
    seconds = run.seconds or (QUICK_S if run.quick else LONG_S)
    with ExitStack() as stack:
        daemon = _start(run.folder, stack)
        process = psutil.Process(daemon.pid)
        before = process.memory_info().rss / (1 << 20)
        code, text = _schemathesis(daemon.url, seconds, run.folder)
        is_up = process.is_running() and daemon.is_ready()
        grown = process.memory_info().rss / (1 << 20) - before if is_up else 0.0
        defects = daemon.metric("defects_total")
        tracebacks = daemon.log().count("Traceback")
    found = _CASES.search(text)
    cases = found[1] if found else "no"
    figure = (
        f"{cases} requests in {seconds:.0f} s, {tracebacks} tracebacks, {defects:.0f} defects, "
        f"{grown:+.0f} MiB"
    )
    if code:
        failures = " | ".join(line.strip() for line in text.splitlines()[-_LAST_LINES:] if line)
        figure += f"; schemathesis ended with {code}: {failures}"
    calm = is_up and not tracebacks and not defects and grown < ALLOWED_MIB
    return Measured(figure, not code and found is not None and calm)


def _start(folder: Path, stack: ExitStack) -> PatchedDaemon:
    broker = broker_of(folder)
    broker.start()
    stack.callback(broker.stop)
    path = write_config(folder, broker.port, SHAPE.assets)
    config = yaml.safe_load(path.read_text())
    (folder / "token").write_text(TOKEN)
    config["http"]["token"] = {"file": str(folder / "token")}
    config["inference"] = {"enabled": True}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    daemon = PatchedDaemon(path, [])
    daemon.start()
    stack.callback(daemon.stop)
    stack.enter_context(Flow(broker.port, SHAPE))
    return daemon


def _schemathesis(url: str, seconds: float, folder: Path) -> tuple[int, str]:
    """(Exit code, output). A refusal is right; only 5xx and broken connections are failures."""
    command = ["schemathesis", "run", f"{url}/openapi.json", "--checks", "not_a_server_error"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--max-time", f"{seconds:.0f}"]
    command += ["--phases", "examples,coverage,fuzzing", "--request-timeout", "20"]
    # They connect to the plant and take longer than a request may here.
    command += ["--exclude-path-regex", "^/api/(doctor|sources/.*/tags)$"]
    command += ["--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=2 * seconds + 120, check=False
    )
    return done.returncode, done.stdout + done.stderr
