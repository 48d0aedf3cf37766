"""Server-sent events: what changes, as it changes, for pages that stay open.

docs/http.md has the events. The format is that of the HTML standard, section 9.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.ops.routes import READ, Refusal, Request, Response, Route
from edge_agent.service.live_feed import LiveFeed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from edge_agent.clock import Clock
    from edge_agent.service.status_provider import StatusProvider

MAX_LISTENERS: Final = 32
BEAT_S: Final = 5.0  # a page that hears nothing for three of these connects again


def event_routes(status: StatusProvider, clock: Clock) -> list[Route]:
    """The table of the live events."""
    api = _EventsApi(LiveFeed(status, clock))
    summary = "What changes, as server-sent events"
    return [Route("GET", "/api/events", api.events, READ, summary=summary)]


class _EventsApi:
    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed

    async def events(self, request: Request) -> Response:
        """Answer with a stream; it goes on after `Last-Event-ID`, if the feed still knows it."""
        if self._feed.listeners >= MAX_LISTENERS:
            hint = "ask /api/alarms every few seconds instead"
            headers = {"Retry-After": "30"}
            raise Refusal(503, "too many listeners", hint, headers)
        cursor = self._feed.cursor_of(request.headers.get("Last-Event-ID", ""))
        return Response(self._stream(cursor), "text/event-stream; charset=utf-8")

    async def _stream(self, cursor: int) -> AsyncGenerator[bytes]:
        feed = self._feed
        feed.listen()
        try:
            yield feed.beat()
            while True:
                cursor, event = await feed.changes_after(cursor, BEAT_S)
                yield event or feed.beat()
        except ConnectionError:
            return
        finally:
            feed.leave()
