"""The memory that large bodies of requests may take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edge_agent.ops.routes import MAX_BODY, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from edge_agent.ops.routes import Route

MAX_LARGE: Final = 64 << 20  # bytes of all large bodies that are read or answered now


class LargeBodies:
    """Limits the memory that large bodies take, however many connections send one."""

    def __init__(self) -> None:
        self._free = MAX_LARGE

    @contextmanager
    def room(self, request: web.Request, route: Route) -> Iterator[None]:
        """Hold the memory of a body until it is answered; Refusal 429 if there is too little."""
        length = request.content_length
        size = route.max_body if length is None else min(length, route.max_body)
        if route.max_body <= MAX_BODY or not request.can_read_body:
            size = 0
        if size > self._free:
            raise Refusal(429, "too many large requests at a time", headers={"Retry-After": "1"})
        self._free -= size
        try:
            yield
        finally:
            self._free += size
