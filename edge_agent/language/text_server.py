"""Requests to a server with the OpenAI API: our own child, llama-server, vLLM, Ollama."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    Json = dict[str, Any]

CONNECT_S: Final = 10.0
MAX_ANSWER: Final = 16 << 20  # bytes
MAX_EVENT: Final = 1 << 20  # bytes of a piece of a stream
RETRY_S: Final = 2.0
_MAX_SAID: Final = 400  # characters of a server's reason
_REFUSED: Final = frozenset({400, 413, 422})
_BUSY: Final = 429
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


class EngineError(EdgeAgentError):
    """There is no text: the server is away, or does not load its model; retry_s: try again then."""

    def __init__(self, message: str, retry_s: float = RETRY_S) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class BusyError(EngineError):
    """Too many requests wait already."""


class LateError(EdgeAgentError):
    """The text was not ready in time."""


class PromptError(EdgeAgentError):
    """The server refuses a request: it is too long for the model, or wrong in another way."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and its key."""

    url: str
    key: str = field(default="", repr=False)
    ca: Path | None = None


def base_url(url: str) -> str:
    """The part of a server's address before `/v1`."""
    return url.rstrip("/").removesuffix("/v1")


class TextServer:
    """Asks a server; a call that is cancelled, or a stream that is closed, ends its work there."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[Path | None, ssl.SSLContext] = {}

    async def ask(self, place: Place, path: str, body: Json | None, until_s: float) -> Json:
        """The JSON of an answer; body: None for a GET.

        EngineError if the server is away or fails, LateError at `until_s` of the loop's clock,
        PromptError if it refuses the request.
        """
        answer = await self._begin(place, path, body, until_s)
        try:
            async with asyncio.timeout_at(until_s):
                found = orjson.loads(await _whole(answer))
        except TimeoutError:
            raise LateError("the language model did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _gone(error) from None
        finally:
            answer.close()
        if not isinstance(found, dict):
            raise EngineError("the language model's server answers no JSON object")
        return found

    async def stream(
        self, place: Place, path: str, body: Json, until_s: float
    ) -> AsyncGenerator[Json]:
        """The events of a stream, as they come; errors as of `ask`."""
        answer = await self._begin(place, path, body | {"stream": True}, until_s)
        try:
            buffer = b""
            while True:
                async with asyncio.timeout_at(until_s):
                    piece = await answer.content.readany()
                if not piece:
                    raise EngineError("the language model's server ended its stream too early")
                *lines, buffer = (buffer + piece).split(b"\n")
                if len(buffer) > MAX_EVENT:
                    raise EngineError("the language model's server sends no end of a line")
                for line in lines:
                    if (event := _event(line)) is _DONE:
                        return
                    if event is not None:
                        yield orjson.loads(event)
        except TimeoutError:
            raise LateError("the language model did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _gone(error) from None
        finally:
            answer.close()

    async def close(self) -> None:
        """End all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _begin(
        self, place: Place, path: str, body: Json | None, until_s: float
    ) -> aiohttp.ClientResponse:
        """The head of a good answer."""
        session = await self._open()
        headers = {"Authorization": f"Bearer {place.key}"} if place.key else {}
        try:
            async with asyncio.timeout_at(until_s):
                answer = await session.request(
                    "GET" if body is None else "POST",
                    f"{base_url(place.url)}{path}",
                    json=body,
                    headers=headers,
                    allow_redirects=False,  # a redirect must not send the key to another host
                    ssl=await self._context(place),
                )
        except TimeoutError:
            raise LateError("the language model did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _gone(error) from None
        if answer.status == 200:  # noqa: PLR2004 (OK)
            return answer
        try:
            raise await _refusal(answer, until_s)
        finally:
            answer.close()

    async def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            dumps = lambda value: orjson.dumps(value).decode()  # noqa: E731
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, json_serialize=dumps
            )
        return self._session

    async def _context(self, place: Place) -> ssl.SSLContext | bool:
        if not place.url.startswith("https://"):
            return True
        if place.ca not in self._tls:
            cafile = None if place.ca is None else str(place.ca)
            self._tls[place.ca] = await asyncio.to_thread(ssl.create_default_context, cafile=cafile)
        return self._tls[place.ca]


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    while piece := await answer.content.readany():
        found += piece
        if len(found) > MAX_ANSWER:
            raise ValueError(f"more than {MAX_ANSWER >> 20} MiB")
    return bytes(found)


def _event(line: bytes) -> bytes | None:
    """The data of a line of a stream; None for a comment or another field."""
    if not line.startswith(_DATA):
        return None
    data = line.removeprefix(_DATA).strip()
    return _DONE if data == _DONE else data


async def _refusal(answer: aiohttp.ClientResponse, until_s: float) -> EdgeAgentError:
    said = ""
    with suppress(TimeoutError, ValueError, KeyError, TypeError, aiohttp.ClientError):
        async with asyncio.timeout_at(until_s):
            found = orjson.loads(await _whole(answer))["error"]
        said = str(found["message"] if isinstance(found, dict) else found)
    text = " ".join(said.split())[:_MAX_SAID] or f"status {answer.status}"
    if answer.status in _REFUSED:
        return PromptError(text)
    if answer.status == _BUSY:
        return BusyError(f"the language model's server is busy: {text}")
    return EngineError(f"the language model's server answers {answer.status}: {text}")


def _gone(error: Exception) -> EngineError:
    what = str(error) or type(error).__name__
    return EngineError(f"the language model's server does not answer: {what[:_MAX_SAID]}")
