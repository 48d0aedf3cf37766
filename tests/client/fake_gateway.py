"""A gateway that gives the answers that a test wrote, byte by byte, over TCP, TLS or a socket."""

from __future__ import annotations

import json
import socketserver
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; headers by name in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def reply(status: int, body: object, **headers: str) -> bytes:
    """A whole answer with JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(raw)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def stream(*parts: bytes) -> bytes:
    """A whole answer in chunks."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (*parts, b""))


class FakeGateway:
    """Answers the n-th request with the n-th reply, and the last one for ever.

    A reply is bytes, None to end the connection at once, or a function that may wait.
    """

    def __init__(
        self,
        *replies: bytes | Callable[[], bytes] | None,
        tls: ssl.SSLContext | None = None,
        unix: Path | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self._replies = replies
        gateway = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                gateway.handle(self)

        kind = (
            socketserver.ThreadingTCPServer
            if unix is None
            else socketserver.ThreadingUnixStreamServer
        )
        kind.daemon_threads = True
        self._server = kind(("127.0.0.1", 0) if unix is None else str(unix), Handler)  # type: ignore[arg-type]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        port = 0 if unix is not None else self._server.socket.getsockname()[1]
        self.url = f"unix:{unix}" if unix is not None else f"{scheme}://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def handle(self, request: socketserver.StreamRequestHandler) -> None:
        method, target, _ = request.rfile.readline().decode().split(" ")
        headers = {}
        while line := request.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = request.rfile.read(int(headers.get("content-length", "0")))
        self.asked.append(Asked(method, target, headers, body))
        said = self._replies[min(len(self.asked), len(self._replies)) - 1]
        said = said() if callable(said) else said
        if said is not None:
            request.wfile.write(said)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
