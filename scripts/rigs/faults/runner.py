"""Runs promises: their tests in a pytest of their own, their rig here, then the control."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.rigs import ROOT, find_node_modules
from scripts.rigs.faults.plugin import REPORT, WITHOUT
from scripts.rigs.faults.promises import Measured, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.rigs.faults.promises import Control, Promise, Run

HELD: Final = "held"
BROKEN: Final = "broken"
NOT_RUN: Final = "not run"
TESTS_TIMEOUT_S: Final = 1800.0
_LAST_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a promise; control: what became of its negative control; why: the errors."""

    promise: Promise
    verdict: str
    figure: str = ""
    control: str = ""
    seconds: float = 0.0
    why: str = ""


def examine(promise: Promise, run: Run) -> Result:
    """Run a promise and then its control. Missing programs, and skipped tests, are "not run".

    run: its folder and `protected` are chosen here.
    """
    missing = [need for need in promise.needs if not need.is_there()]
    if missing or promise.unmeasured:
        texts = [f"{need.name} is missing: {need.install}" for need in missing]
        return Result(promise, NOT_RUN, why="; ".join(texts) or promise.unmeasured)
    began_s = time.monotonic()
    verdict, figure, why = _measure(promise, run)
    control = ""
    if verdict == HELD and promise.control is not None:
        run.tell("control")
        fails, saw = _fails_without(promise, promise.control, run)
        control = f"{promise.control.what}: {'fails' if fails else 'DOES NOT FAIL'}{saw}"
        if not fails:
            verdict, why = BROKEN, f"the control does not fail: the test proves nothing{saw}"
    return Result(promise, verdict, figure, control, time.monotonic() - began_s, why)


def _measure(promise: Promise, run: Run) -> tuple[str, str, str]:
    """(verdict, figure, errors)."""
    figures, failed, skipped = [], [], {}
    if promise.rig is not None:
        measured = _run_rig(promise, run, protected=True)
        figures.append(measured.figure)
        failed += [] if measured.holds else [measured.figure]
    if tests := _tests_of(promise, run):
        outcome = run_tests(tests, tell=run.tell)
        figures += [*outcome.figures, f"{len(outcome.passed)} tests"]
        failed += [*outcome.failed, *([outcome.output] if outcome.failed else [])]
        skipped = outcome.skipped
    verdict = BROKEN if failed else NOT_RUN if skipped else HELD
    why = [*failed, *(f"{test}: skipped, {reason}" for test, reason in skipped.items())]
    return verdict, "; ".join(figures), "\n".join(why)


def _tests_of(promise: Promise, run: Run) -> tuple[str, ...]:
    """In the short form only those that the control needs: CI runs the others anyway."""
    control = promise.control
    return control.failing if run.quick and control and control.failing else promise.tests


def _fails_without(promise: Promise, control: Control, run: Run) -> tuple[bool, str]:
    """(Whether the same steps fail without the protection, what was measured)."""
    if control.tests:
        outcome = run_tests(control.tests, tell=run.tell)
        return bool(outcome.passed) and not outcome.failed and not outcome.skipped, ""
    if control.failing:
        outcome = run_tests(control.failing, without=control.without, tell=run.tell)
        passed = [test for test in control.failing if not _has_failed(test, outcome)]
        return not passed, f" ({', '.join(passed)} passed)" if passed else ""
    measured = _run_rig(promise, run, protected=False)
    return not measured.holds, f" ({measured.figure})"


def _has_failed(test: str, outcome: Outcome) -> bool:
    return any(failed.startswith(f"tests/{test}") for failed in outcome.failed)


def _run_rig(promise: Promise, run: Run, *, protected: bool) -> Measured:
    """Run the rig; for a control an exception is no failure of the promise, but of the rig."""
    assert promise.rig is not None  # noqa: S101 (for mypy)
    with tempfile.TemporaryDirectory(prefix="edge-agent-faults.") as scratch:
        try:
            return promise.rig(replace(run, folder=Path(scratch), protected=protected))
        except Exception as error:  # noqa: BLE001 (one broken rig stops no other)
            return Measured(f"{type(error).__name__}: {error}", holds=not protected)


def run_tests(
    tests: Sequence[str], *, without: str = "", tell: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Run these tests; without: the protection to switch off, a function of `unprotected.py`."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-faults.") as scratch:
        report, log = Path(scratch) / "report", Path(scratch) / "log"
        report.touch()
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
            "PYTHONPATH": str(ROOT),
            REPORT: str(report),
            WITHOUT: without,
            "EDGE_AGENT_NODE_MODULES": str(find_node_modules() or ""),
        }
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-p", "scripts.rigs.faults.plugin", *(f"tests/{test}" for test in tests)]
        with log.open("wb") as output:
            code = _wait_for(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
                ),
                lambda: tell(f"{len(report.read_text().splitlines())} tests"),
            )
        outcome = read_report(report.read_text())
        outcome.output = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
    if code not in {0, 1} or not (outcome.passed or outcome.failed or outcome.skipped):
        outcome.failed.append(f"pytest ended with {code}")  # nothing collected, or out of time
    return outcome


def _wait_for(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> int:
    deadline_s = time.monotonic() + TESTS_TIMEOUT_S
    try:
        while time.monotonic() < deadline_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(1.0)
            tick()
    finally:
        process.kill()
    return process.wait()


def read_report(text: str) -> Outcome:
    """What the plugin has written."""
    outcome = Outcome()
    for line in map(json.loads, text.splitlines()):
        if line["outcome"] == "skipped":
            outcome.skipped[line["test"]] = line["reason"]
        else:
            (outcome.passed if line["outcome"] == "passed" else outcome.failed).append(line["test"])
        outcome.figures += line["figures"]
    return outcome
