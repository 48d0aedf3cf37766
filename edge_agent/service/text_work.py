"""A request for text while it is carried out: each of its answers in turn, whole or in pieces."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from edge_agent.errors import EdgeAgentError
from edge_agent.language.engine import CHAT, COMPLETIONS, EMBEDDINGS
from edge_agent.language.text_server import BusyError, EngineError, LateError, PromptError
from edge_agent.service import text_answers as answers
from edge_agent.service.text_requests import SEEDS, TextRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from edge_agent.language.engine import TextEngine
    from edge_agent.ops.metrics import Metrics
    from edge_agent.service.text_requests import TextRequest

    Json = dict[str, Any]

CHECK_S: Final = 0.25  # how soon the model hears that its client has gone
FAILURES: Final = (EdgeAgentError, ValueError)
_TOO_LONG: Final = "context size"  # in what llama.cpp says
_VERSION: Final = "1"

T = TypeVar("T")


class _Part(NamedTuple):
    """One answer: what the model's server gets for it, the number of its choice."""

    body: Json
    choice: int
    is_first: bool  # of its prompt
    prompt: str


class TextWork:
    """Carries out a request in one turn of the engine."""

    def __init__(
        self, engine: TextEngine, asked: TextRequest, head: answers.Head, metrics: Metrics
    ) -> None:
        self.asked = asked
        self._engine = engine
        self._head = head
        self._metrics = metrics
        self._usage = answers.Usage()
        self._is_chat = head.kind == answers.CHAT
        self._path = CHAT if self._is_chat else COMPLETIONS

    async def whole(self) -> Json:
        """The answer with all its choices; EngineError and its like say why there is none."""
        until_s, choices = self._engine.until_s(), []
        read = answers.chat_choice if self._is_chat else answers.text_choice
        async with self._engine.turn(until_s):
            begin_s = time.monotonic()
            for part in self._parts():
                said = await self._engine.ask(self._path, part.body, until_s)
                self._usage.add(said.get("usage"), is_first=part.is_first)
                for given in answers.choices_of(said):
                    choices.append(read(given, part.choice))
                    if self.asked.echo:
                        choices[-1]["text"] = part.prompt + choices[-1]["text"]
            self._count(begin_s)
        return self._head.whole(choices, self._usage)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The same as the events of a stream."""
        read = answers.chat_piece if self._is_chat else answers.text_choice
        async with aclosing(self._given()) as choices:
            async for index, given in choices:
                yield self._head.piece([read(given, index)])
        if self.asked.with_usage:
            yield self._head.piece([], self._usage)
        yield answers.DONE

    async def texts(self) -> AsyncGenerator[bytes]:
        """The same in the form of `generate_stream`."""
        async with aclosing(self._given()) as choices:
            async for _, given in choices:
                if text := given.get("text"):
                    yield answers.event(generated(self.asked.model, text))

    async def _given(self) -> AsyncGenerator[tuple[int, Json]]:
        """What the model's server says, piece by piece, with the index of the choice."""
        until_s = self._engine.until_s()
        async with self._engine.turn(until_s):
            begin_s = time.monotonic()
            for part in self._parts():
                if self.asked.echo:
                    yield part.choice, {"text": part.prompt}
                body = part.body | {"stream_options": {"include_usage": True}}
                async with aclosing(self._engine.stream(self._path, body, until_s)) as events:
                    async for said in events:
                        _expect_no_error(said)
                        self._usage.add(said.get("usage"), is_first=part.is_first)
                        for given in answers.choices_of(said):
                            yield part.choice, given
            self._count(begin_s)

    def _parts(self) -> Iterator[_Part]:
        """One request to the model's server for each choice: few servers know `n`."""
        body, count = self.asked.body, self.asked.n
        for number, prompt in enumerate(self.asked.prompts or ("",)):
            for one in range(count):
                own = {} if self._is_chat else {"prompt": prompt}
                if "seed" in body:
                    own["seed"] = (body["seed"] + one) % SEEDS
                yield _Part(body | own, number * count + one, one == 0, prompt)

    def _count(self, begin_s: float) -> None:
        self._metrics.text_seconds.observe(time.monotonic() - begin_s)
        self._metrics.text_tokens.labels("prompt").inc(self._usage.prompt)
        self._metrics.text_tokens.labels("completion").inc(self._usage.completion)


def _expect_no_error(said: Json) -> None:
    if "error" in said:
        error = said["error"]
        raise EngineError(str(error.get("message") if isinstance(error, dict) else error)[:400])


def generated(model: str, text: str) -> Json:
    """An answer to `generate`."""
    return {"model_name": model, "model_version": _VERSION, "text_output": text}


async def embedded(engine: TextEngine, body: Json, metrics: Metrics) -> Json:
    """The answer to `/v1/embeddings`."""
    until_s = engine.until_s()
    async with engine.turn(until_s):
        found = await engine.ask(EMBEDDINGS, body, until_s)
    if not isinstance(found.get("data"), list) or len(found["data"]) != len(body["input"]):
        raise ValueError("the language model's server returns not one vector for each text")
    usage = answers.Usage()
    usage.add(found.get("usage"))
    metrics.text_tokens.labels("prompt").inc(usage.prompt)
    counted = {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt}
    return {"object": "list", "data": found["data"], "usage": counted}


# What can happen to it ----------------------------------------------------------------------------

# Kind of error, outcome in the metrics, HTTP status; the first that fits.
_OUTCOMES: Final = (
    (BusyError, "busy", 429),
    (LateError, "late", 504),
    (PromptError, "refused", 400),
)


def refusal_of(error: Exception) -> tuple[str, TextRefusal]:
    """The outcome of a request that failed, and what its client hears."""
    found = ((outcome, status) for kind, outcome, status in _OUTCOMES if isinstance(error, kind))
    outcome, status = next(found, ("away", 503))
    text = str(error)
    code = "context_length_exceeded" if status == 400 and _TOO_LONG in text else ""  # noqa: PLR2004
    refusal = TextRefusal(status, text, code=code)
    if isinstance(error, EngineError):
        refusal.headers = {"Retry-After": str(max(1, math.ceil(error.retry_s)))}
    return outcome, refusal


async def connected(work: Awaitable[T], goes_on: Callable[[], bool]) -> T:
    """The result of `work`, which is cancelled if its client goes; TextRefusal if its key ends."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=CHECK_S)
            if not goes_on():
                raise TextRefusal(401, "the client is gone, or its key has ended")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
