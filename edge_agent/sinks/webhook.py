"""Sink `webhook`: each alarm event as an HTTP POST, for maintenance systems and chat.

CloudEvents HTTP binding 1.0, structured mode. The event's `source` + `id` tell a receiver what it
has already: after a broken connection the same event is sent again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import aiohttp

from edge_agent.config.schema import Duration
from edge_agent.config.types import Between, Secret
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.records import LinkState, TransitionKind
from edge_agent.sinks._base import EVENT, DeliveryError, LinkReporter, Sink
from edge_agent.sinks._tls import Tls, tls_context
from edge_agent.sinks.log import event_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.ops.metrics import Metrics
    from edge_agent.records import Message

CONTENT_TYPE: Final = "application/cloudevents+json"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
# What says that this body will never be taken. Other 4xx (401, 404, ...) speak about our rights or
# the address: somebody will mend that, and until then no alarm is thrown away.
_REFUSALS: Final = frozenset({400, 409, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class WebhookSinkConfig:
    """A URL that takes CloudEvents."""

    url: str
    token: Secret | None = None  # sent as `Authorization: Bearer ...`
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[TransitionKind, ...] = ()  # transitions to send; default: all
    timeout: Annotated[Duration, Between(0.1, 300)] = Duration(10)
    send_window: Annotated[int, Between(1, 32)] = 4
    tls: Tls = field(default_factory=Tls)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        yield from _url_problems(self.url)
        if self.tls != Tls() and not self.url.startswith("https:"):
            yield "tls", "has no effect without https://"
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
                yield f"headers.{name}", "is not a header that HTTP allows"


class WebhookSink(Sink):
    """Any 2xx confirms; 400, 409, 413, 415, 422 refuse an event for good; else it is retried."""

    kinds = frozenset({EVENT})

    def __init__(  # noqa: PLR0913, PLR0917 (the same for all sinks)
        self,
        name: str,
        config: WebhookSinkConfig,
        gateway: Gateway,  # noqa: ARG002
        topic_root: str,  # noqa: ARG002
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.name = name
        self.window = config.send_window
        self._config = config
        self._reporter = LinkReporter(name, metrics, clock)
        self.link = self._reporter.link
        self._session: aiohttp.ClientSession | None = None
        self._started = False

    async def start(self) -> None:
        """Be ready to send; nothing is asked of the receiver before there is an event."""
        if not self._started:
            self._started = True
            self._reporter.set(LinkState.CONNECTING)

    async def stop(self) -> None:
        """Close every connection."""
        self._started = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._reporter.set(LinkState.STOPPED)

    async def deliver(self, message: Message) -> None:
        """POST the event; DeliveryError unless the answer is 2xx."""
        if not self._started:
            raise DeliveryError("not started", reason="disconnected", retry=True)
        wanted = self._config.events
        if wanted and event_data(message).get("transition") not in wanted:
            return
        try:
            status = await self._post(message.body)
            check_status(status)
        except DeliveryError as error:
            if error.retry and self._started:
                self._reporter.set(LinkState.DOWN, str(error))
            raise
        self._reporter.set(LinkState.UP)

    async def _post(self, body: bytes) -> int:
        try:
            if self._session is None:
                self._session = make_session(self._config)
            headers = make_headers(self._config)
            return await send(self._session, self._config, "POST", headers, body)
        except EdgeAgentError as error:  # a secret or a certificate cannot be read
            raise DeliveryError(str(error), reason="credentials", retry=True) from error
        except TimeoutError as error:
            raise DeliveryError("no answer in time", reason="timeout", retry=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryError(_text(error), reason="disconnected", retry=True) from error


def make_session(config: WebhookSinkConfig) -> aiohttp.ClientSession:
    """Return a session that verifies its peer; ConnectError where a certificate cannot be read."""
    secure = urlsplit(config.url).scheme == "https"
    connector = aiohttp.TCPConnector(
        limit=config.send_window, ssl=tls_context(config.tls) if secure else True
    )
    timeout = aiohttp.ClientTimeout(total=config.timeout)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


def make_headers(config: WebhookSinkConfig) -> dict[str, str]:
    """Return the request's headers; ConfigError where the token cannot be read."""
    headers = {"Content-Type": CONTENT_TYPE, **config.headers}
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token.reveal()}"
    return headers


async def send(
    session: aiohttp.ClientSession,
    config: WebhookSinkConfig,
    method: str,
    headers: dict[str, str],
    body: bytes | None = None,
) -> int:
    """Return the answer's status; its body is not read."""
    async with session.request(
        method,
        config.url,
        headers=headers,
        data=body,
        allow_redirects=False,  # the token must not follow one to another host
        server_hostname=config.tls.server_name or None,
    ) as answer:
        return answer.status


def check_status(status: int) -> None:
    """Raise DeliveryError unless `status` is 2xx."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    retry = status not in _REFUSALS
    raise DeliveryError(f"HTTP status {status}", reason=f"http_{status // 100}xx", retry=retry)


async def probe(config: WebhookSinkConfig) -> None:
    """Ask for the URL's head: any answer will do that does not doubt our credentials."""
    try:
        async with make_session(config) as session:
            status = await send(session, config, "HEAD", make_headers(config))
    except TimeoutError as error:
        raise ConnectError("no answer in time", where=config.url) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectError(_text(error), where=config.url) from error
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise ConnectError(f"HTTP status {status}", where=config.url, hint="see token and headers")


def _url_problems(url: str) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield "url", str(error)
        return
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        yield "url", "write http://host:port/path or https://host:port/path"
    elif parts.username is not None:
        yield "url", "credentials have a key of their own: token"


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
