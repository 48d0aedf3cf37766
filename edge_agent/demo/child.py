"""The daemon of the demo: `edge-agent run` in its own process, as a user starts it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_STOP_S: Final = 15.0
_TAIL_BYTES: Final = 2000


@asynccontextmanager
async def daemon(config: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the daemon, with its log in a file; at the end stop it, or kill it if needed."""
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_agent",
            "run",
            "-c",
            str(config),
            stdout=stream,
            stderr=stream,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def ended(process: asyncio.subprocess.Process, log: Path) -> EdgeAgentError:
    """The error that the daemon ended by itself, with the end of its log."""
    tail = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
    return EdgeAgentError(f"ended with code {process.returncode}:\n{tail}", where="edge-agent run")


async def summary(url: str) -> dict[str, Any]:
    """The daemon's summary from its HTTP server; empty while it does not answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session,
            session.get(f"{url}/api/summary") as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found
    except (aiohttp.ClientError, TimeoutError):
        return {}
