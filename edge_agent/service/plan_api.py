"""The route of the maintenance plan: JSON, CSV for spreadsheets, iCalendar for calendars."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edge_agent.insight.maintenance import STATUSES, calendar_of, table_of
from edge_agent.ops.routes import READ, Refusal, Request, Response, Route, as_json, choice, text
from edge_agent.service import schemas

if TYPE_CHECKING:
    from collections.abc import Callable

PATH: Final = "/api/plan"
_BY_LANGUAGE: Final = schemas.FREE
_LINE: Final = schemas.object_of(
    *("rank", "job", "asset", "mode", "status", "due_ms", "stop", "crew", "start_ms", "end_ms"),
    *("probability", "loss", "expected_cost", "wait_cost", "what", "why", "bound"),
    rank=schemas.WHOLE,
    job=schemas.TEXT,
    asset=schemas.TEXT,
    mode=schemas.TEXT,
    status={"type": "string", "enum": list(STATUSES)},
    due_ms=schemas.WHOLE,
    crew=schemas.TEXT,
    probability=schemas.NUMBER,
    loss=schemas.NUMBER,
    expected_cost=schemas.NUMBER,
    wait_cost=schemas.NUMBER,
    what=_BY_LANGUAGE,
    why=_BY_LANGUAGE,
    bound=schemas.TEXT,
)
PLAN: Final = schemas.object_of(
    *("at_ms", "until_ms", "by", "currency", "expected_cost", "lines", "stops", "changes", "notes"),
    at_ms=schemas.WHOLE,
    until_ms=schemas.WHOLE,
    by=schemas.TEXT,
    currency=schemas.TEXT,
    expected_cost=schemas.NUMBER,
    lines=schemas.list_of(_LINE),
    stops=schemas.list_of(schemas.FREE),
    changes=schemas.list_of(schemas.FREE),
    notes=schemas.list_of(schemas.TEXT),
)


def plan_routes(present: Callable[[], dict[str, Any] | None], language: str) -> list[Route]:
    """The table of the plan; present: the last plan; language: of CSV and iCalendar by default."""

    async def answer(request: Request) -> Response:
        plan = present()
        if plan is None:
            raise Refusal(404, "there is no plan yet", "is `maintenance` in the config?")
        wanted = request.query["language"] or language
        if request.query["format"] == "csv":
            body = await asyncio.to_thread(table_of, plan, wanted)
            return Response(body, "text/csv; charset=utf-8")
        if request.query["format"] == "ics":
            body = await asyncio.to_thread(calendar_of, plan, wanted)
            return Response(body, "text/calendar; charset=utf-8")
        return await asyncio.to_thread(as_json, plan)

    query = {"format": choice(("json", "csv", "ics"), "no such format"), "language": text()}
    summary = "The maintenance plan: a proposal, ranked, with reasons"
    return [
        Route("GET", PATH, answer, READ, query=query, summary=summary, answer=PLAN, is_apart=True)
    ]
