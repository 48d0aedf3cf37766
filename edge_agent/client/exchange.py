"""Requests and replies without any input or output: what to send, when to repeat it, what it means.

A call is a generator: it yields a `Request`, is sent the `Reply`, and returns its result. A
transport carries out what `Run` asks for, which is all that a sync and an async client differ in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from inspect import Parameter, signature
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from edge_agent import __version__
from edge_agent.client.errors import (
    BadDataError,
    BusyError,
    ClientError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    TimedOutError,
    UnauthorizedError,
    UnreachableError,
)

# When a request may be sent again.
ALWAYS: Final = "always"  # it changes nothing
IF_BUSY: Final = (
    "if_busy"  # only if the gateway refused it unread: it costs much, or may not repeat
)
NEVER: Final = "never"  # a command: who knows if it was carried out
MAX_ANSWER: Final = 64 << 20  # bytes
LONGEST_PAUSE_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.25
_OK: Final = range(200, 300)
_BUSY: Final = frozenset({429, 503})
_GONE: Final = frozenset({408, 504})
_KINDS: Final[dict[int, type[ClientError]]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: NotFoundError,
    409: ConflictError,
    421: ForbiddenError,
}
_HINTS: Final[dict[int, str]] = {  # if the gateway gives none
    404: "is the gateway's version older than this client?",
    413: "send fewer rows",
}
_KEY_HINT: Final = "give an API key that is valid: Client(url, api_key)"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; timeout_s: None for that of the client. repeat: ALWAYS, IF_BUSY, NEVER."""

    method: str
    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    repeat: str = ALWAYS
    timeout_s: float | None = None

    @property
    def target(self) -> str:
        """Path and query, as sent; parameters that are None or empty are left out."""
        given = {name: value for name, value in self.query.items() if value not in {None, ""}}
        return f"{self.path}?{urlencode(given)}" if given else self.path


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; headers by name in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """Its JSON; ServerError if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            text = "the answer is no JSON: another program listens there"
            raise ServerError(text, status=self.status) from None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


Call = Generator[Request, Reply, T]
Steps = Generator["Request | Pause", "Reply | None", T]


def post(path: str, body: Mapping[str, object], **more: Any) -> Request:  # noqa: ANN401 (of Request)
    """A request with a JSON body."""
    return Request("POST", path, body=json.dumps(body).encode(), **more)


def part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


class Run(Generic[T]):
    """A call that a transport carries out: it does `action` and says what came of it, until None.

    result: of the call, once there is no action. Raises the ClientErrors of the call.
    """

    result: T

    def __init__(self, call: Call[T], retries: int) -> None:
        self.action: Request | Pause | None = None
        self._steps = steps(call, retries)
        self._take(self._steps.__next__)

    def go_on(self, reply: Reply | None = None) -> None:
        """The request has this reply, or the pause is over."""
        self._take(lambda: self._steps.send(reply))

    def fail(self, error: ClientError) -> None:
        """The request has no reply."""
        self._take(lambda: self._steps.throw(error))

    def _take(self, step: Callable[[], Request | Pause]) -> None:
        try:
            self.action = step()
        except StopIteration as end:
            self.action, self.result = None, end.value


def steps(call: Call[T], retries: int) -> Steps[T]:
    """What a transport has to do for a call, with repetitions of what may be repeated."""
    reply: Reply | None = None
    while True:
        try:
            request = next(call) if reply is None else call.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        reply = yield from _exchange(request, retries)


def _exchange(request: Request, retries: int) -> Steps[Reply]:
    for attempt in range(retries + 1):
        try:
            reply = yield request
            assert reply is not None  # noqa: S101 (only a pause has none)
            check(reply)
        except (BusyError, UnreachableError) as error:
            pause_s = _pause_s(error, attempt)
            is_safe = request.repeat == ALWAYS or (
                request.repeat == IF_BUSY and isinstance(error, BusyError)
            )
            if not is_safe or attempt == retries or pause_s > LONGEST_PAUSE_S:
                raise
            yield Pause(pause_s)
        else:
            return reply
    raise AssertionError  # the last attempt returns or raises


def _pause_s(error: ClientError, attempt: int) -> float:
    return error.retry_after_s if isinstance(error, BusyError) else _FIRST_PAUSE_S * 2**attempt


def check(reply: Reply) -> None:
    """Raise the error that a reply stands for."""
    status = reply.status
    if status in _OK:
        return
    text, hint, column = _said(reply)
    hint = _KEY_HINT if status == 401 else hint or _HINTS.get(status, "")  # noqa: PLR2004
    if status in _BUSY:
        after_s = _seconds(reply.headers.get("retry-after", ""))
        raise BusyError(text, retry_after_s=after_s, hint=hint, status=status)
    if status in _GONE:
        raise TimedOutError(text, hint=hint, status=status)
    if kind := _KINDS.get(status):
        raise kind(text, hint=hint, status=status)
    if 400 <= status < 500:  # noqa: PLR2004 (the client's own fault)
        raise BadDataError(text, column=column, hint=hint, status=status)
    if 300 <= status < 400:  # noqa: PLR2004 (never followed: another server would get the key)
        text, hint = "it redirects to another address", f"is that one the gateway's? {hint}"
    raise ServerError(text, hint=hint or "the daemon's log says more", status=status)


def _said(reply: Reply) -> tuple[str, str, str]:
    """Error, hint and column of our own answers, and of those of the OpenAI API."""
    try:
        found = json.loads(reply.body)
        error = found["error"]
        if isinstance(error, dict):
            return str(error["message"]), "", str(error.get("param") or "")
        return str(error), str(found.get("hint", "")), str(found.get("column", ""))
    except (ValueError, TypeError, KeyError):
        return f"HTTP {reply.status}", reply.headers.get("location", ""), ""


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 1.0


# Where the gateway is -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port, or the path of a unix socket; prefix: of all paths, behind a proxy."""

    url: str
    host: str
    port: int
    is_tls: bool
    unix: str = ""
    prefix: str = ""

    def head(self, request: Request, api_key: str | None) -> dict[str, str]:
        """The headers of a request, in addition to its length."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.is_tls else 80
        found = {"Host": host if self.unix or self.port == default else f"{host}:{self.port}"}
        found |= {"Accept": "application/json", "User-Agent": f"edge-agent-client/{__version__}"}
        if request.body is not None:
            found["Content-Type"] = request.content_type
        if api_key:
            found["Authorization"] = f"Bearer {api_key}"
        return found


def parse_url(url: str) -> Address:
    """The address of `http://`, `https://` or `unix:/path`; ValueError for anything else."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            return Address(url, "localhost", 80, is_tls=False, unix=parts.path)
        if parts.scheme in {"http", "https"} and parts.hostname and not parts.username:
            is_tls = parts.scheme == "https"
            port = parts.port or (443 if is_tls else 80)
            prefix = parts.path.rstrip("/")
            return Address(url, parts.hostname, port, is_tls, prefix=prefix)
    except ValueError:
        pass
    raise ValueError(f"{url!r} is no address of a gateway, such as http://127.0.0.1:9460")


def unreachable(error: Exception) -> ClientError:
    """The error for what a transport met."""
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        hint = "has it too much to do? give a longer timeout_s"
        return TimedOutError("no answer in time", hint=hint)
    if "certificate" in reason.lower():
        hint = "give the plant's own authority: Client(url, api_key, ca='plant-ca.pem')"
        return UnreachableError(f"its certificate is not trusted: {reason}", hint=hint)
    hint = "is edge-agent running there, with http enabled, at this url?"
    return UnreachableError(f"no answer: {reason}", hint=hint)


# Streams of text ----------------------------------------------------------------------------------


class TextEvents:
    """Reads server-sent events of a chat completion; is_done: the last one was read."""

    def __init__(self) -> None:
        self._rest = b""
        self.is_done = False

    def feed(self, data: bytes) -> list[str]:
        """The pieces of text in what has arrived."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[str] = []
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            value = line[5:].strip()
            if value == b"[DONE]":
                self.is_done = True
            elif not self.is_done and (text := _delta(value)):
                found.append(text)
        return found


def _delta(value: bytes) -> str:
    try:
        event = json.loads(value)
        if "error" in event:
            raise ServerError(str(event["error"].get("message", event["error"])))
        choice = event["choices"][0] if event["choices"] else {}
        return str(choice.get("delta", {}).get("content") or choice.get("text") or "")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ServerError("the stream is no text of the OpenAI API") from None


# Methods ------------------------------------------------------------------------------------------


def as_method(method: Callable[..., object], make: Callable[..., object]) -> None:
    """Let a method of a client look like the call that it makes, with its parameters and text."""
    update_wrapper(method, make)
    del method.__wrapped__  # type: ignore[attr-defined]  # it has no `self`
    known = signature(make)
    itself = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    result = str(known.return_annotation).removeprefix("Call[").removesuffix("]")
    parameters = [itself, *known.parameters.values()]
    shown = known.replace(parameters=parameters, return_annotation=result)
    method.__signature__ = shown  # type: ignore[attr-defined]  # of the inspect module
