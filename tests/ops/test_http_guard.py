"""What keeps strangers out, and keeps those who say nothing from being in the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from status_support import ListStatus, asset_row, plant_of, serving

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.errors import ConfigError
from edge_agent.ops import guard, handlers
from edge_agent.ops.http import HttpServer
from edge_agent.ops.routes import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "correct-horse-battery"  # noqa: S105
BODY = b'{"by":"Lena"}'
ACK = "/api/alarms/P-042.model/ack"


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@asynccontextmanager
async def connected(
    port: int, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def raw(port: int, request: bytes, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """Send bytes as they are; give the status and the whole answer."""
    async with connected(port, host) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(20):
            answer = await reader.read()
    return int(answer.split(b" ", 2)[1]), answer


def get(path: str, *lines: str, host: str = "localhost") -> bytes:
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def post(path: str, body: bytes = BODY, *lines: str, host: str = "localhost") -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *(lines or ("Content-Type: application/json",)),
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("HTTP_TOKEN", TOKEN)
    return Secret(env="HTTP_TOKEN")


# -- the Host header ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1:9460", "[::1]:9460", "10.1.2.3", "gw7.plant:9460"],
)
async def test_own_names_and_addresses_are_answered(host: str) -> None:
    async with serving(names=("gw7.plant",)) as server:
        assert (await raw(server.port, get("/health/live", host=host)))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "0.0.0.0",  # noqa: S104
        "",
        "a b",
        "[::",
    ],
)
async def test_a_name_that_is_not_ours_is_not_answered(host: str) -> None:
    """DNS rebinding: a stranger's page may point its own name at this address."""
    async with serving(plant_of(50)) as server:
        for request in (get("/api/summary", host=host), post(ACK, host=host)):
            status, answer = await raw(server.port, request)
            assert status in {400, 421}
            assert b"gw-07" not in answer


async def test_a_request_without_host_is_not_answered() -> None:
    async with serving() as server:
        assert (await raw(server.port, b"GET /metrics HTTP/1.0\r\n\r\n"))[0] == 421
        assert (await raw(server.port, b"GET /health/live HTTP/1.1\r\n\r\n"))[0] == 400


async def test_a_load_balancer_may_ask_for_the_health_without_host() -> None:
    """HAProxy's plain check is HTTP/1.0 without a name; a browser never is."""
    async with serving() as server:
        assert (await raw(server.port, b"GET /health/live HTTP/1.0\r\n\r\n"))[0] == 200


# -- forms, other pages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=application/json",
        "X-Nothing: 1",
    ],
)
async def test_what_a_form_can_send_is_no_command(line: str) -> None:
    status = plant_of(50)
    async with serving(status) as server:
        assert (await raw(server.port, post(ACK, BODY, line)))[0] == 415
    assert status.commands == []


async def test_a_preflight_of_another_origin_is_not_granted() -> None:
    async with serving(plant_of(50)) as server:
        lines = ("Origin: http://evil.example", "Access-Control-Request-Method: POST")
        request = get(ACK, *lines).replace(b"GET", b"OPTIONS", 1)
        status, answer = await raw(server.port, request)
    assert status == 403
    assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("https://LOCALHOST", 200),  # a proxy with TLS in front
        ("http://localhost:8080", 403),  # another server of this machine
        ("http://evil.example", 403),
        ("null", 403),  # a sandboxed frame, a file
        ("", 403),
    ],
)
async def test_an_origin_that_is_not_ours_gets_nothing(origin: str, status: int) -> None:
    """On every route, also on those that need no content type; without an answer for CORS."""
    async with serving(plant_of(50)) as server:
        for path in ("/api/summary", "/health/live", "/", "/static/app.js"):
            code, answer = await raw(server.port, get(path, f"Origin: {origin}"))
            assert code == status
            assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    "request_", [get("/"), get("/nowhere"), get("/metrics"), b"\x16\x03\x01 nonsense\r\n\r\n"]
)
async def test_every_answer_hides_the_make_and_holds_browsers_in_check(request_: bytes) -> None:
    async with serving() as server:
        _, answer = await raw(server.port, request_)
    head = answer.split(b"\r\n\r\n", 1)[0].decode().lower()
    assert "server: edge-agent\r\n" in f"{head}\r\n"
    assert "aiohttp" not in answer.decode().lower()
    assert "python" not in head
    assert "default-src 'none'" in head
    assert "x-content-type-options: nosniff" in head
    assert "unsafe" not in head


# -- the token ------------------------------------------------------------------------------------


async def test_from_elsewhere_without_a_token_one_may_read_and_not_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    host, status = own_address(), plant_of(50)
    async with serving(status, host=host) as server:
        assert (await raw(server.port, get("/api/summary", host=host), host))[0] == 200
        code, answer = await raw(server.port, post(ACK, host=host), host)
        assert code == 403
        assert b"http.token" in answer
    assert status.commands == []
    assert "http without token beyond loopback" in caplog.text


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"Authorization: Bearer {TOKEN}", 200),
        (f"authorization: bearer  {TOKEN} ", 200),
        ("X-Nothing: 1", 401),
        ("Authorization: Bearer", 401),
        (f"Authorization: Bearer {TOKEN}x", 401),
        (f"Authorization: Basic {TOKEN}", 401),
        ("Authorization: Bearer \xe4\xff", 401),
    ],
)
async def test_from_elsewhere_the_token_opens(line: str, status: int, token: Secret) -> None:
    host, plant = own_address(), plant_of(50)
    async with serving(plant, host=host, token=token) as server:
        for request in (
            get("/metrics", line, host=host),
            get("/api/summary", line, host=host),
            post(ACK, BODY, "Content-Type: application/json", line, host=host),
        ):
            code, answer = await raw(server.port, request, host)
            assert code == status
            assert (b"WWW-Authenticate: Bearer" in answer) == (status == 401)
    assert len(plant.commands) == (status == 200)


async def test_health_and_the_empty_page_need_no_token(token: Secret) -> None:
    host = own_address()
    async with serving(host=host, token=token) as server:
        for path in ("/health/live", "/health/ready", "/", "/static/app.js"):
            assert (await raw(server.port, get(path, host=host), host))[0] == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/summary", "/api/alarms/history"])
async def test_on_the_gateway_itself_reading_needs_no_token(path: str, token: Secret) -> None:
    async with serving(plant_of(50), token=token) as server:
        assert (await raw(server.port, get(path)))[0] == 200


async def test_from_loopback_too_a_command_needs_the_token(token: Secret) -> None:
    """Any user of the gateway can connect to a port of the loopback."""
    plant, key = plant_of(50), f"Authorization: Bearer {TOKEN}"
    async with serving(plant, token=token) as server:
        assert (await raw(server.port, post(ACK)))[0] == 401
        assert plant.commands == []
        line = "Content-Type: application/json"
        assert (await raw(server.port, post(ACK, BODY, line, key)))[0] == 200


async def test_without_a_token_there_are_no_commands_over_tcp() -> None:
    """The answer says how to command; it stands after what is wrong with the request itself."""
    plant = plant_of(50)
    async with serving(plant) as server:
        status, answer = await raw(server.port, post(ACK))
        assert (await raw(server.port, post(ACK, b"{}")))[0] == 400
    assert status == 403
    assert b"http.token" in answer
    assert plant.commands == []


async def test_a_denied_command_is_reported(token: Secret) -> None:
    """With the client and the path, for the audit."""
    denied: list[tuple[str, str, str]] = []

    async def note(*what: str) -> None:
        denied.append(what)  # type: ignore[arg-type]

    async with serving(plant_of(50), token=token) as server:
        server.guard.on_denied = note
        await raw(server.port, post(ACK))
        await raw(server.port, get("/api/summary"))
    assert denied == [("127.0.0.1", ACK, "a key with the scope 'command' is needed")]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unheard-of"])
async def test_a_page_of_another_site_may_not_even_read(site: str) -> None:
    """A browser sends such a GET without asking, and its answer costs us work."""
    async with serving(plant_of(50)) as server:
        for path in ("/api/alarms/history", "/metrics", "/api/summary"):
            assert (await raw(server.port, get(path, f"Sec-Fetch-Site: {site}")))[0] == 403
        for path in ("/", "/health/live"):
            lines = [f"Sec-Fetch-Site: {site}"]
            assert (await raw(server.port, get(path, *lines)))[0] == 403
            lines += ["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]  # a link
            assert (await raw(server.port, get(path, *lines)))[0] == 200
            assert (await raw(server.port, get(path, *lines, "Origin: null")))[0] == 403
            frame = [*lines[:2], "Sec-Fetch-Dest: iframe"]
            assert (await raw(server.port, get(path, *frame)))[0] == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_our_own_page_and_a_typed_address_may_read(site: str) -> None:
    async with serving(plant_of(50)) as server:
        request = get("/api/summary", f"Sec-Fetch-Site: {site}")
        assert (await raw(server.port, request))[0] == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For: 10.0.0.9", "Forwarded: for=10.0.0.9"])
async def test_a_local_proxy_does_not_lend_its_address(header: str, token: Secret) -> None:
    async with serving(plant_of(50), token=token) as server:
        assert (await raw(server.port, get("/api/summary", header)))[0] == 401


def test_a_short_token_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_TOKEN", "")
    with pytest.raises(ConfigError, match=r"http\.token.*shorter"):
        HttpServer(Http(token=Secret(env="HTTP_TOKEN")), [], FakeClock())


# -- sizes and times ------------------------------------------------------------------------------


async def test_a_body_over_16_kib_is_413_however_it_is_sent() -> None:
    status = plant_of(50)
    big = json.dumps({"by": "x" * MAX_BODY}).encode()
    chunk = f"{len(big):x}\r\n".encode() + big + b"\r\n0\r\n\r\n"
    chunked = post(ACK, b"", "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunked = chunked.replace(b"Content-Length: 0\r\n", b"") + chunk
    async with serving(status) as server:
        assert (await raw(server.port, post(ACK, big)))[0] == 413
        assert (await raw(server.port, chunked))[0] == 413
    assert status.commands == []


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with serving(plant_of(50)) as server:
        lines = ("Content-Type: application/json", "Content-Encoding: gzip")
        assert (await raw(server.port, post(ACK, gzip.compress(BODY), *lines)))[0] == 400


@pytest.mark.parametrize(
    "request_",
    [
        get("/" + "x" * 10_000),
        get("/", "X-Long: " + "x" * 20_000),
        get("/", *(f"X-{number}: 1" for number in range(200))),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x00" * 2000 + b"\r\n\r\n",
    ],
)
async def test_an_outsized_or_malformed_header_is_400_and_no_noise_in_the_log(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving() as server:
        caplog.clear()
        assert (await raw(server.port, request_))[0] == 400
        assert (await raw(server.port, get("/health/live")))[0] == 200
    assert caplog.records == []


async def test_a_body_that_never_ends_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "BODY_TIMEOUT_S", 0.1)
    monkeypatch.setitem(guard._LIMITS, "lingering_time", 0.1)
    async with serving(plant_of(50)) as server:
        assert (await raw(server.port, post(ACK, BODY)[:-3]))[0] == 408


def test_a_silent_connection_lasts_seconds_not_an_hour() -> None:
    """aiohttp's own limit is 3630 s; the tests below shorten ours."""
    assert guard._LIMITS["keepalive_timeout"] <= 30


async def test_a_header_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: one more line now and then keeps no connection open."""
    monkeypatch.setitem(guard._LIMITS, "keepalive_timeout", 0.3)
    async with serving() as server, connected(server.port) as (reader, writer):
        started = time.monotonic()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        drip = asyncio.create_task(dripping(writer))
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):  # by a line that came after the end
                assert await reader.read() == b""
        assert time.monotonic() - started < 3
        drip.cancel()


async def dripping(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"X-Slow: 1\r\n")
        await asyncio.sleep(0.05)


async def test_an_idle_connection_is_closed_after_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(guard._LIMITS, "keepalive_timeout", 0.2)
    request = get("/health/live").replace(b"Connection: close\r\n", b"")
    async with serving() as server, connected(server.port) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_hundreds_of_silent_connections_do_not_stop_health() -> None:
    async with serving(plant_of(50)) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(400)]
        for _, writer in silent[::2]:
            writer.write(b"GET / HTTP/1.1\r\nHost: loc")
        started = time.monotonic()
        assert (await raw(server.port, get("/health/live")))[0] == 200
        assert time.monotonic() - started < 2
        assert len(server._connections) <= guard.MAX_CONNECTIONS
        for _, writer in silent:
            writer.close()


async def test_readers_who_stop_reading_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody fetches holds a connection only until another needs its place."""
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 4)
    # More than the kernel takes off our hands.
    status = ListStatus([asset_row("P-1", note="x" * 100_000)] * 120)
    async with serving(status) as server:
        stuck = []
        for _ in range(8):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", server.port))
            await loop.sock_sendall(sock, get("/api/assets"))
            assert await loop.sock_recv(sock, 15) == b"HTTP/1.1 200 OK"
            stuck.append(sock)
        assert (await raw(server.port, get("/health/live")))[0] == 200
        assert server._runner is not None
        assert server._runner.server is not None
        assert len(server._runner.server.connections) <= 4
        for sock in stuck:
            sock.close()


async def test_who_asks_again_and_again_outlives_the_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 3)
    request = get("/health/live").replace(b"Connection: close\r\n", b"")
    async with serving() as server, connected(server.port) as (reader, writer):
        others: list[Any] = []
        for _ in range(6):
            writer.write(request)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            others.append(await asyncio.open_connection("127.0.0.1", server.port))
        for _, other in others:
            other.close()


async def test_stop_ends_open_connections_at_once() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        started = time.monotonic()
        await server.stop()
        assert await reader.read() == b""
        assert time.monotonic() - started < 3
        writer.close()
