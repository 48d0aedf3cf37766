"""The manuals as the daemon uses them: two children, one that indexes and one that answers."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.language.answers import Search
from edge_agent.models import child_command, child_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.settings import Manuals

log = logging.getLogger("edge_agent.language")

ANSWER_S: Final = 12.0  # a child that takes longer is ended
IDLE_S: Final = 300.0  # then the answering child is ended; the next question starts another
_MAX_LINE: Final = 32 << 20
_CHILD: Final = "edge_agent.language.{}_child"


class ManualSearch:
    """Searches the manuals of a config in a child, which it starts and ends as needed.

    index: the file of the index. None of its errors reaches an alarm: a child that fails is a
    sentence in the answer.
    """

    def __init__(self, config: Manuals, index: Path, clock: Clock) -> None:
        self._config = config
        self._index = index
        self._clock = clock
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._used_s = 0.0
        self._next_s = 0.0  # when the folder is looked at again
        self._indexing: asyncio.subprocess.Process | None = None
        self._last_comment = 0  # row of the audit
        self.trouble = ""  # of the last indexing

    # -- answers ----------------------------------------------------------------------------------

    async def search(
        self, question: str, language: str, comments: Sequence[dict[str, Any]] = ()
    ) -> Search:
        """What the manuals and the operators' comments say; comments: rows, the newest first."""
        if not self.is_configured and not comments:
            return Search(is_configured=False)
        try:
            async with self._turn:
                child = await self._started()
                new = [row for row in comments if row["row"] > self._last_comment]
                if new:
                    await self._ask(child, {"op": "comments", "rows": new})
                    self._last_comment = max(row["row"] for row in new)
                asked = {"op": "search", "question": question, "language": language}
                found = await self._ask(child, asked)
                if found["trouble"]:  # the next one may find an index
                    await self._end()
        except EdgeAgentError as error:
            return Search(trouble=str(error), is_configured=self.is_configured)
        return Search(
            found["passages"],
            found["comments"],
            found["nearest"],
            found["trouble"] if self.is_configured else "",
            is_configured=self.is_configured,
        )

    @property
    def is_configured(self) -> bool:
        """True if there is a folder."""
        return self._config.folder is not None

    async def documents(self) -> dict[str, Any]:
        """All documents of the index, and the trouble of the last indexing."""
        async with self._turn:
            found = await self._ask(await self._started(), {"op": "documents"})
        return {"folder": str(self._config.folder), "trouble": self.trouble, **found}

    async def page(self, document: str, number: int) -> str | None:
        """The text of a page; None if there is none."""
        async with self._turn:
            asked = {"op": "page", "id": document, "number": number}
            found = await self._ask(await self._started(), asked)
        text = found["text"]
        return None if text is None else str(text)

    async def _started(self) -> asyncio.subprocess.Process:
        self._used_s = self._clock.monotonic_s()
        if self._child is not None and self._child.returncode is None:
            return self._child
        self._last_comment = 0
        self._child = await _start("answer")
        await _write(self._child, self._encoder() | {"index": str(self._index)})
        return self._child

    async def _ask(
        self, child: asyncio.subprocess.Process, asked: dict[str, Any]
    ) -> dict[str, Any]:
        """One answer; EdgeAgentError if the child fails, which is then ended."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await _write(child, asked)
                assert child.stdout is not None  # noqa: S101 (a pipe)
                answer: dict[str, Any] = json.loads(await child.stdout.readline())
        except (TimeoutError, ValueError, OSError) as error:
            await self._end()
            text = f"no answer in {ANSWER_S:g} s" if isinstance(error, TimeoutError) else "it ended"
            raise EdgeAgentError(f"the search of the manuals failed: {text}") from None
        if "error" in answer:
            raise EdgeAgentError(f"the search of the manuals failed: {answer['error']}")
        return answer

    # -- index ------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Index the folder when it is time, and end a child that nobody asks; call it often."""
        now_s = self._clock.monotonic_s()
        if self._child is not None and now_s - self._used_s > IDLE_S and not self._turn.locked():
            await self._end()
        if self.is_configured and now_s >= self._next_s:
            self._next_s = now_s + self._config.every
            await self.index()

    async def index(self) -> None:
        """Bring the index up to date; a failure is logged once and shown."""
        job = self._encoder() | {
            "folder": str(self._config.folder),
            "index": str(self._index),
            "parse": child_command(_CHILD.format("parse")),
            "file_s": self._config.file_time,
            "max_pages": self._config.max_pages,
        }
        child = self._indexing = await _start("index")
        try:
            await _write(child, job)
            assert child.stdin is not None  # noqa: S101 (a pipe)
            child.stdin.close()
            assert child.stdout is not None  # noqa: S101
            async for line in child.stdout:
                _log_event(line)
            code = await child.wait()
        except (OSError, ValueError):
            code = -1
        finally:
            await _kill(child)
            self._indexing = None
        trouble = "" if code == 0 else await _last_words(child, code)
        if trouble and trouble != self.trouble:
            log.warning("manuals not indexed", extra={"reason": trouble})
        self.trouble = trouble

    def _encoder(self) -> dict[str, Any]:
        config = self._config
        return {
            "memory": int(config.memory),
            "encoder": config.encoder,
            "encoder_model": config.encoder_model,
            "encoder_key": config.encoder_key.reveal() if config.encoder_key else "",
        }

    async def close(self) -> None:
        """End the children."""
        await self._end()
        if self._indexing is not None:
            await _kill(self._indexing)

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await _kill(child)


async def _start(kind: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *child_command(_CHILD.format(kind)),
        env=child_environment() | {"OMP_NUM_THREADS": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if kind == "index" else asyncio.subprocess.DEVNULL,
        limit=_MAX_LINE,
    )


async def _write(child: asyncio.subprocess.Process, value: dict[str, Any]) -> None:
    assert child.stdin is not None  # noqa: S101 (a pipe)
    child.stdin.write(json.dumps(value).encode() + b"\n")
    await child.stdin.drain()


async def _kill(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
    await child.wait()


async def _last_words(child: asyncio.subprocess.Process, code: int) -> str:
    assert child.stderr is not None  # noqa: S101 (a pipe)
    said = (await child.stderr.read(4096)).decode(errors="replace").strip()
    return said.rsplit("\n", 1)[-1][:400] or f"the indexing child ended with code {code}"


def _log_event(line: bytes) -> None:
    """Log what was done to a document: one line a change."""
    with suppress(ValueError):
        event = json.loads(line)
        name = event.get("document")
        if name and event.get("refused"):
            log.warning("manual not indexed", extra={"manual": name, "reason": event["refused"]})
        elif name:
            log.info("manual indexed", extra={"manual": name, "passages": event.get("passages", 0)})
