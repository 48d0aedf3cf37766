"""What a table of routes is made of: whoever serves something hands its rows to `ops.http`.

Nothing here knows aiohttp: a handler gets a `Request` and returns a `Response`, or any value that
goes out as JSON. A handler may be a coroutine function. It refuses by raising `Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

JSON: Final = "application/json"
# Scopes: who may ask. A client on the gateway itself may ask everything.
OPEN: Final = "open"  # anybody
READ: Final = "read"  # who has the token; anybody if none is configured
COMMAND: Final = "command"  # who has the token
MAX_BODY: Final = 16 << 10  # bytes
MAX_TEXT: Final = 256  # characters of a parameter


class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request that gets an error as its answer."""

    def __init__(
        self, status: int, error: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.hint = status, error, hint
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as its route allows it.

    parts: the parts of the path that the route names; query: every parameter of the route; body:
    a JSON value, bytes if the route takes another content type, None for a GET.
    """

    parts: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is more than a JSON value; content_type: with its charset."""

    body: bytes
    content_type: str = f"{JSON}; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query; parse: makes its value of (name, text) or raises `Refusal`."""

    parse: Callable[[str, str], Any]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a table of routes.

    path: with `{name}` or `{name:pattern}` for a part that is given to the handler; the first row
    that fits a request answers it. method: `*` for all. query: parameters by name; another one is
    refused, but by a route that has none at all. content_type: of the body of a POST or PUT, at
    most max_body bytes.
    """

    method: str
    path: str
    handler: Callable[[Request], object]
    scope: str = READ
    query: Mapping[str, Parameter] = field(default_factory=dict)
    content_type: str = JSON
    max_body: int = MAX_BODY


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON; NaN becomes null."""
    return Response(orjson.dumps(value), status=status, headers=headers or {})


# Parameters ---------------------------------------------------------------------------------------


def text() -> Parameter:
    """Take a short text."""

    def parse(name: str, value: str) -> str:
        if len(value) > MAX_TEXT:
            raise Refusal(400, f"{name} is longer than {MAX_TEXT} characters")
        return value

    return Parameter(parse)


def number(most: int, default: int | None) -> Parameter:
    """Take a whole number from 0 to `most`."""

    def parse(name: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(most))):
            raise Refusal(400, f"{name} is not a whole number from 0 to {most}")
        return min(int(value), most)

    return Parameter(parse, default)


def choice(words: Collection[str], refusal: str) -> Parameter:
    """Take one of `words`; refusal: what is said of another one."""

    def parse(_name: str, value: str) -> str:
        if value not in words:
            raise Refusal(400, refusal, f"one of: {', '.join(sorted(words))}")
        return value

    return Parameter(parse)
