"""Commands of `edge-agent` in a child of the daemon: `doctor`, `browse`, `listen`, for the page.

The child has the lowest priority, a limit of memory, processor and time, and is the first that the
kernel ends when memory is short, so that it cannot disturb the alarms. One runs at a time.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.models import child_command
from edge_agent.ops.routes import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

NICENESS: Final = 19
MAX_MEMORY: Final = 4 << 30  # bytes of address space
MAX_PROCESSOR_S: Final = 60
MAX_OUTPUT: Final = 8 << 20
_MAX_LINE: Final = 500
_PIECE: Final = 1 << 16
_MODULE: Final = "edge_agent.cli"


class Ended(NamedTuple):
    """The exit code of a command, and what it printed."""

    code: int
    stdout: bytes
    stderr: str

    def value(self) -> Any:  # noqa: ANN401 (any JSON value)
        """What it printed as JSON; EdgeAgentError with its last line if it printed none."""
        try:
            return orjson.loads(self.stdout)
        except orjson.JSONDecodeError:
            raise EdgeAgentError(self.reason()) from None

    def reason(self) -> str:
        """The last line on stderr: why it failed."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        return lines[-1][:_MAX_LINE] if lines else f"it ended with code {self.code}"


class SideCommands:
    """Runs one command at a time."""

    def __init__(self, module: str = _MODULE) -> None:
        self._module = module
        self._busy = False

    async def run(self, arguments: Sequence[str], within_s: float, stdin: bytes = b"") -> Ended:
        """Run `edge-agent ARGUMENTS`; Refusal if another one runs, or if it takes too long.

        stdin: what the child reads.
        """
        if self._busy:
            hint = "doctor and the tag browser run one at a time"
            raise Refusal(429, "another check runs", hint, {"Retry-After": "10"})
        self._busy = True
        try:
            return await self._run(arguments, within_s, stdin)
        finally:
            self._busy = False

    async def _run(self, arguments: Sequence[str], within_s: float, stdin: bytes) -> Ended:
        child = await asyncio.create_subprocess_exec(
            *child_command(self._module, *arguments),
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _limit(child.pid)
            async with asyncio.timeout(within_s):
                stdout, stderr, _ = await asyncio.gather(
                    _read(child.stdout), _read(child.stderr), _write(child.stdin, stdin)
                )
                code = await child.wait()
        except TimeoutError:
            text = f"not finished within {within_s:g} s"
            raise Refusal(504, text, "a server may not answer; ask for less") from None
        finally:
            await _end(child)
        return Ended(code, stdout, stderr.decode(errors="replace"))


def _limit(process: int) -> None:
    """Lower the priority of a child, and bound what it may take."""
    with suppress(OSError):  # it has ended already, or our systemd unit forbids it
        os.setpriority(os.PRIO_PROCESS, process, NICENESS)
    limits = {
        resource.RLIMIT_AS: (MAX_MEMORY, MAX_MEMORY),
        resource.RLIMIT_CPU: (MAX_PROCESSOR_S, MAX_PROCESSOR_S + 1),
    }
    for what, limit in limits.items():
        with suppress(OSError):  # same
            resource.prlimit(process, what, limit)


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All that a child prints; Refusal if it is too much."""
    assert stream is not None  # noqa: S101 (we made the pipes)
    found = bytearray()
    while piece := await stream.read(_PIECE):
        found += piece
        if len(found) > MAX_OUTPUT:
            raise Refusal(413, "the answer is too large", "ask for less: a pattern, a topic")
    return bytes(found)


async def _write(stream: asyncio.StreamWriter | None, raw: bytes) -> None:
    """Send all, and its end; a child that does not read it says why on stderr."""
    assert stream is not None  # noqa: S101 (we made the pipes)
    with suppress(ConnectionError):
        stream.write(raw)
        await stream.drain()
    stream.close()


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child and what it started, unless it has ended by itself."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
