"""From a row of a table of routes to a handler of aiohttp: reads the request, sends the answer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, nullcontext
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import hdrs, web

from edge_agent.ops.access import CHANGES_NOTHING, check_size, unauthorized
from edge_agent.ops.guard import CLIENT, DENIED
from edge_agent.ops.routes import (
    ANY_TYPE,
    JSON,
    MAX_TEXT,
    READ,
    UTF8_MARK,
    Client,
    Refusal,
    Request,
    Response,
    Route,
    as_json,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from edge_agent.ops.bodies import LargeBodies

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    AtHome = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]

# After a reader of the API the next one waits for twice the time that this one took.
REST_FACTOR: Final = 2.0
MAX_REST_S: Final = 0.2
STREAM_CHECK_S: Final = 1.0  # how soon a silent stream hears that its key was revoked
BODY_TIMEOUT_S: Final = 5.0
SLOWEST_BYTES_S: Final = 1 << 20  # a route that allows large bodies waits longer for them
_WITH_BODY: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH})


class Pace:
    """Lets the readers of the API run one after the other, with rests between them.

    Their handlers run on the event loop of the pipeline. However many clients ask, and without a
    pause, they get a third of its time at most.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        self._begun_s = asyncio.get_running_loop().time()

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        took_s = loop.time() - self._begun_s
        loop.call_later(min(MAX_REST_S, REST_FACTOR * took_s), self._turn.release)


def handler_of(
    route: Route,
    pace: Pace,
    bodies: LargeBodies,
    is_valid: Callable[[Client], bool],
    at_home: AtHome | None,
) -> Handler:
    """The aiohttp handler of a route; a handler that is a coroutine function has its own pace.

    at_home: runs what is not apart on the daemon's loop; None: it is this one. is_valid: False
    after a client's key was revoked: what it asked is not done, what was found out for it is not
    sent, and its stream ends.
    """
    is_paced = route.scope == READ and not iscoroutinefunction(route.handler)
    away = None if route.is_apart else at_home

    async def said(asked: Request) -> Response:
        async with pace if is_paced else nullcontext():
            found = _encoded(route.handler(asked))
        response: Response = _encoded(await found) if isawaitable(found) else found
        return response

    async def answer(request: web.Request) -> web.StreamResponse:
        parts, query = request.match_info, _query(request, route)
        with bodies.room(request, route):
            body = await _body(request, route)
            if route.parse is not None:
                body = route.parse(body, parts)
            if DENIED in request:
                raise request[DENIED]
            client = request[CLIENT]
            _expect_key(client, is_valid)  # a body may take its time
            goes_on = lambda: request.transport is not None and is_valid(client)  # noqa: E731
            asked = Request(parts, query, body, client, request.headers, goes_on)
            response = await (said(asked) if away is None else away(said(asked)))
        if route.scope in CHANGES_NOTHING:  # of what is done, everybody may hear
            _expect_key(client, is_valid)
        headers = {**response.headers, hdrs.CONTENT_TYPE: response.content_type}
        if isinstance(response.body, bytes):
            return web.Response(body=response.body, status=response.status, headers=headers)
        stream = web.StreamResponse(status=response.status, headers=headers)
        sent = response.body if away is None else _from_home(response.body, away)
        return await _streamed(request, stream, sent, goes_on)

    return answer


def _expect_key(client: Client, is_valid: Callable[[Client], bool]) -> None:
    if not is_valid(client):
        text = f"the key {client.name} was revoked, or has expired"
        raise unauthorized(text, "it ended while this request ran", wrong=True)


async def _streamed(
    request: web.Request,
    answer: web.StreamResponse,
    parts: AsyncGenerator[bytes],
    goes_on: Callable[[], bool],
) -> web.StreamResponse:
    """Send each part at once, as long as `goes_on`."""
    async with aclosing(parts):
        await answer.prepare(request)
        while (part := await _next_part(parts, goes_on)) is not None:
            await answer.write(part)
        if not goes_on():
            if request.transport is not None:
                request.transport.abort()  # cut, so that nobody takes it for the whole
            raise ConnectionResetError("the client is gone, or its key")
    await answer.write_eof()
    return answer


async def _from_home(parts: AsyncGenerator[bytes], at_home: AtHome) -> AsyncGenerator[bytes]:
    """A stream whose parts are made on the daemon's loop."""
    try:
        while (part := await at_home(_part_of(parts))) is not None:
            yield part
    finally:
        await at_home(parts.aclose())


async def _part_of(parts: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(parts, None)


async def _next_part(parts: AsyncGenerator[bytes], goes_on: Callable[[], bool]) -> bytes | None:
    """The next part of a stream; None at its end, and if it does not go on."""
    waiting = asyncio.ensure_future(anext(parts, None))
    try:
        while goes_on():
            done, _ = await asyncio.wait({waiting}, timeout=STREAM_CHECK_S)
            if done:
                return waiting.result() if goes_on() else None
        return None
    finally:
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})


def _encoded(said: object) -> Any:  # noqa: ANN401 (a Response, or what will be one)
    return said if isinstance(said, Response) or isawaitable(said) else as_json(said)


def _query(request: web.Request, route: Route) -> dict[str, Any]:
    """Refuse a misspelt parameter, which would otherwise be ignored silently."""
    given, known = request.query, route.query
    for name in given if known else ():
        if name not in known or len(given.getall(name)) > 1:
            hint = f"once each: {', '.join(known)}"
            raise Refusal(400, f"no parameter {name[:MAX_TEXT]!r}", hint)
    return {
        name: one.parse(name, given[name]) if name in given else one.default
        for name, one in known.items()
    }


async def _body(request: web.Request, route: Route) -> object:
    """Read the body as the route defines it: bytes, or the value if it is JSON."""
    if request.method not in _WITH_BODY or route.method == hdrs.METH_ANY:
        return None
    if route.content_type not in {ANY_TYPE, request.content_type}:
        what = "JSON" if route.content_type == JSON else route.content_type
        raise Refusal(415, f"the body is not {what}", f"Content-Type: {route.content_type}")
    client = request[CLIENT]
    check_size(client, request.content_length or 0)
    most = min(route.max_body, client.max_body or route.max_body)
    timeout_s = BODY_TIMEOUT_S + route.max_body // SLOWEST_BYTES_S
    try:
        async with asyncio.timeout(timeout_s):
            body = await request.clone(client_max_size=most).read()
    except TimeoutError:
        raise Refusal(408, f"no whole body within {timeout_s:g} s") from None
    except web.RequestPayloadError:
        raise Refusal(400, "the body is cut or malformed") from None
    if route.content_type != JSON:
        return body
    try:
        return orjson.loads(body.removeprefix(UTF8_MARK))
    except orjson.JSONDecodeError as problem:
        raise Refusal(400, f"the body is not JSON: {problem}") from None
