"""The types of a table of routes, which `ops.http` serves.

This module does not use aiohttp: a handler gets a `Request` and returns a `Response`, or any value,
which is sent as JSON. A handler may be a coroutine function. It refuses by raising `Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.messages import KEY_MARK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping

    Schema = Mapping[str, Any]

JSON: Final = "application/json"
UTF8_MARK: Final = b"\xef\xbb\xbf"  # with which .NET begins a text; RFC 8259 lets us overlook it
ANY_TYPE: Final = ""  # a body of any content type, also of none; the handler gets its bytes
# Scopes: what a route is for. docs/http.md has the table of clients.
OPEN: Final = "open"  # health and the empty page: everybody
READ: Final = "read"  # alarms, assets, history, metrics
INFER: Final = "infer"  # scores of models for given data
TEXT: Final = "text"  # generated text, and answers from manuals
COMMAND: Final = "command"  # what changes alarms and assets
MODELS: Final = "models"  # loading and unloading of models
ADMIN: Final = "admin"  # everything
SCOPES: Final = (READ, INFER, TEXT, COMMAND, MODELS, ADMIN)
# What a scope contains besides itself: who commands must see what.
CONTAINS: Final[dict[str, frozenset[str]]] = {
    COMMAND: frozenset({READ, COMMAND}),
    ADMIN: frozenset(SCOPES),
}
# What a client may do with routes of the scope COMMAND: use them, use them with a key, nothing.
ALLOWED: Final = "allowed"
NEEDS_TOKEN: Final = "token"  # noqa: S105 (a word)
OFF: Final = "off"
TOKEN: Final = "token"  # noqa: S105 (the name of a client with `http.token`)
MAX_BODY: Final = 16 << 10  # bytes
MAX_TEXT: Final = 256  # characters of a parameter


class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request that is answered with an error."""

    def __init__(
        self, status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.hint = status, error, hint
        self.headers = headers or {}


def always() -> bool:
    """True: of a client that nobody watches."""
    return True


def all_scopes(given: Iterable[str]) -> frozenset[str]:
    """These scopes and those that they contain."""
    return frozenset().union(*(CONTAINS.get(one, frozenset({one})) for one in given))


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: the name of its key (TOKEN with `http.token`, "" with none), and its scopes.

    has_keys: keys or a token are set, with which the client could do more. max_body: the most bytes
    that its key allows.
    """

    name: str = ""
    scopes: frozenset[str] = frozenset()
    has_keys: bool = False
    key_id: str = ""
    max_body: int | None = None

    @property
    def commands(self) -> str:
        """What it may command: ALLOWED, NEEDS_TOKEN or OFF."""
        if COMMAND in self.scopes:
            return ALLOWED
        return NEEDS_TOKEN if self.has_keys else OFF

    def actor(self, said: str = "") -> str:
        """Who is recorded in the audit; said: the name in the request, which proves nothing."""
        if not said:
            return self.name
        return said if self.name in {"", TOKEN, said} else f"{said}{KEY_MARK}{self.name})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that its route allows.

    parts: the placeholders of the path; query: every parameter of the route; body:
    a JSON value, bytes if the route takes another content type, None for a GET; or what the
    route's `parse` made of it. headers: without regard to upper case. goes_on: False after the
    client has gone, or its key has ended; a handler that works for long asks it.
    """

    parts: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None
    client: Client = Client()
    headers: Mapping[str, str] = field(default_factory=dict)
    goes_on: Callable[[], bool] = always


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is not only a JSON value; content_type: with its charset.

    body: bytes, or parts of a stream, each sent at once. The stream is closed (`aclose`) when the
    client disconnects or its key is revoked.
    """

    body: bytes | AsyncGenerator[bytes]
    content_type: str = f"{JSON}; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query; parse: makes its value from (name, text) or raises `Refusal`.

    schema: JSON schema of its values.
    """

    parse: Callable[[str, str], Any]
    default: Any = None
    schema: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a table of routes.

    path: with `{name}` or `{name:pattern}` for a part that the handler receives; the first row
    that matches a request answers it. method: `*` for all. query: parameters by name; another one
    is refused, except by a route without any. content_type: of the body of a POST or PUT, or
    ANY_TYPE; at most max_body bytes. parse: makes the request's body from the JSON value and the
    parts of the path, or raises `Refusal`. summary, takes, answer: for /openapi.json; JSON schemas
    of the body of a request, and of the answer (None: it is not JSON). is_apart: the handler runs
    on the loop of the server and does not hold up the daemon's; else it uses the daemon's objects.
    """

    method: str
    path: str
    handler: Callable[[Request], object]
    scope: str
    query: Mapping[str, Parameter] = field(default_factory=dict)
    content_type: str = JSON
    max_body: int = MAX_BODY
    parse: Callable[[Any, Mapping[str, str]], Any] | None = None
    summary: str = ""
    takes: Schema | None = None
    answer: Schema | None = None
    is_apart: bool = False


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON; NaN becomes null."""
    return Response(orjson.dumps(value), status=status, headers=headers or {})


# Parameters ---------------------------------------------------------------------------------------


def text() -> Parameter:
    """Parse a short text."""

    def parse(name: str, value: str) -> str:
        if len(value) > MAX_TEXT:
            raise Refusal(400, f"{name} is longer than {MAX_TEXT} characters")
        return value

    return Parameter(parse, schema={"type": "string", "maxLength": MAX_TEXT})


def number(most: int, default: int | None) -> Parameter:
    """Parse a whole number from 0 to `most`."""

    def parse(name: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(most))):
            raise Refusal(400, f"{name} is not a whole number from 0 to {most}")
        return min(int(value), most)

    return Parameter(parse, default, {"type": "integer", "minimum": 0, "maximum": most})


def choice(words: Collection[str], refusal: str) -> Parameter:
    """Parse one of `words`; refusal: the error for another one."""

    def parse(_name: str, value: str) -> str:
        if value not in words:
            raise Refusal(400, refusal, f"one of: {', '.join(sorted(words))}")
        return value

    return Parameter(parse, schema={"type": "string", "enum": sorted(words)})
