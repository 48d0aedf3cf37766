"""Runs the process that plans, and takes the best of its answers."""

from __future__ import annotations

import asyncio
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.insight.maintenance.child import WORK_S
from edge_agent.models import child_command, child_environment

if TYPE_CHECKING:
    from edge_agent.insight.maintenance.child import Question

_MODULE: Final = "edge_agent.insight.maintenance.child"
_LONGEST: Final = 64 << 20  # bytes of a plan
_SLOW: Final = 3  # times its processor time, on a machine that is busy


async def make_plan(question: Question) -> dict[str, Any]:
    """The best plan that was found in time; EdgeAgentError if there is none."""
    raw = await asyncio.to_thread(pickle.dumps, question)
    child = await _start()
    limit_s = _SLOW * (WORK_S + question.config.solver_time)
    best: bytes = b""
    try:
        async with asyncio.timeout(limit_s):
            reading = asyncio.create_task(_stderr(child))
            best = await _answers(child, raw)
            said = await reading
            await child.wait()
    except TimeoutError:
        said = f"no plan within {limit_s:.0f} s"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not best:
        raise EdgeAgentError(said or _ended(child.returncode), where="maintenance")
    found: dict[str, Any] = await asyncio.to_thread(orjson.loads, best)
    return found


async def _start() -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *child_command(_MODULE),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST,
        )
    except OSError as error:
        hint = f"who may run {sys.executable}?"
        text = f"the planning process does not start: {error.strerror}"
        raise EdgeAgentError(text, where="maintenance", hint=hint) from error


async def _answers(child: asyncio.subprocess.Process, raw: bytes) -> bytes:
    """The last whole line: a later plan is never worse."""
    assert child.stdin is not None  # noqa: S101 (we made the pipes)
    assert child.stdout is not None  # noqa: S101 (same)
    with suppress(ConnectionError):  # it ended at once; it has said why
        child.stdin.write(raw)
        await child.stdin.drain()
        child.stdin.close()
    best = b""
    while (line := await child.stdout.readline()).endswith(b"\n"):
        best = line
    return best


async def _stderr(child: asyncio.subprocess.Process) -> str:
    assert child.stderr is not None  # noqa: S101 (same)
    text = (await child.stderr.read(1 << 16)).decode(errors="replace").strip()
    return text.rsplit("\n", 1)[-1][:400]


def _ended(code: int | None) -> str:
    return f"the planning process ended with code {code}: is enough memory free?"
