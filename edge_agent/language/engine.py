"""The language model of a config: its turns, its process or its server, and what it has done.

None of its failures reaches an alarm: a request hears why there is no text.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.language import EngineKind
from edge_agent.language.llama import LlamaProcess
from edge_agent.language.llama_child import NOT_INSTALLED, check_file
from edge_agent.language.text_server import (
    BusyError,
    EngineError,
    LateError,
    Place,
    TextServer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from edge_agent.clock import Clock
    from edge_agent.config.language import Language

    Json = dict[str, Any]

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
_CHECK_S: Final = 10.0


@dataclass(slots=True)
class Load:
    """What is asked now."""

    running: int = 0
    waiting: int = 0


class TextEngine:
    """Lets requests in, one after the other (`language.parallel`), and hands each to the model.

    The child of `llama_cpp` starts with the first one, and ends after `language.idle` without any.
    """

    def __init__(self, config: Language, clock: Clock) -> None:
        self.config = config
        self.load = Load()
        self._clock = clock
        self._turns = asyncio.Semaphore(config.parallel)
        self._server = TextServer()
        is_local = config.engine is EngineKind.LLAMA_CPP
        self.process = LlamaProcess(config, clock) if is_local else None
        self._used_s = 0.0

    @property
    def name(self) -> str:
        """The model's name for clients."""
        return self.config.shown_name

    @asynccontextmanager
    async def turn(self, until_s: float) -> AsyncIterator[None]:
        """Hold it while a request runs; BusyError if too many wait, LateError after `until_s`."""
        if self.load.waiting >= self.config.queue:
            raise BusyError("too many requests wait for the language model")
        self.load.waiting += 1
        try:
            async with asyncio.timeout_at(until_s):
                await self._turns.acquire()
        except TimeoutError:
            raise LateError("other requests took all the time") from None
        finally:
            self.load.waiting -= 1
        self.load.running += 1
        try:
            yield
        finally:
            self.load.running -= 1
            self._used_s = self._clock.monotonic_s()
            self._turns.release()

    def until_s(self) -> float:
        """The deadline of a request that comes now, by the clock of the event loop."""
        return asyncio.get_running_loop().time() + self.config.deadline

    async def ask(self, path: str, body: Json, until_s: float) -> Json:
        """The answer of the model; hold a turn. Errors as of `TextServer.ask`."""
        place = await self._place(until_s)
        return await self._server.ask(place, path, self._named(body), until_s)

    async def stream(self, path: str, body: Json, until_s: float) -> AsyncGenerator[Json]:
        """The events of the answer, as the model generates it; the same."""
        place = await self._place(until_s)
        async with aclosing(self._server.stream(place, path, self._named(body), until_s)) as events:
            async for event in events:
                yield event

    async def check(self) -> str:
        """What is there, in words; EngineError if it cannot answer. Nothing is started."""
        if self.process is not None:
            return await asyncio.to_thread(_checked_file, self.config)
        until_s = asyncio.get_running_loop().time() + _CHECK_S
        place = await self._place(until_s)
        found = await self._server.ask(place, "/v1/models", None, until_s)
        rows = found.get("data")
        names = [str(row.get("id")) for row in rows if isinstance(row, dict)] if rows else []
        if self.name not in names:
            known = ", ".join(names[:10]) or "none"
            raise EngineError(f"the server has no model {self.name!r}; it has: {known}")
        return f"{place.url} has {self.name}"

    async def tend(self) -> None:
        """End a child that nobody has asked for a while; call it often."""
        is_used = self.load.running or self.load.waiting
        if self.process is None or not self.process.is_running or is_used:
            return
        if self._clock.monotonic_s() - self._used_s >= self.config.idle:
            await self.process.close()

    async def close(self) -> None:
        """End the child and all connections."""
        await self._server.close()
        if self.process is not None:
            await self.process.close()

    def _named(self, body: Json) -> Json:
        return body | {"model": self.name}

    async def _place(self, until_s: float) -> Place:
        if self.process is None:
            config = self.config
            key = config.key.reveal() if config.key is not None else ""
            return Place(config.url, key, config.ca)
        try:
            async with asyncio.timeout_at(until_s):
                return await self.process.place()
        except TimeoutError:
            raise LateError("the language model was not loaded in time") from None


def _checked_file(config: Language) -> str:
    if find_spec("xllamacpp") is None:
        raise EngineError(NOT_INSTALLED)
    assert config.model is not None  # noqa: S101 (its engine needs one)
    try:
        check_file(config.model, config.sha256, [])
    except ValueError as error:
        raise EngineError(str(error)) from None
    except OSError as error:
        raise EngineError(f"language.model: {config.model}: {error.strerror}") from None
    return f"{config.model} is the file that the config means"
