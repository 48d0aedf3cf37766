"""The client for programs that wait for each answer."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
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
    from collections.abc import Callable, Generator, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK: Final = 1 << 16


def _blocking(make: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **more: P.kwargs) -> T:
        return self.run(make(*args, **more))

    as_method(method, make)
    return method


class Client(Gateway):
    """A gateway: `Client("http://127.0.0.1:9460", api_key)`; safe to use in several threads.

    url: `http://`, `https://`, or `unix:/path` of its socket. api_key: of `edge-agent keys create`.
    ca: a PEM file with the plant's own authority. timeout_s: for an answer; predictions and texts
    have longer ones of their own. retries: of what is safe to repeat. Raises ClientErrors, and
    ValueError for an url that is none.
    """

    predict_failure = _blocking(calls.predict_failure)
    ask = _blocking(calls.ask)
    generate_text = _blocking(calls.generate_text)
    alarms = _blocking(calls.alarms)
    ack = _blocking(calls.ack)
    feedback = _blocking(calls.feedback)
    history = _blocking(calls.history)
    trend = _blocking(calls.trend)
    bottleneck = _blocking(calls.bottleneck)
    bottlenecks = _blocking(calls.bottlenecks)
    lines = _blocking(calls.lines)
    oee = _blocking(calls.oee)
    quality = _blocking(calls.quality)
    parts = _blocking(calls.parts)
    plan = _blocking(calls.plan)
    assets = _blocking(calls.assets)
    models = _blocking(calls.models)

    def stream_text(self, prompt: str, max_tokens: int = 256, **options: Any) -> Iterator[str]:  # noqa: ANN401 (as of generate_text)
        """Yield the text piece by piece, as it is generated; options: as of `generate_text`."""
        request = self.run(calls.text_request(prompt, max_tokens, stream=True, **options))
        events = TextEvents()
        with self._named(), closing(self._stream(request)) as chunks:
            for data in chunks:
                yield from events.feed(data)

    def run(self, call: Call[T]) -> T:
        """Carry out a call."""
        run = Run(call, self._retries)
        with self._named():
            while (action := run.action) is not None:
                if isinstance(action, Pause):
                    time.sleep(action.seconds)
                    run.go_on()
                    continue
                try:
                    reply = self._send(action)
                except ClientError as error:
                    run.fail(error)
                else:
                    run.go_on(reply)
        return run.result

    def _send(self, request: Request) -> Reply:
        connection, answer, until_s = self._open(request)
        try:
            body = b"".join(_chunks(answer, until_s))
            return Reply(answer.status, _headers(answer), body)
        except (OSError, HTTPException) as error:
            raise unreachable(error) from error
        finally:
            answer.close()  # it may have taken over the connection's socket
            connection.close()

    def _stream(self, request: Request) -> Generator[bytes]:
        connection, answer, until_s = self._open(request)
        try:
            if answer.status >= 300:  # noqa: PLR2004 (no success)
                check(Reply(answer.status, _headers(answer), b"".join(_chunks(answer, until_s))))
            yield from _chunks(answer, until_s)
        except (OSError, HTTPException) as error:
            raise unreachable(error) from error
        finally:
            answer.close()  # it may have taken over the connection's socket
            connection.close()

    def _open(self, request: Request) -> tuple[HTTPConnection, HTTPResponse, float]:
        """Send a request; returns its connection, the answer's head, and the deadline."""
        timeout_s = request.timeout_s or self._timeout_s
        until_s = time.monotonic() + timeout_s
        connection = self._connection(timeout_s)
        headers = self._address.head(request, self._api_key)
        try:
            target = self._address.prefix + request.target
            connection.request(request.method, target, request.body, headers)
            return connection, connection.getresponse(), until_s
        except (OSError, HTTPException) as error:
            connection.close()
            raise unreachable(error) from error

    def _connection(self, timeout_s: float) -> HTTPConnection:
        address = self._address
        if address.unix:
            return _UnixConnection(address.unix, timeout_s)
        if self._tls is not None:
            return HTTPSConnection(address.host, address.port, timeout=timeout_s, context=self._tls)
        return HTTPConnection(address.host, address.port, timeout=timeout_s)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _headers(answer: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _chunks(answer: HTTPResponse, until_s: float) -> Iterator[bytes]:
    """The body as it arrives; TimeoutError if a sender drips, ServerError if it never ends."""
    size = 0
    while data := answer.read1(_CHUNK):
        size += len(data)
        if size > MAX_ANSWER:
            raise ServerError(f"the answer is larger than {MAX_ANSWER >> 20} MiB")
        if time.monotonic() > until_s:
            raise TimeoutError
        yield data
    if answer.length:
        raise HTTPException("the answer is cut")
