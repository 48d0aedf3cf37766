"""The child of `language.engine: llama_cpp`: started by a question, ended when nobody asks."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_agent.language.text_server import EngineError, Place
from edge_agent.models import child_command, child_environment

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.config.language import Language

log = logging.getLogger("edge_agent.language")

LOAD_S: Final = 180.0  # to check the file and to load it
LONGEST_PAUSE_S: Final = 60.0  # between two starts
STEADY_S: Final = 60.0  # after which a child that ends counts as the first again
_MODULE: Final = "edge_agent.language.llama_child"


class LlamaProcess:
    """Starts the child, and starts it again when it has ended, with pauses that double.

    starts: how often it was started; ends: how often it ended by itself.
    """

    def __init__(self, config: Language, clock: Clock) -> None:
        self.starts = self.ends = 0
        self._config = config
        self._clock = clock
        self._child: asyncio.subprocess.Process | None = None
        self._place: Place | None = None
        self._starting: asyncio.Task[Place] | None = None
        self._stamp: list[int] = []  # of the file, when it was checked
        self._failures = 0
        self._next_s = self._started_s = 0.0

    @property
    def is_running(self) -> bool:
        """True while the child is there."""
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int | None:
        """The child's process."""
        return self._child.pid if self._child is not None and self.is_running else None

    async def place(self) -> Place:
        """Where the child listens, which is started if it is not there.

        EngineError says why it cannot, also while it is too early for another try.
        """
        self._count_end()
        if self._place is not None:
            return self._place
        if self._starting is None:
            # A task of its own: the client that began it may go, and others wait for it.
            self._starting = asyncio.create_task(self._started())
            self._starting.add_done_callback(self._end_start)
        return await asyncio.shield(self._starting)

    async def _started(self) -> Place:
        wait_s = self._next_s - self._clock.monotonic_s()
        if wait_s > 0:
            raise EngineError("the language model ended; it is started again soon", wait_s)
        try:
            self._place = await self._start()
        except EngineError as error:
            await self._failed(str(error))
            raise
        return self._place

    def _end_start(self, task: asyncio.Task[Place]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # heard, also if nobody waits any longer

    async def close(self) -> None:
        """End the child; the next question starts another one."""
        if self._starting is not None and self._starting is not asyncio.current_task():
            self._starting.cancel()
            await asyncio.wait({self._starting})
        child, self._child, self._place = self._child, None, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    def _count_end(self) -> None:
        """Notice a child that ended by itself."""
        if self._child is None or self._child.returncode is None:
            return
        code, self._child, self._place = self._child.returncode, None, None
        if self._clock.monotonic_s() - self._started_s > STEADY_S:
            self._failures = 0
        self.ends += 1
        self._set_pause()
        hint = "see language.memory" if code < 0 else ""
        log.error("language model ended", extra={"code": code, "hint": hint})

    async def _failed(self, reason: str) -> None:
        await self.close()
        self._set_pause()
        log.error("language model does not start", extra={"reason": reason})

    def _set_pause(self) -> None:
        pause_s = min(2.0**self._failures, LONGEST_PAUSE_S)
        self._failures += 1
        self._next_s = self._clock.monotonic_s() + pause_s

    async def _start(self) -> Place:
        self.starts += 1
        self._started_s = self._clock.monotonic_s()
        self._child = await asyncio.create_subprocess_exec(
            *child_command(_MODULE),
            env=child_environment() | {"MALLOC_ARENA_MAX": "2"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        key = secrets.token_urlsafe(32)
        said = await _answer(self._child, self._job(key))
        if "error" in said:
            raise EngineError(said["error"], LONGEST_PAUSE_S)
        self._stamp = said["stamp"]
        extra = {"pid": self._child.pid, "model": str(self._config.model)}
        log.info("language model loaded", extra=extra)
        return Place(f"http://127.0.0.1:{said['port']}", key)

    def _job(self, key: str) -> dict[str, Any]:
        config = self._config
        names = ("context", "memory", "parallel", "sha256", "threads")
        more = {"model": str(config.model), "name": config.shown_name}
        return (
            {name: getattr(config, name) for name in names}
            | more
            | {
                "key": key,
                "stamp": self._stamp,
            }
        )


async def _answer(child: asyncio.subprocess.Process, job: dict[str, Any]) -> dict[str, Any]:
    """What a child says to its job; EngineError if it says nothing."""
    assert child.stdin is not None  # noqa: S101 (a pipe)
    assert child.stdout is not None  # noqa: S101 (same)
    try:
        async with asyncio.timeout(LOAD_S):
            child.stdin.write(json.dumps(job).encode() + b"\n")
            await child.stdin.drain()
            found: dict[str, Any] = json.loads(await child.stdout.readline())
            return found
    except TimeoutError:
        text = f"the language model was not loaded within {LOAD_S:g} s"
        raise EngineError(text, LONGEST_PAUSE_S) from None
    except (ValueError, OSError):
        text = "the language model's process ended while it was loaded (see language.memory)"
        raise EngineError(text, LONGEST_PAUSE_S) from None
