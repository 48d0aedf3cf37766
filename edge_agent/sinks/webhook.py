"""Sink `webhook`: each alarm event as an HTTP POST, for maintenance systems and chat.

CloudEvents HTTP binding 1.0, structured mode. A receiver detects duplicates by `source` + `id` of
the event: after a broken connection the same event is sent again. Only a 2xx confirms.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path  # noqa: TC003 (the struct's types are read at run time)
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edge_agent.clock import US_PER_S
from edge_agent.config.types import Between, Duration, Secret
from edge_agent.errors import ConfigError, ConnectError, EdgeAgentError
from edge_agent.messages import LinkState, TransitionKind
from edge_agent.sinks.base import EVENT, DeliveryError, Sink, SinkReporter
from edge_agent.sinks.log import event_data
from edge_agent.sinks.templates import find_template, template_problems, values_of
from edge_agent.transport import (
    Tls,
    is_loopback,
    origin,
    resolve,
    tls_context,
    tls_stamp,
    url_problems,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Refusals
    from edge_agent.sinks.templates import Template

_URL: Final = "write http://host:port/path or https://host:port/path"
_LOGIN: Final = "credentials have a key of their own: token"
_READABLE: Final = "would be sent unencrypted: use https://, or set allow_insecure_token: true"
_ONE_URL: Final = "write url, or secret_url for an address that is itself a secret (Slack, Teams)"
_SCHEMES: Final = ("http", "https")
CONTENT_TYPE: Final = "application/cloudevents+json"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
# Codes about this body only, or from a proxy that does not know our messages: its line waits and
# the others continue. Other 4xx (401, 404) are about our rights or the address.
_REFUSALS: Final = frozenset({400, 409, 413, 415, 422})
_LONGEST_HOLD_S: Final = 60.0
LONGEST_RETRY_AFTER_S: Final = 600.0  # a receiver must not silence alarms for longer


@dataclass(frozen=True, slots=True)
class WebhookSinkConfig:
    """A URL that accepts CloudEvents."""

    url: str = ""
    secret_url: Secret | None = None  # in place of url; never in logs
    token: Secret | None = None  # sent as `Authorization: Bearer ...`
    allow_insecure_token: bool = False  # sends it without encryption
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[TransitionKind, ...] = ()  # transitions to send; default: all
    timeout: Annotated[Duration, Between(0.1, 300)] = Duration(10)
    send_window: Annotated[int, Between(1, 32)] = 4
    # An event that is refused for this long is deleted, if the receiver confirms others meanwhile.
    give_up_after: Annotated[Duration, Between(60, 31_536_000)] = Duration(86_400)
    tls: Tls = field(default_factory=Tls)
    template: str = ""  # of a message to people, docs/notifications.md; default: the CloudEvent
    templates: Path | None = None  # a YAML file with the plant's own
    values: dict[str, str] = field(default_factory=dict)  # own_NAME in the template

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if bool(self.url) == bool(self.secret_url):
            yield "url", _ONE_URL
        elif self.url:
            problems = list(url_problems(self.url, _SCHEMES, _URL, _LOGIN))
            yield from problems or self._readable()
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
                yield f"headers.{name}", "is not a header that HTTP allows"
        if self.template and self.templates is None:  # a plant's file is read by `check`
            yield from template_problems(self.template, self.templates, self.values)

    def _readable(self) -> Iterator[tuple[str, str]]:
        secure = self.url.startswith("https:")
        if self.tls != Tls() and not secure:
            yield "tls", "has no effect without https://"
        if self.token and not (secure or self.allow_insecure_token or is_loopback(self.url)):
            yield "token", _READABLE

    def address(self) -> str:
        """The URL to post to; ConfigError if it is a secret that cannot be read or is no URL."""
        if self.secret_url is None:
            return self.url
        url = self.secret_url.reveal()
        for _, problem in url_problems(url, _SCHEMES, _URL, _LOGIN):
            raise ConfigError(f"the secret is not the address of a webhook: {problem}")
        return url

    @property
    def where(self) -> str:
        """The address for messages: without its path, which is a secret with many services."""
        return origin(self.url) if self.url else "secret_url"


class Answer(NamedTuple):
    """The answer of a receiver; wait_s: the pause that it requests, in seconds."""

    status: int
    wait_s: float = 0.0
    location: str = ""


class WebhookSink(Sink):
    """Any 2xx confirms; after any other answer the event is kept and sent again."""

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
        self._clock = clock
        self._reporter = SinkReporter(name, metrics, clock)
        self.link = self._reporter.link
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._old_sessions: list[aiohttp.ClientSession] = []  # posts may still go over the last
        self._started = False
        self._template: Template | None = None
        if config.template:
            self._template = find_template(config.template, config.templates)

    async def start(self) -> None:
        """Be ready to send; there is no request before the first event."""
        if not self._started:
            self._started = True
            self._reporter.set(LinkState.CONNECTING)

    async def stop(self) -> None:
        """Close every connection."""
        self._started = False
        session, self._session = self._session, None
        sessions = [*self._old_sessions, *([session] if session is not None else [])]
        self._old_sessions.clear()
        for one in sessions:
            await one.close()
        self._reporter.set(LinkState.STOPPED)

    async def deliver(self, message: Message) -> None:
        """POST the event; DeliveryError unless the answer is 2xx."""
        if not self._started:
            raise DeliveryError("not started", reason="disconnected", retry=True)
        wanted = self._config.events
        if (
            wanted
            and self._template is None
            and event_data(message).get("transition") not in wanted
        ):
            return
        try:
            body = message.body
            if self._template is not None:
                body = self._template.render(values_of(message, self._config.values))
            check_answer(await self._post(body), self._config)
        except DeliveryError as error:
            if error.retry and self._started:
                self._show_failure(error)
            raise
        self._reporter.set(LinkState.UP)

    def show_refusals(self, refusals: Refusals) -> None:
        """Show refused messages in the link."""
        self._reporter.show_refusals("messages", refusals)

    def _show_failure(self, error: DeliveryError) -> None:
        if error.hold_s is None:
            self._reporter.set(LinkState.DOWN, str(error))
        elif self.link.state is LinkState.DOWN:  # it answers again, and has confirmed nothing yet
            self._reporter.set(LinkState.CONNECTING)

    async def _current_session(self) -> aiohttp.ClientSession:
        """One session for all posts; a new one after the renewal of a certificate."""
        async with self._opening:
            stamp = await asyncio.to_thread(tls_stamp, self._config.tls)
            old, session = None, self._session
            if session is None or stamp != self._stamp:
                old, session = session, await make_session(self._config)
                self._session, self._stamp = session, stamp
        for one in self._old_sessions if old is not None else ():
            await one.close()  # nothing is posted over it any more: renewals are months apart
        if old is not None:
            self._old_sessions = [old]
        return session

    async def _post(self, body: bytes) -> Answer:
        try:
            session = await self._current_session()
            form = CONTENT_TYPE if self._template is None else self._template.content_type
            headers = make_headers(self._config, form)
            now_s = self._clock.now_us() / US_PER_S
            return await send(session, self._config, "POST", headers, body, now_s)
        except EdgeAgentError as error:  # a secret or a certificate cannot be read
            raise DeliveryError(str(error), reason="credentials", retry=True) from error
        except TimeoutError as error:
            raise DeliveryError("no answer in time", reason="timeout", retry=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryError(_text(error), reason="disconnected", retry=True) from error


class _Resolver(AbstractResolver):
    """Resolves names in separate threads: aiohttp's resolver shares the common threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=known,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for known, address in await resolve(host, port)
            if family in {socket.AF_UNSPEC, known}
        ]

    async def close(self) -> None:
        """Nothing to release."""


async def make_session(config: WebhookSinkConfig) -> aiohttp.ClientSession:
    """Return a session that verifies its peer; ConnectError if a certificate cannot be read."""
    secure = urlsplit(config.address()).scheme == "https"
    context = await asyncio.to_thread(tls_context, config.tls) if secure else True
    connector = aiohttp.TCPConnector(limit=config.send_window, ssl=context, resolver=_Resolver())
    timeout = aiohttp.ClientTimeout(total=config.timeout)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


def make_headers(config: WebhookSinkConfig, content_type: str = CONTENT_TYPE) -> dict[str, str]:
    """Return the request's headers; ConfigError if the token cannot be read."""
    headers = {"Content-Type": content_type, **config.headers}
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token.reveal()}"
    return headers


async def send(  # noqa: PLR0913, PLR0917
    session: aiohttp.ClientSession,
    config: WebhookSinkConfig,
    method: str,
    headers: dict[str, str],
    body: bytes | None = None,
    now_s: float = 0.0,
) -> Answer:
    """Return the answer; its body is not read. now_s: our time, for a receiver that sends none."""
    async with session.request(
        method,
        config.address(),
        headers=headers,
        data=body,
        allow_redirects=False,  # a redirect must not send the token to another host
        server_hostname=config.tls.server_name or None,
    ) as answer:
        told = answer.headers
        wait_s = retry_after_s(told.get("Retry-After", ""), told.get("Date", ""), now_s)
        return Answer(answer.status, wait_s, told.get("Location", ""))


def retry_after_s(asked: str, date: str, now_s: float) -> float:
    """Seconds to wait by a Retry-After (RFC 9110, 10.2.3), bounded; 0 without one that is valid.

    asked: seconds, or a time, relative to the receiver's own `date` if it sends one, because
    its clock may differ from ours.
    """
    asked = asked.strip()
    if asked.isascii() and asked.isdigit():
        wait_s = float(asked)
    else:
        wait_s = _http_time(asked, 0.0) - _http_time(date, now_s)
    return min(max(wait_s, 0.0), LONGEST_RETRY_AFTER_S)


def _http_time(text: str, otherwise: float) -> float:
    """Seconds since the epoch of an HTTP date; all its forms are GMT."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return otherwise


def check_answer(answer: Answer, config: WebhookSinkConfig) -> None:
    """Raise DeliveryError unless the status is 2xx."""
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    refused = status in _REFUSALS
    raise DeliveryError(
        _status_text(answer, config),
        reason=f"http_{status // 100}xx",
        retry=True,
        hold_s=_LONGEST_HOLD_S if refused else None,
        wait_s=answer.wait_s,
        give_up_s=config.give_up_after if refused else None,
    )


def _status_text(answer: Answer, config: WebhookSinkConfig) -> str:
    """Return the status, its name, and the requested pause."""
    try:
        text = f"HTTP status {answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        text = f"HTTP status {answer.status}"
    if answer.location and answer.status // 100 == HTTPStatus.MULTIPLE_CHOICES // 100:
        place = "another address" if config.secret_url else _without_secrets(answer.location)
        text += f", redirected to {place}: write that as url"
    return f"{text}, asks for {answer.wait_s:.0f} s" if answer.wait_s else text


def _without_secrets(location: str) -> str:
    """Return a URL for the log: without credentials, query and fragment, cut."""
    try:
        parts = urlsplit(location)
        host = parts.netloc.rpartition("@")[2]
        plain = parts._replace(netloc=host, query="", fragment="").geturl()
    except ValueError:
        return "an invalid address"
    return "".join(c for c in plain if c.isprintable())[:200]


async def probe(config: WebhookSinkConfig, *_: object) -> list[str]:
    """Send a HEAD request: any answer is good except a refusal of our credentials."""
    try:
        async with await make_session(config) as session:
            status = (await send(session, config, "HEAD", make_headers(config))).status
    except TimeoutError as error:
        raise ConnectError("no answer in time", where=config.where) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectError(_text(error), where=config.where) from error
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise ConnectError(
            f"HTTP status {status}", where=config.where, hint="see token and headers"
        )
    return []


def _text(error: Exception) -> str:
    if isinstance(error, aiohttp.InvalidURL):  # its text is the URL
        return "the address is not a URL"
    return str(error) or type(error).__name__
