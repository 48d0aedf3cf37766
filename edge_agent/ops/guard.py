"""Access rights and time limits of the HTTP server's clients.

Four kinds of attack are expected: a web page in the browser of a user on the gateway (prevented by
the check of the Host header against DNS rebinding, of Sec-Fetch-Site, and by JSON bodies, which a
form cannot send), another user of the gateway, a client on the plant network without a key, and one
that opens connections and sends nothing.
"""

from __future__ import annotations

import grp
import logging
import re
import socket
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from edge_agent.errors import EdgeAgentError, NotFoundError, StoreError, UsageError
from edge_agent.ops.access import REALM, Caller, denial
from edge_agent.ops.local_socket import peer_of
from edge_agent.ops.routes import COMMAND, OPEN, READ, Client, Refusal, as_json

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from edge_agent.config.settings import Http
    from edge_agent.ops.access import Access
    from edge_agent.ops.local_socket import Peer
    from edge_agent.ops.routes import Response

log = logging.getLogger("edge_agent.ops")

MAX_CONNECTIONS: Final = 100
# From connecting, or from the last answer, to the end of the next request's header.
REQUEST_TIMEOUT_S: Final = 15.0
_LIMITS: Final[dict[str, Any]] = {
    "keepalive_timeout": REQUEST_TIMEOUT_S,
    "lingering_time": 2.0,
    "max_line_size": 4 << 10,
    "max_field_size": 8 << 10,
    "max_headers": 64,
    "auto_decompress": False,  # no decompression bombs: our requests need no compression
    "access_log": None,
}
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_SPOKEN: Final = "plain HTTP/1.1 here, not https; at most 64 headers of 8 KiB, an address of 4 KiB"
_NO_RIGHT: Final = frozenset({401, 403})
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_HEADERS: Final = {
    "Server": "edge-agent",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Connections(dict["Connection", None]):
    """All open connections, the one that was idle for the longest time first."""

    def make_most_recent(self, connection: Connection) -> None:
        """Make it the most recent; if there are too many now, close the first."""
        self.pop(connection, None)
        self[connection] = None
        if len(self) > MAX_CONNECTIONS:
            oldest = next(iter(self))
            del self[oldest]
            # Not close(): that waits for a client that may have stopped reading.
            cast("asyncio.Transport", oldest.transport).abort()


class Connection(web.RequestHandler):
    """aiohttp's connection, counted, without server details in answers to malformed requests."""

    __slots__ = ("_all",)

    def __init__(
        self, server: web.Server, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(server, loop=loop, **_LIMITS)
        self._all = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add the connection."""
        super().connection_made(transport)
        self._all.make_most_recent(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection."""
        self._all.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request; strangers must not be able to fill the log."""
        log.debug("request malformed", extra={"client": request.remote, "reason": exc or message})
        response = error(status, "malformed request", _SPOKEN)
        response.headers.update(_HEADERS)
        response.force_close()
        return response


CLIENT: Final = web.RequestKey("client", Client)
# Why a client of this machine may not use the route; it hears first what is wrong with its request.
DENIED: Final = web.RequestKey("denied", Refusal)


class Guard:
    """The middleware in front of all handlers.

    scopes: that of each handler's route; a route without one needs the right to read. on_denied:
    called with (client, path, reason) for a command that the client has no right to. error_forms:
    how the routes below a path say why they refuse, if not as `{"error", "hint"}`.
    """

    def __init__(self, config: Http, access: Access, connections: Connections) -> None:
        names = {"localhost", config.host, socket.gethostname(), *config.names}
        self._names = frozenset(name.lower() for name in names)
        self._connections = connections
        self._group_name = config.group
        self.access = access
        self.scopes: dict[object, str] = {}
        self.error_forms: dict[str, Callable[[Refusal], object]] = {}
        self.on_denied: Callable[[str, str, str], Awaitable[None]] | None = None

    def find_group(self) -> None:
        """Look up the group that may command; OSError if this machine has none of this name."""
        if self._group_name is None:
            return
        try:
            self.access.group = grp.getgrnam(self._group_name).gr_gid
        except KeyError:
            raise OSError(f"http.group: this machine has no group {self._group_name!r}") from None

    @web.middleware
    async def middleware(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse or allow a request, and turn every error into a JSON answer."""
        self._connections.make_most_recent(cast("Connection", request.protocol))
        try:
            await self._check(request)
            with self.access.running(request[CLIENT]):
                return await handler(request)
        except Refusal as refusal:
            said = refusal
        except web.HTTPException as refusal:
            said = _restated(refusal)
        except EdgeAgentError as trouble:
            said = Refusal(_status_of(trouble), _place(trouble), trouble.hint)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request failed", extra={"path": request.path})
            said = Refusal(500, "internal error", "the daemon's log says more")
        return self._refused(request.path, said)

    def _refused(self, path: str, refusal: Refusal) -> web.Response:
        """The answer to a refused request, in the form of the interface of its path."""
        forms = (form for prefix, form in self.error_forms.items() if path.startswith(prefix))
        form = next(forms, None)
        if form is None:
            answer = error(refusal.status, refusal.error, refusal.hint)
        else:
            answer = _json(as_json(form(refusal), refusal.status))
        answer.headers.update(refusal.headers)
        return answer

    async def _check(self, request: web.Request) -> None:
        host = request.headers.get(hdrs.HOST, "")
        scope = self.scopes.get(request.match_info.handler, READ)
        # Load balancers ask for the health by HTTP/1.0, as no browser does.
        is_probe = scope == OPEN and request.version == HttpVersion10
        is_nameless = is_probe and hdrs.HOST not in request.headers
        if not is_nameless and not self._is_for_us(host):
            raise Refusal(421, "not the name of this gateway", "add it to http.names")
        if _is_foreign(request, host, scope):
            raise Refusal(403, "asked by a page of another site", "open the address itself")
        request[CLIENT] = Client()
        if scope == OPEN:
            return
        caller = _caller_of(request)
        try:
            request[CLIENT] = client = self.access.client_of(caller)
            if scope not in client.scopes:
                raise denial(scope, client, caller)
        except Refusal as denied:
            await self._deny(request, scope, caller, denied)

    async def _deny(
        self, request: web.Request, scope: str, caller: Caller, denied: Refusal
    ) -> None:
        """Refuse; a command of a local client only when the rest of its request is right."""
        if scope != COMMAND or denied.status not in _NO_RIGHT:
            raise denied
        if self.on_denied is not None:
            name, uid = request[CLIENT].name, None if caller.peer is None else caller.peer.uid
            where = caller.address if uid is None else f"uid {uid}"
            client = f"key {name} from {where}" if name else where
            await self.on_denied(client, request.path, denied.error)
        if not caller.is_local:
            raise denied
        request[DENIED] = denied

    def _is_for_us(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"]
        try:
            # An address needs no DNS that could be rebound.
            return not ip_address(name.strip("[]")).is_unspecified
        except ValueError:
            return name.lower() in self._names


def _caller_of(request: web.Request) -> Caller:
    peer = _unix_peer(request)
    is_local = peer is not None or is_direct_loopback(request)
    given = request.headers.get(hdrs.AUTHORIZATION, "")
    return Caller(given, request.remote or "", is_local, peer)


def _unix_peer(request: web.Request) -> Peer | None:
    """The client of our unix socket; None if the connection is another one."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    return peer_of(connection)


def _is_foreign(request: web.Request, host: str, scope: str) -> bool:
    """True if a browser says that a page of another origin asks.

    A link to the status page is no such request: the other page does not see the answer. Browsers
    send Sec-Fetch-* over TLS and to the loopback only, and Origin with all that is no plain GET.
    """
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    if site is None or site == "none":
        origin = headers.get(hdrs.ORIGIN)
        return origin is not None and origin.lower().partition("://")[2] != host.lower()
    is_link = headers.get("Sec-Fetch-Mode") == "navigate" and request.method == hdrs.METH_GET
    is_link &= headers.get("Sec-Fetch-Dest") == "document" and hdrs.ORIGIN not in headers
    return site != "same-origin" and not (scope == OPEN and is_link)


def is_direct_loopback(request: web.Request) -> bool:
    """True if the client runs on this machine and is not a proxy for another machine."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


async def expect(request: web.Request) -> web.Response | None:
    """Ask for the body of a client that waits for this (RFC 9110, 10.1.1)."""
    if request.version != HttpVersion11:
        return None
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return error(417, "unknown expectation", "Expect: 100-continue, or none")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer itself has not begun
    return None


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers for browsers to every answer."""
    response.headers.update(_HEADERS)
    if response.status == HTTPStatus.UNAUTHORIZED:
        response.headers.setdefault(hdrs.WWW_AUTHENTICATE, REALM)


def error(status: int, text: str, hint: str = "") -> web.Response:
    """Answer with `{"error", "hint"}`."""
    return _json(as_json({"error": text, "hint": hint}, status))


def _json(said: Response) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: said.content_type}
    return web.Response(body=said.body, status=said.status, headers=headers)


def _restated(answer: web.HTTPException) -> Refusal:
    """The answers of the router and the body reader (404, 405, 413) as a refusal."""
    text = HTTPStatus(answer.status).phrase.lower()
    allowed = answer.headers.get(hdrs.ALLOW)
    return Refusal(answer.status, text, headers={hdrs.ALLOW: allowed} if allowed else {})


def _status_of(trouble: EdgeAgentError) -> int:
    if isinstance(trouble, NotFoundError):
        return 404
    if isinstance(trouble, StoreError):
        return 503
    return 400 if isinstance(trouble, UsageError) else 409


def _place(trouble: EdgeAgentError) -> str:
    return f"{trouble.where}: {trouble.message}" if trouble.where else trouble.message
