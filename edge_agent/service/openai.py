"""The routes of the OpenAI API (`/v1`), and `generate` of the Open Inference Protocol.

docs/service.md describes them. The model `edge-agent` is the assistant: facts and quotes, which no
language model writes.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edge_agent.config.language import ASSISTANT, EngineKind
from edge_agent.language.engine import TextEngine
from edge_agent.ops.routes import READ, TEXT, Refusal, Response, Route
from edge_agent.service import text_answers as answers
from edge_agent.service.ask_api import MAX_QUESTION, Question
from edge_agent.service.schemas import TEXT as STRING
from edge_agent.service.schemas import WHOLE, list_of, object_of
from edge_agent.service.text_requests import (
    TextRefusal,
    read_chat,
    read_completion,
    read_embeddings,
    read_generate,
)
from edge_agent.service.text_work import (
    FAILURES,
    TextWork,
    connected,
    embedded,
    generated,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from edge_agent.clock import Clock
    from edge_agent.config.language import Language
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.routes import Request
    from edge_agent.service.schemas import Schema
    from edge_agent.service.text_requests import TextRequest

    Json = dict[str, Any]

MAX_BODY: Final = 1 << 20
_MODEL: Final = object_of("id", "object", id=STRING, object=STRING, created=WHOLE)
_EMBEDDINGS: Final = object_of("object", "data", "model", "usage", object=STRING, model=STRING)
_CHAT: Final = object_of("model", "messages", model=STRING, messages=list_of({"type": "object"}))
_COMPLETION: Final = object_of("model", "prompt", model=STRING)
_INPUT: Final = object_of("model", "input", model=STRING)
_GENERATE: Final = object_of("text_input", text_input=STRING, parameters={"type": "object"})

T = TypeVar("T")


class OpenAi:
    """The handlers. engine: None if there is the assistant alone; ask: answers its questions.

    errors_below, error_body: the paths whose errors have the form of the API, and that form.
    """

    errors_below = "/v1/"
    error_body = staticmethod(answers.error_body)

    def __init__(
        self,
        engine: TextEngine | None,
        ask: Callable[[Question], Awaitable[Json]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.engine = engine
        self._ask = ask
        self._metrics = metrics
        self._ends = 0  # of the process, as counted
        self._created = clock.now_us() // 1_000_000

    def routes(self) -> list[Route]:
        """The table of this interface."""
        models = object_of("object", "data", object=STRING, data=list_of(_MODEL))
        text = "/v2/models/{model}"
        return [
            Route(
                "GET",
                "/v1/models",
                self.models,
                TEXT,
                summary="All of them",
                answer=models,
                is_apart=True,
            ),
            Route(
                "GET",
                "/v1/models/{model:.+}",
                self.model,
                TEXT,
                summary="One",
                answer=_MODEL,
                is_apart=True,
            ),
            _post("/v1/chat/completions", self.chat, _CHAT, "The next message of a chat"),
            _post("/v1/completions", self.completions, _COMPLETION, "How a text goes on"),
            _post("/v1/embeddings", self.embeddings, _INPUT, "Vectors of texts", _EMBEDDINGS),
            _post(f"{text}/generate", self.generate, _GENERATE, "How a text goes on", {}),
            _post(f"{text}/generate_stream", self.generate_stream, _GENERATE, "The same, streamed"),
        ]

    # -- models ---------------------------------------------------------------------------------

    async def models(self, _: Request) -> Json:
        """List the language model and the assistant."""
        return {"object": "list", "data": [self._row(name) for name in self._names()]}

    async def model(self, request: Request) -> Json:
        """Describe a model, or refuse with `model_not_found`."""
        name = request.parts["model"]
        if name not in self._names():
            raise self._unknown(name)
        return self._row(name)

    def _names(self) -> list[str]:
        return [*([] if self.engine is None else [self.engine.name]), ASSISTANT]

    def _row(self, name: str) -> Json:
        return {"id": name, "object": "model", "created": self._created, "owned_by": ASSISTANT}

    def _unknown(self, name: str) -> TextRefusal:
        self._count("unknown")
        text = f"there is no model {name[:100]!r} for this; there are: {', '.join(self._names())}"
        return TextRefusal(404, text, code="model_not_found", param="model")

    def _engine_of(self, name: str) -> TextEngine:
        if self.engine is None or name != self.engine.name:
            raise self._unknown(name)
        return self.engine

    # -- texts ----------------------------------------------------------------------------------

    async def chat(self, request: Request) -> object:
        """Answer with the next message of a chat."""
        asked = self._read(read_chat, request)
        head = answers.Head(answers.CHAT, asked.model, _now_s())
        if asked.model == ASSISTANT:
            return await self._assisted(request, asked, head)
        work = TextWork(self._engine_of(asked.model), asked, head, self._metrics)
        return await self._done(request, work)

    async def completions(self, request: Request) -> object:
        """Answer with how a text goes on."""
        asked = self._read(read_completion, request)
        head = answers.Head(answers.COMPLETION, asked.model, _now_s())
        work = TextWork(self._engine_of(asked.model), asked, head, self._metrics)
        return await self._done(request, work)

    async def _done(self, request: Request, work: TextWork) -> object:
        if work.asked.streams:
            return await self._streamed(request, work.pieces())
        return await self._refusing(request, work.whole())

    async def embeddings(self, request: Request) -> object:
        """Answer with vectors of texts."""
        model, body = self._read(lambda given, _: read_embeddings(given), request)
        engine = self._engine_of(model)
        found = await self._refusing(request, embedded(engine, body, self._metrics))
        return found | {"model": model}

    async def generate(self, request: Request) -> object:
        """Answer with how a text goes on, in the form of the Open Inference Protocol."""
        work = self._generating(request)
        found = await self._refusing(request, work.whole())
        return generated(work.asked.model, found["choices"][0]["text"])

    async def generate_stream(self, request: Request) -> object:
        """The same, as it is generated."""
        return await self._streamed(request, self._generating(request).texts())

    def _generating(self, request: Request) -> TextWork:
        engine = self._engine_of(request.parts["model"])
        asked = self._read(lambda given, limit: read_generate(given, engine.name, limit), request)
        head = answers.Head(answers.COMPLETION, asked.model, _now_s())
        return TextWork(engine, asked, head, self._metrics)

    def _read(self, read: Callable[[Any, int], T], request: Request) -> T:
        """The checked body of a request; the limit is that of the tokens of an answer."""
        try:
            return read(request.body, 1 if self.engine is None else self.engine.config.max_tokens)
        except Refusal:
            self._count("refused")
            raise

    # -- the assistant --------------------------------------------------------------------------

    async def _assisted(self, request: Request, asked: TextRequest, head: answers.Head) -> object:
        """Facts and quotes: the answer of `/api/ask`."""
        if READ not in request.client.scopes:
            raise TextRefusal(403, f"the model {ASSISTANT} needs a key with the scope read")
        question = asked.question.strip()
        if not 0 < len(question) <= MAX_QUESTION:
            text = f"messages: the last one of the user has 1 to {MAX_QUESTION} characters"
            raise TextRefusal(400, text, param="messages")
        found = await connected(self._ask(Question(question)), request.goes_on)
        self._count("answered")
        words = (f"\n\n{one['label']}\n{one['text']}" for one in found.get("wording", ()))
        text, usage = "".join((str(found["answer"]), *words)), answers.Usage()
        if not asked.streams:
            message = {"message": {"content": text}, "finish_reason": "stop"}
            return head.whole([answers.chat_choice(message, 0)], usage)
        return Response(_spoken(text, head, usage if asked.with_usage else None), answers.EVENTS)

    # -- ends -----------------------------------------------------------------------------------

    async def _streamed(self, request: Request, pieces: AsyncGenerator[bytes]) -> Response:
        """The stream, once its first piece is there: until then a refusal has its own status."""
        try:
            first = await self._refusing(request, anext(pieces))
        except BaseException:
            await pieces.aclose()
            raise
        return Response(self._going_on(first, pieces), answers.EVENTS)

    async def _going_on(self, first: bytes, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async with aclosing(pieces):
            outcome = "gone"
            try:
                yield first
                async for piece in pieces:
                    yield piece
                outcome = "answered"
            except FAILURES as error:
                outcome, refusal = refusal_of(error)
                yield answers.event(answers.error_body(refusal))
            finally:
                self._count(outcome)

    async def _refusing(self, request: Request, work: Awaitable[T]) -> T:
        """The result of `work`, or the refusal for why there is none."""
        outcome = "gone"
        try:
            found = await connected(work, request.goes_on)
        except FAILURES as error:
            outcome, refusal = refusal_of(error)
            raise refusal from None
        else:
            outcome = "answered"
            return found
        finally:
            if outcome != "answered" or not isinstance(found, bytes):
                self._count(outcome)

    async def tend(self) -> None:
        """End a process that nobody asks, and show its state; call it every few seconds."""
        if self.engine is None:
            return
        await self.engine.tend()
        self._metrics.text_waiting.set(self.engine.load.waiting)
        if (process := self.engine.process) is not None:
            self._metrics.text_process_up.set(process.is_running)
            self._metrics.text_process_ends.inc(process.ends - self._ends)
            self._ends = process.ends

    async def stop(self) -> None:
        """End the process, and all connections."""
        if self.engine is not None:
            await self.engine.close()

    def _count(self, outcome: str) -> None:
        self._metrics.text_requests.labels(outcome).inc()


def text_of(
    config: Language,
    ask: Callable[[Question], Awaitable[Json]],
    metrics: Metrics,
    clock: Clock,
) -> OpenAi:
    """The interface of a config whose engine is not `none`."""
    if config.engine is EngineKind.ASSISTANT:
        return OpenAi(None, ask, metrics, clock)
    return OpenAi(TextEngine(config, clock), ask, metrics, clock)


def _post(
    path: str,
    handler: Callable[[Request], object],
    takes: Schema,
    summary: str,
    answer: Schema | None = None,
) -> Route:
    return Route(
        "POST",
        path,
        handler,
        TEXT,
        max_body=MAX_BODY,
        summary=summary,
        takes=takes,
        answer=answer,
        is_apart=True,
    )


def _now_s() -> int:
    return int(time.time())


async def _spoken(
    text: str, head: answers.Head, usage: answers.Usage | None
) -> AsyncGenerator[bytes]:
    """A text that is there already, as a stream."""
    for number, line in enumerate(text.splitlines(keepends=True)):
        said = {"content": line} if number else {"role": "assistant", "content": line}
        yield head.piece([answers.chat_piece({"delta": said}, 0)])
    yield head.piece([answers.chat_piece({"finish_reason": "stop"}, 0)])
    if usage is not None:
        yield head.piece([], usage)
    yield answers.DONE
