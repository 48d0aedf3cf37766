"""What other programs send that is right, though browsers and our own client never send it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import shutil
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest
import tiny_versions
from oip_support import NAME, asking, serving, windows

from edge_agent.clock import FakeClock
from edge_agent.config.settings import Http
from edge_agent.ops.http import HttpServer
from edge_agent.ops.routes import INFER, Request, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATH = f"/v2/models/{NAME}/infer"
BODY = json.dumps(asking(windows(3.0))).encode()
CLOSE = "Connection: close"
PIECES = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (BODY[:50], BODY[50:])) + b"0\r\n"
CHUNKED = "Transfer-Encoding: chunked"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB"


def post(*headers: str, body: bytes = BODY, version: str = "1.1", length: bool = True) -> bytes:
    size = [f"Content-Length: {len(body)}"] if length else []
    lines = [f"POST {PATH} HTTP/{version}", "Host: localhost", *headers, *size, "", ""]
    return "\r\n".join(lines).encode() + body


def get(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", CLOSE, *headers, "", ""]
    return "\r\n".join(lines).encode()


class Said(NamedTuple):
    """What a server sent until it closed the connection: the statuses, and all of it."""

    statuses: list[int]
    text: bytes


async def say(url: str, *parts: bytes) -> Said:
    """Send parts one after the other, and read all."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    text = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return Said([int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", text)], text)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with serving(tmp_path) as here:
        yield here.url


async def test_what_is_right_is_answered(url: str) -> None:
    """Each with the score; several in one connection with as many answers."""
    waits = post(CLOSE, "Expect: 100-continue")
    end = waits.index(b"\r\n\r\n") + 4
    shouted = post(CLOSE).replace(b"Host", b"HOST").replace(b"Content-Length", b"CONTENT-LENGTH")
    cases: dict[str, tuple[list[bytes], list[int]]] = {
        "no content type": ([post(CLOSE)], [200]),
        "curl -d": ([post(CLOSE, "Content-Type: application/x-www-form-urlencoded")], [200]),
        "chunked": ([post(CLOSE, CHUNKED, body=PIECES + b"\r\n", length=False)], [200]),
        "trailers": ([post(CLOSE, CHUNKED, body=PIECES + b"X: 1\r\n\r\n", length=False)], [200]),
        "HTTP/1.0": ([post(version="1.0")], [200]),
        "pipelining": ([post() + post() + post(CLOSE)], [200, 200, 200]),
        "a byte at a time": (
            [bytes([one]) for one in post(CLOSE)[:90]] + [post(CLOSE)[90:]],
            [200],
        ),
        "expect": ([waits[:end], waits[end:]], [100, 200]),
        "capitals": ([shouted], [200]),
        "small letters": ([post(CLOSE).replace(b"Host", b"host")], [200]),
        "gzip": ([post(CLOSE, "Content-Encoding: gzip", body=gzip.compress(BODY))], [200]),
        "x-gzip": ([post(CLOSE, "Content-Encoding: X-GZIP", body=gzip.compress(BODY))], [200]),
        "deflate": ([post(CLOSE, "Content-Encoding: deflate", body=zlib.compress(BODY))], [200]),
        ".NET begins with a mark": ([post(CLOSE, body=b"\xef\xbb\xbf" + BODY)], [200]),
    }
    for name, (parts, statuses) in cases.items():
        found = await say(url, *parts)
        assert found.statuses == statuses, f"{name}: {found.text[-300:]!r}"
        assert found.text.count(b'"data":[3.0]') == statuses.count(200), name


async def test_who_offers_http_2_goes_on_with_what_there_is(url: str) -> None:
    """Java's client asks for an upgrade first, and uses the same connection for the next."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for headers in ([H2C], [], [H2C], []):
        writer.write(post(*headers))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Upgrade" not in head
        assert b"3.0" in await asyncio.wait_for(reader.readuntil(b"}]}"), 60)
    writer.close()


async def test_what_is_wrong_is_refused_in_our_form(url: str) -> None:
    """JSON with the reason, and never an answer of two meanings."""
    long, many = f"X: {'a' * 9000}", "\r\n".join(f"X{n}: 1" for n in range(100))
    cases: dict[str, tuple[bytes, int]] = {
        "two lengths": (post(CLOSE, CHUNKED, body=PIECES + b"\r\n"), 400),
        "no body": (post(CLOSE, body=b""), 400),
        "UTF-16": (post(CLOSE, body=BODY.decode().encode("utf-16")), 400),
        "brotli": (post(CLOSE, "Content-Encoding: br"), 400),
        "no gzip": (post(CLOSE, "Content-Encoding: gzip"), 400),
        "another expectation": (post(CLOSE, "Expect: 200-maybe"), 417),
        "a long header": (post(CLOSE, long), 400),
        "many headers": (post(CLOSE, many), 400),
        "a long address": (get("GET", f"/v2/models/{'a' * 5000}"), 400),
        "no such model": (get("GET", f"/v2/models/{'a' * 3000}"), 404),
        "OPTIONS": (get("OPTIONS", PATH), 405),
        "PUT": (post(CLOSE).replace(b"POST", b"PUT"), 405),
        "a preflight": (get("OPTIONS", PATH, "Origin: http://evil"), 403),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, 400),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    }
    for name, (request, status) in cases.items():
        found = await say(url, request)
        assert found.statuses == [status], f"{name}: {found.text[-300:]!r}"
        head, _, body = found.text.partition(b"\r\n\r\n")
        assert json.loads(body)["error"], name
        assert b"Access-Control" not in head
        assert b"nosniff" in head, name


async def test_head_has_the_headers_and_no_body(url: str) -> None:
    for path, status in (("/v2", 200), ("/v2/health/ready", 200), (PATH, 405)):
        found = await say(url, get("HEAD", path))
        assert found.statuses == [status]
        assert found.text.endswith(b"\r\n\r\n")
        assert b"Content-Length: " in found.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_without_any_header(url: str) -> None:
    """The line of docs/service.md."""
    child = await asyncio.create_subprocess_exec(
        *("curl", "-s", f"{url}{PATH}", "-d", BODY.decode()), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    assert json.loads(said)["outputs"][0]["data"] == [3.0]


async def test_the_loopback_of_ipv6() -> None:
    """By its address and by its name."""

    async def answer(request: Request) -> bool:
        return request.client.has_keys

    routes = [Route("GET", "/asked", answer, INFER, is_apart=True)]
    server = HttpServer(Http(port=0, host="::1"), routes, FakeClock())
    await server.start()
    try:
        if not server.port:
            pytest.skip("no IPv6 here")
        for host in (f"[::1]:{server.port}", "localhost", "[::1]"):
            request = get("GET", "/asked").replace(b"localhost", host.encode())
            assert (await say(f"http://[::1]:{server.port}", request)).statuses == [200]
    finally:
        await server.stop()
