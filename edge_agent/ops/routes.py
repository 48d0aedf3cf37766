"""The types of a table of routes, which `ops.http` serves.

This module does not use aiohttp: a handler gets a `Request` and returns a `Response`, or any value,
which is sent as JSON. A handler may be a coroutine function. It refuses by raising `Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

JSON: Final = "application/json"
# Scopes: access rights; docs/http.md has the table of clients.
OPEN: Final = "open"  # anybody
READ: Final = "read"  # clients of this machine, or with the token; all if none is configured
COMMAND: Final = "command"  # clients with the token, or those of the socket that may command
# What a client may do with routes of the scope COMMAND: use them, use them with the token, nothing.
ALLOWED: Final = "allowed"
NEEDS_TOKEN: Final = "token"  # noqa: S105 (a word)
OFF: Final = "off"
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


@dataclass(frozen=True, slots=True)
class Request:
    """A request that its route allows.

    parts: the placeholders of the path; query: every parameter of the route; body:
    a JSON value, bytes if the route takes another content type, None for a GET; or what the
    route's `parse` made of it. commands: what the client may command: ALLOWED, NEEDS_TOKEN or OFF.
    """

    parts: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None
    commands: str = OFF


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is not only a JSON value; content_type: with its charset."""

    body: bytes
    content_type: str = f"{JSON}; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query; parse: makes its value from (name, text) or raises `Refusal`."""

    parse: Callable[[str, str], Any]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a table of routes.

    path: with `{name}` or `{name:pattern}` for a part that the handler receives; the first row
    that matches a request answers it. method: `*` for all. query: parameters by name; another one
    is refused, except by a route without any. content_type: of the body of a POST or PUT, at
    most max_body bytes. parse: makes the request's body from the JSON value and the parts of the
    path, or raises `Refusal`.
    """

    method: str
    path: str
    handler: Callable[[Request], object]
    scope: str = READ
    query: Mapping[str, Parameter] = field(default_factory=dict)
    content_type: str = JSON
    max_body: int = MAX_BODY
    parse: Callable[[Any, Mapping[str, str]], Any] | None = None


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

    return Parameter(parse)


def number(most: int, default: int | None) -> Parameter:
    """Parse a whole number from 0 to `most`."""

    def parse(name: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(most))):
            raise Refusal(400, f"{name} is not a whole number from 0 to {most}")
        return min(int(value), most)

    return Parameter(parse, default)


def choice(words: Collection[str], refusal: str) -> Parameter:
    """Parse one of `words`; refusal: the error for another one."""

    def parse(_name: str, value: str) -> str:
        if value not in words:
            raise Refusal(400, refusal, f"one of: {', '.join(sorted(words))}")
        return value

    return Parameter(parse)
