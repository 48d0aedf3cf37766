"""Who may use which route: every route of the daemon, asked by every kind of client."""

from __future__ import annotations

import os
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edge_agent.clock import FakeClock
from edge_agent.config.language import EngineKind, Language
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.daemon import Daemon, load_config
from edge_agent.ops.http import HttpServer
from edge_agent.ops.key_file import changed_keys, new_key
from edge_agent.ops.local_socket import Peer
from edge_agent.ops.routes import ANY_TYPE, SCOPES, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from edge_agent.ops.key_file import Key

EXAMPLE = Path(__file__).parents[2] / "config" / "edge-agent.yaml"
TOKEN = "correct-horse-battery"  # noqa: S105
ELSEWHERE = {"X-Forwarded-For": "10.0.0.9"}  # a proxy lends nobody its address
STRANGER = Peer(4711, frozenset({4711}))
ALL = frozenset(SCOPES)
READ = frozenset({"read"})
LOCAL = frozenset({"read", "infer", "text"})
NONE: frozenset[str] = frozenset()
# What the key of a scope may do; written once more, so that a change of the code is seen.
MAY = {
    "read": READ,
    "infer": frozenset({"infer"}),
    "text": frozenset({"text"}),
    "command": frozenset({"command", "read"}),
    "models": frozenset({"models"}),
    "admin": ALL,
}
# A value for each placeholder of a path: the first that fits.
VALUES = ("x", "1", "ack", "failed", "activate", "0123456789abcdef")


@dataclass
class Asker:
    """A client: where it is, its key, what it may do, and the answer to all else."""

    name: str
    may: frozenset[str]
    refused: int
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    peer: Peer | None = None  # over the socket


def through(_: object) -> dict[str, bool]:
    """A handler that says that the request came to it."""
    return {"through": True}


def real_routes() -> list[Route]:
    """Every route of a daemon in which every interface is on, and one of each scope."""
    config = load_config(EXAMPLE, files=False, live=False)
    sections = {one.name: getattr(config, one.name) for one in fields(config)}
    can_be_off = {n: replace(s, enabled=True) for n, s in sections.items() if hasattr(s, "enabled")}
    texts = Language(engine=EngineKind.ASSISTANT)
    daemon = Daemon(replace(config, **can_be_off, language=texts))
    rows = [*daemon.parts.http.routes]
    assert len(rows) > 20
    assert any(row.path == "/v1/chat/completions" for row in rows)
    rows += [Route("POST", f"/test/{scope}", through, scope) for scope in SCOPES]
    return [replace(row, handler=through, parse=None, query={}) for row in rows]


def path_of(route: Route) -> str:
    """A path that the route takes."""

    def value(match: re.Match[str]) -> str:
        pattern = match[2] or ".+"
        fitting = [one for one in VALUES if re.fullmatch(pattern, one)]
        assert fitting, f"add a value for {pattern} to VALUES"
        return fitting[0]

    return re.sub(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}", value, route.path)


def kinds_of_key(now_ms: int) -> dict[str, tuple[Key, str]]:
    """A key of each scope, one that has expired, and one that was revoked."""
    made = {scope: new_key(scope, [scope], 0) for scope in SCOPES}
    made["expired"] = new_key("expired", ["admin"], 0, expires_ms=now_ms)
    made["revoked"] = new_key("revoked", ["admin"], 0, revoked_ms=now_ms)
    return made


def askers(secrets: dict[str, str]) -> Iterable[Asker]:
    """Every kind of client, where there are keys and a token."""
    places: dict[str, tuple[frozenset[str], dict[str, Any]]] = {
        "loopback": (READ, {}),
        "elsewhere": (NONE, {"headers": ELSEWHERE}),
        "socket": (READ, {"peer": STRANGER}),
    }
    for place, (without, where) in places.items():
        yield Asker(f"{place}: no key", without, 401, **where)
        for scope in SCOPES:
            may = MAY[scope] | without
            yield Asker(f"{place}: key {scope}", may, 403, secrets[scope], **where)
        for bad in ("expired", "revoked", "unknown", "cut"):
            yield Asker(f"{place}: {bad}", NONE, 401, secrets[bad], **where)
        yield Asker(f"{place}: token", ALL, 0, TOKEN, **where)
    own = Peer(os.geteuid(), frozenset())
    yield Asker("socket: own user", ALL, 0, peer=own)
    yield Asker("socket: own user, a key", ALL, 0, secrets["infer"], peer=own)
    yield Asker("socket: own user, wrong key", ALL, 0, secrets["unknown"], peer=own)


def strangers() -> Iterable[Asker]:
    """Every kind of client without a key, where there are none."""
    yield Asker("loopback", LOCAL, 403)
    yield Asker("loopback: any key", LOCAL, 403, "sk-none")
    yield Asker("elsewhere", READ, 403, headers=ELSEWHERE)
    yield Asker("socket", LOCAL, 403, peer=STRANGER)
    yield Asker("socket: own user", ALL, 0, peer=Peer(os.geteuid(), frozenset()))


@asynccontextmanager
async def asking(
    folder: Path, monkeypatch: pytest.MonkeyPatch, routes: list[Route], **config: Any
) -> AsyncIterator[Any]:
    """A function that asks for a route as a client; returns status and headers."""
    clock, peers = FakeClock(), [STRANGER]
    monkeypatch.setattr("edge_agent.ops.guard.peer_of", lambda _: peers[0])
    http = Http(port=0, socket=folder / "s", **config)
    server = HttpServer(http, routes, clock, folder / "keys.json")
    server.routes = tuple(routes)
    await server.start()
    base = f"http://127.0.0.1:{server.port}"
    socket = aiohttp.UnixConnector(str(server.socket_path))
    async with (
        aiohttp.ClientSession(base) as tcp,
        aiohttp.ClientSession("http://localhost", connector=socket) as unix,
    ):

        async def ask(asker: Asker, method: str, path: str, kind: str) -> tuple[int, Any, bytes]:
            clock.advance(60.0)  # wrong keys are slowed, which is tested elsewhere
            headers = asker.headers | ({"Content-Type": kind} if kind else {})
            headers |= {"Authorization": f"Bearer {asker.key}"} if asker.key else {}
            if asker.peer is not None:
                peers[0] = asker.peer
            session = tcp if asker.peer is None else unix
            body = b"{}" if method in {"POST", "PUT"} else None
            async with session.request(method, path, data=body, headers=headers) as answer:
                return answer.status, answer.headers, await answer.read()

        try:
            yield ask
        finally:
            await server.stop()


async def check_all(ask: Any, routes: list[Route], clients: Iterable[Asker]) -> int:
    """Ask for each route as each client; the number of requests."""
    asked = 0
    for asker in clients:
        for route in routes:
            method = "GET" if route.method == "*" else route.method
            status, headers, body = await ask(asker, method, path_of(route), route.content_type)
            is_allowed = route.scope == "open" or route.scope in asker.may
            wanted = 200 if is_allowed else asker.refused
            assert status == wanted, f"{asker.name}: {method} {route.path}: {status}"
            assert (b"through" in body) == is_allowed
            if status == 401:
                assert headers["WWW-Authenticate"].startswith("Bearer")
            if not is_allowed:
                assert b'"hint":""' not in body, "it says what to do"
            assert not any(one.startswith("Access-Control") for one in headers)
            asked += 1
    return asked


async def test_every_route_for_every_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the daemon's own table: a new route is in it without anybody's thinking of it."""
    monkeypatch.setenv("HTTP_TOKEN", TOKEN)
    made, routes = kinds_of_key(60_000), real_routes()
    with changed_keys(tmp_path / "keys.json") as keys:
        keys |= {key.id: key for key, _ in made.values()}
    secrets = {name: secret for name, (_, secret) in made.items()}
    secrets |= {"unknown": new_key("x", ["admin"], 0)[1], "cut": secrets["admin"][:-1]}
    token = Secret(env="HTTP_TOKEN")
    async with asking(tmp_path, monkeypatch, routes, token=token) as ask:
        assert await check_all(ask, routes, askers(secrets)) > 1000


async def test_every_route_where_there_are_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = real_routes()
    async with asking(tmp_path, monkeypatch, routes) as ask:
        await check_all(ask, routes, strangers())


async def test_what_is_no_route_is_not_told_to_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 before 404 and 405: the table of routes is for clients that may read."""
    routes = real_routes()
    async with asking(tmp_path, monkeypatch, routes, keys=tmp_path / "keys.json") as ask:
        for method, path in (("GET", "/nowhere"), ("PUT", "/api/alarms"), ("DELETE", "/metrics")):
            assert (await ask(Asker("", NONE, 0, headers=ELSEWHERE), method, path, ""))[0] == 401
            assert (await ask(Asker("", NONE, 0), method, path, ""))[0] in {404, 405}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_what_changes_something_is_not_for_readers(method: str) -> None:
    """A row that takes a body and has the scope `read` must be one of these, which only ask."""
    only_ask = {"/api/ask", "/v2/repository/index", "/test/read"}
    for route in real_routes():
        assert route.scope in {"open", *SCOPES}
        if route.method == method != "GET" and route.scope in {"read", "open"}:
            assert route.path in only_ask, f"{route.path}: is `read` right?"
        if route.content_type == ANY_TYPE:
            assert route.scope not in {"command", "admin"}, "a form of another page could send it"
