"""Findings on a terminal, and as JSON; shared by `check --connect` and `doctor`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING

from edge_agent.cli.api_client import fetch, shown, url_of
from edge_agent.clock import SystemClock
from edge_agent.config import ConfigErrors
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Severity, error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.config import Problem
    from edge_agent.config.schema import Config
    from edge_agent.findings import Finding

MAX_SECONDS = 3600.0


def look(config: Config, path: Path, seconds: float, *, deep: bool) -> list[Finding]:
    """Examine a config and its surroundings."""
    # Here, not above: the help must not wait for ONNX Runtime.
    from edge_agent.daemon import Examined, examine  # noqa: PLC0415

    token = _token(config)
    examined = Examined(
        config,
        path,
        seconds,
        SystemClock(),
        url_of(config),
        lambda url, asked: fetch(url, asked, token=token),
    )
    return asyncio.run(examine(examined, deep=deep))


def _token(config: Config) -> str | None:
    """The daemon's token of the config; None if it cannot be read here."""
    try:
        return config.http.token.reveal() if config.http.token else None
    except EdgeAgentError:
        return None


def lines(findings: Sequence[Finding]) -> list[str]:
    """One line each: severity, where, what and the fix."""
    return [f"{one.severity}: {shown(one)}" for one in findings]


def as_json(findings: Sequence[Finding]) -> str:
    """All findings as one JSON object."""
    return dumps({"ok": not failed(findings), "findings": [asdict(one) for one in findings]})


def refuse(problems: Sequence[Problem], *, json: bool) -> int:
    """Print why a config is refused; return the exit code."""
    if json:
        print(as_json([_of_problem(one) for one in problems]))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
    return ConfigErrors.exit_code


def _of_problem(problem: Problem) -> Finding:
    key = f"{problem.key_path}: " if problem.key_path else ""
    where = f"{problem.file}:{problem.line}"
    return error(where, f"{key}{problem.message}", problem.hint)


def failed(findings: Sequence[Finding]) -> bool:
    """True if there is an error."""
    return any(one.severity is Severity.ERROR for one in findings)


def positive_seconds(text: str) -> float:
    """An argument in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError("more than 0 and at most an hour")
    return seconds
