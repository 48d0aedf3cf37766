"""/openapi.json: made from the tables of routes."""

from __future__ import annotations

from typing import Any

from edge_agent.ops.routes import ANY_TYPE, COMMAND, OPEN, READ, Route, choice, number
from edge_agent.service.openapi import document_of


def nothing(_: object) -> None:
    """A handler."""


def operation(path: str = "/a", scope: str = READ, **more: Any) -> dict[str, Any]:
    document = document_of([Route("GET", path, nothing, scope, **more)])
    [methods] = document["paths"].values()
    found: dict[str, Any] = methods["get"]
    return found


def test_a_route_has_its_parameters() -> None:
    """Of the path, with what fits, and of the query, with their ranges."""
    path = "/a/{name}/{kind:ack|shelve}/{id:[0-9a-f]{16}}"
    query = {"limit": number(200, 50), "state": choice({"b", "a"}, "no such state")}
    found = operation(path, query=query)["parameters"]
    assert [(one["in"], one["name"]) for one in found] == [
        ("path", "name"),
        ("path", "kind"),
        ("path", "id"),
        ("query", "limit"),
        ("query", "state"),
    ]
    schemas = [one["schema"] for one in found]
    assert schemas[1]["enum"] == ["ack", "shelve"]
    assert schemas[2]["pattern"] == "^[0-9a-f]{16}$"
    assert schemas[3] == {"type": "integer", "minimum": 0, "maximum": 200}
    assert schemas[4]["enum"] == ["a", "b"]
    assert list(document_of([Route("GET", path, nothing, READ)])["paths"]) == [
        "/a/{name}/{kind}/{id}"
    ]


def test_what_needs_a_key_says_so() -> None:
    """Health is open."""
    assert "security" in operation(scope=COMMAND)
    assert "security" not in operation(scope=OPEN)


def test_a_body_has_its_schema() -> None:
    """Also one that may come without a Content-Type."""
    takes = {"type": "object"}
    route = Route("POST", "/a", nothing, READ, content_type=ANY_TYPE, takes=takes, answer=takes)
    found = document_of([route])["paths"]["/a"]["post"]
    assert found["requestBody"]["content"] == {"application/json": {"schema": takes}}
    assert {"application/json", "application/octet-stream"} == {
        *found["responses"]["200"]["content"]
    }
