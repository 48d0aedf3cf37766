"""/openapi.json: what all routes of the server take and answer, made from their tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from edge_agent import __version__
from edge_agent.ops.routes import ANY_TYPE, JSON, OPEN, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH: Final = "/openapi.json"
_PLACE: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})*))?\}")
_WORDS: Final = re.compile(r"\w+(\|\w+)*")
_ERROR: Final = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
    "required": ["error"],
}


def with_document(routes: Sequence[Route]) -> list[Route]:
    """These routes, and one that describes them; the routes of the page are not described."""
    found = list(routes)
    summary, answer = "This document", {"type": "object"}
    document = lambda _: document_of(found)  # noqa: E731 (made when it is asked for)
    found.append(Route("GET", PATH, document, OPEN, summary=summary, answer=answer))
    return found


def document_of(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a table of routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.method != "*":
            path = _PLACE.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-agent", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": route.summary or route.path,
        "x-scope": route.scope,
        "parameters": [*_places(route), *_parameters(route)],
        "responses": {"200": _answer(route), "default": _refusal()},
    }
    if route.scope != OPEN:
        found["security"] = [{}, {"key": []}]
    if route.method != "GET":
        found["requestBody"] = _request_body(route)
    return found


def _places(route: Route) -> list[dict[str, Any]]:
    """The placeholders of the path, with the words or the pattern that fit."""
    found = []
    for name, pattern in _PLACE.findall(route.path):
        schema: dict[str, Any] = {"type": "string"}
        if _WORDS.fullmatch(pattern):
            schema["enum"] = pattern.split("|")
        elif pattern:
            schema["pattern"] = f"^{pattern}$"
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": dict(one.schema)}
        for name, one in route.query.items()
    ]


def _answer(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "as documented in docs/http.md"}
    content = {JSON: {"schema": dict(route.answer)}}
    if route.content_type == ANY_TYPE:
        content["application/octet-stream"] = {"schema": {}}
    return {"description": "done", "content": content}


def _refusal() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": "refused: why", "content": {JSON: {"schema": schema}}}


def _request_body(route: Route) -> dict[str, Any]:
    kind = JSON if route.content_type == ANY_TYPE else route.content_type
    return {"required": False, "content": {kind: {"schema": dict(route.takes or {})}}}
