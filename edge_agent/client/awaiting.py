"""The client for asyncio programs: HTTP/1.1 on streams, one connection for a request."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from edge_agent.client import calls
from edge_agent.client.errors import ClientError, ServerError
from edge_agent.client.exchange import (
    MAX_ANSWER,
    Call,
    Pause,
    Reply,
    Request,
    Run,
    TextEvents,
    as_method,
    check,
    unreachable,
)
from edge_agent.client.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK: Final = 1 << 16
_MAX_HEADERS: Final = 100


def _awaiting(
    make: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: P.args, **more: P.kwargs) -> T:
        return await self.run(make(*args, **more))

    as_method(method, make)
    return method


class AsyncClient(Gateway):
    """A gateway, for asyncio; parameters and methods are those of `Client`, to be awaited."""

    predict_failure = _awaiting(calls.predict_failure)
    ask = _awaiting(calls.ask)
    generate_text = _awaiting(calls.generate_text)
    alarms = _awaiting(calls.alarms)
    ack = _awaiting(calls.ack)
    feedback = _awaiting(calls.feedback)
    history = _awaiting(calls.history)
    trend = _awaiting(calls.trend)
    bottleneck = _awaiting(calls.bottleneck)
    bottlenecks = _awaiting(calls.bottlenecks)
    lines = _awaiting(calls.lines)
    oee = _awaiting(calls.oee)
    quality = _awaiting(calls.quality)
    parts = _awaiting(calls.parts)
    plan = _awaiting(calls.plan)
    assets = _awaiting(calls.assets)
    models = _awaiting(calls.models)

    async def stream_text(
        self,
        prompt: str,
        max_tokens: int = 256,
        **options: Any,  # noqa: ANN401 (as of generate_text)
    ) -> AsyncIterator[str]:
        """Yield the text piece by piece, as it is generated; options: as of `generate_text`."""
        request = await self.run(calls.text_request(prompt, max_tokens, stream=True, **options))
        events = TextEvents()
        with self._named():
            async with self._open(request) as answer:
                if answer.status >= 300:  # noqa: PLR2004 (no success)
                    check(await answer.whole())
                async with aclosing(answer.chunks()) as chunks:
                    async for data in chunks:
                        for text in events.feed(data):
                            yield text

    async def run(self, call: Call[T]) -> T:
        """Carry out a call."""
        run = Run(call, self._retries)
        with self._named():
            while (action := run.action) is not None:
                if isinstance(action, Pause):
                    await asyncio.sleep(action.seconds)
                    run.go_on()
                    continue
                try:
                    async with self._open(action) as answer:
                        reply = await answer.whole()
                except ClientError as error:
                    run.fail(error)
                else:
                    run.go_on(reply)
        return run.result

    @asynccontextmanager
    async def _open(self, request: Request) -> AsyncIterator[_Answer]:
        """Send a request; the time limit holds until its answer is left."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(request.timeout_s or self._timeout_s):
                reader, writer = await self._connect()
                writer.write(self._head(request) + (request.body or b""))
                await writer.drain()
                yield await _Answer.read(reader)
        except (OSError, EOFError, ValueError) as error:
            raise unreachable(error) from error
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._address
        if address.unix:
            return await asyncio.open_unix_connection(address.unix)
        return await asyncio.open_connection(address.host, address.port, ssl=self._tls)

    def _head(self, request: Request) -> bytes:
        headers = self._address.head(request, self._api_key) | {"Connection": "close"}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        first = f"{request.method} {self._address.prefix}{request.target} HTTP/1.1"
        lines = [first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")


class _Answer:
    """An answer whose head is read; its body comes with `chunks`, or `whole`."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> None:
        self._reader = reader
        self.status = status
        self.headers = headers

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> _Answer:
        """Read the head of the answer, without those that only announce it (1xx)."""
        while True:
            version, _, rest = (await _line(reader)).partition(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError("another protocol than HTTP/1.1")
            status, headers = int(rest[:3]), await _headers(reader)
            if status >= 200:  # noqa: PLR2004 (final)
                return cls(reader, status, headers)

    async def whole(self) -> Reply:
        """The answer with its body."""
        async with aclosing(self.chunks()) as chunks:
            body = b"".join([data async for data in chunks])
        return Reply(self.status, self.headers, body)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it arrives; ServerError if it never ends."""
        size = 0
        async with aclosing(self._parts()) as parts:
            async for data in parts:
                size += len(data)
                if size > MAX_ANSWER:
                    raise ServerError(f"the answer is larger than {MAX_ANSWER >> 20} MiB")
                yield data

    async def _parts(self) -> AsyncGenerator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while length := int((await _line(self._reader)).partition(";")[0], 16):
                async for data in self._exactly(length):
                    yield data
                await _line(self._reader)
        elif "content-length" in self.headers:
            async for data in self._exactly(int(self.headers["content-length"])):
                yield data
        else:
            while data := await self._reader.read(_CHUNK):
                yield data

    async def _exactly(self, length: int) -> AsyncGenerator[bytes]:
        while length > 0:
            data = await self._reader.read(min(length, _CHUNK))
            if not data:
                raise EOFError("the answer is cut")
            length -= len(data)
            yield data


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readline()  # ValueError if it is longer than 64 KiB
    if not line.endswith(b"\n"):
        raise EOFError("the connection ended before the answer")
    return line.decode("latin-1").rstrip("\r\n")


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = await _line(reader)
        if not line:
            return found
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    raise ValueError("too many headers")
