"""The client of the running daemon's HTTP API.

On its own machine it uses the daemon's unix socket, where the kernel tells each side who the other
is. A token is never given to a program of a user who may not have it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from edge_agent.errors import ConnectError, EdgeAgentError, UsageError
from edge_agent.ops import local_socket

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from http.client import HTTPMessage, HTTPResponse
    from typing import IO

    from edge_agent.config.schema import Config

URL: Final = "http://127.0.0.1:9460"
TOKEN: Final = "EDGE_AGENT_TOKEN"  # noqa: S105 (the variable's name)
_ANYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104 (a server can listen on it, but no client can connect to it)

_UNIX: Final = "unix:"
_TIMEOUT_S: Final = 15
_MAX_ANSWER: Final = 64 << 20

Row = dict[str, Any]


URL_HELP: Final = f"default: {URL}; ${TOKEN} holds a key or its token; or unix:/path/of/http.socket"


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare the address of the daemon."""
    parser.add_argument("--url", default=URL, help=URL_HELP)


def query_rows(url: str, path: str, query: Mapping[str, Any]) -> list[Row]:
    """The rows that the daemon returns for a path; parameters that are None are left out."""
    words = urlencode({name: value for name, value in query.items() if value is not None})
    rows: list[Row] = request(url, f"{path}?{words}" if words else path)
    return rows


def query_pages(url: str, path: str, query: Mapping[str, Any], limit: int) -> list[Row]:
    """At most `limit` rows of a path that answers in pages, each from the last row on."""
    rows = page = query_rows(url, path, {**query, "limit": limit})
    while page and len(rows) < limit and (last := page[-1].get("row")):
        page = query_rows(url, path, {**query, "before": last, "limit": limit - len(rows)})
        rows = rows + page
    return rows


def request(url: str, path: str, body: Row | None = None) -> Any:  # noqa: ANN401 (any JSON)
    """The daemon's JSON; `body` makes it a POST. ConnectError if there is no answer."""
    return _decode(fetch(url, path, body), url)


def fetch(url: str, path: str, body: Row | None = None, token: str | None = None) -> bytes:
    """The body of the daemon's answer; `token`: default that of the environment."""
    token = token or os.environ.get(TOKEN)
    unix = _socket_of(url)
    if token or (body is not None and not url.startswith(_UNIX)):
        _check_owner(url, unix)
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    base = url.rstrip("/") if unix is None else "http://localhost"
    asked = urllib.request.Request(base + path, data, headers)  # noqa: S310 (checked)
    handlers = [urllib.request.ProxyHandler({}), _NoRedirect()]
    opener = urllib.request.build_opener(*handlers, *([] if unix is None else [_OverSocket(unix)]))
    try:
        with opener.open(asked, timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read(_MAX_ANSWER + 1))
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise _refused(refusal, url) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        hint = "is the daemon running, with http enabled, at this --url?"
        raise ConnectError(f"no answer: {reason}", where=url, hint=hint) from error


def _socket_of(url: str) -> Path | None:
    """The unix socket to use for a URL; None: it is reached over TCP. UsageError if it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            return Path(parts.path)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        port = _own_port(url)
    except ValueError:
        good, port = False, None
    if not good:
        raise UsageError("not an address of a daemon", where=url, hint=f"such as {URL}")
    return None if port is None else local_socket.find_daemon(port)


def _own_port(url: str) -> int | None:
    """The port of a plain URL of this machine; None for another machine, and for TLS."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    try:
        is_own = ip_address(name).is_loopback
    except ValueError:
        is_own = name == "localhost"
    return (parts.port or 80) if is_own and parts.scheme == "http" else None


def _check_owner(url: str, unix: Path | None) -> None:
    """Give tokens and commands on this machine only to root, ourselves and the service's user."""
    owners: set[int] = set()
    if unix is not None:
        with contextlib.suppress(OSError):  # nobody listens: the request says so
            owners = {local_socket.server_of(unix).uid}
    elif (port := _own_port(url)) is not None:
        owners = local_socket.port_owners(port)
    if strangers := owners - local_socket.trusted_users():
        names = ", ".join(_name_of(uid) for uid in sorted(strangers))
        hint = "stop that program; the daemon's log says where it listens (--url unix:PATH)"
        raise EdgeAgentError(f"a program of {names} listens there", where=url, hint=hint)


def _name_of(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


class _OverSocket(urllib.request.HTTPHandler):
    """Sends requests over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open it, whatever the host of the request is."""
        return self.do_open(lambda _host, **options: _SocketConnection(self._path, **options), req)


class _SocketConnection(HTTPConnection):
    def __init__(self, path: Path, timeout: float, **_: object) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _decode(body: bytes, url: str) -> Any:  # noqa: ANN401 (any JSON)
    try:
        if len(body) <= _MAX_ANSWER:
            return json.loads(body)
    except ValueError:
        pass
    raise not_ours(url)


def not_ours(url: str) -> EdgeAgentError:
    """The error for an answer of another program."""
    return EdgeAgentError("the program that answers there is not edge-agent", where=url)


def _refused(refusal: urllib.error.HTTPError, url: str) -> EdgeAgentError:
    """The error with the text of the daemon's answer."""
    try:
        said = json.loads(refusal.read(_MAX_ANSWER))
        text, hint = shown(said["error"]), shown(said.get("hint", ""))
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        text, hint = f"HTTP {refusal.code}", "is this the --url of an edge-agent?"
    kind = UsageError if refusal.code == HTTPStatus.BAD_REQUEST else EdgeAgentError
    return kind(text, where=url, hint=hint)


def shown(value: object) -> str:
    """Text that is safe for a terminal: unprintable characters are replaced."""
    return "".join(char if char.isprintable() else "?" for char in str(value))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would send the token to another server."""

    def redirect_request(  # noqa: PLR0913, PLR0917 (as the base class has it)
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Follow none."""
        return


def url_of(config: Config | None) -> str | None:
    """The URL of the config's daemon; None if HTTP is off."""
    if config is None:
        return URL
    http = config.http
    if not http.enabled or not http.port:
        return None
    if http.socket is not None and http.socket.is_socket():
        return f"{_UNIX}{http.socket}"
    host = "127.0.0.1" if http.host in _ANYWHERE else http.host
    return f"http://[{host}]:{http.port}" if ":" in host else f"http://{host}:{http.port}"


def daemon_url(args: argparse.Namespace) -> str:
    """The URL of the daemon: `--url`, else that of the config."""
    config: Config | None = None
    if args.url is None and args.config is not None:
        from edge_agent.daemon import load_config  # noqa: PLC0415 (help must not wait for it)

        config = load_config(args.config, files=False)
    url = args.url or url_of(config)
    if url is None:
        raise UsageError("http is off in the config", hint="switch it on, or give --url")
    return str(url)
