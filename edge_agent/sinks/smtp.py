"""Sink `smtp`: messages to people as e-mail (RFC 5321), by STARTTLS or TLS.

The server's 250 after the text confirms. A repeated message has the same Message-ID.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the struct's types are read at run time)
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.clock import US_PER_S
from edge_agent.config.types import Between, Duration, Secret
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.messages import LinkState
from edge_agent.sinks.base import EVENT, DeliveryError, Sink, SinkReporter
from edge_agent.sinks.templates import find_template, template_problems, values_of
from edge_agent.transport import Tls, is_loopback, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Refusals

_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"()]+@[^@\s<>,;:\"()]+")
_READABLE: Final = "would be sent unencrypted: use security: starttls or tls"
_PERMANENT: Final = 500  # from here on the server refuses, below it is in trouble
_LONGEST_HOLD_S: Final = 60.0
_LOGIN_REFUSED: Final = (530, 534, 535, 538)


class Security(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


_PORTS: Final = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, slots=True)
class SmtpSinkConfig:
    """A mail server, who sends, and who receives."""

    host: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    port: Annotated[int, Between(0, 65_535)] = 0  # default: 587, of tls 465, of none 25
    security: Security = Security.STARTTLS
    username: str = ""
    password: Secret | None = None
    timeout: Annotated[Duration, Between(0.1, 300)] = Duration(20)
    # A message that is refused for this long is deleted, if the server takes others meanwhile.
    give_up_after: Annotated[Duration, Between(60, 31_536_000)] = Duration(86_400)
    tls: Tls = field(default_factory=Tls)
    template: str = "email"
    templates: Path | None = None  # a YAML file with the plant's own
    values: dict[str, str] = field(default_factory=dict)  # own_NAME in the template

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.host:
            yield "host", "name the mail server"
        for key, addresses in (("sender", (self.sender,)), ("to", self.to or ("",))):
            if wrong := [one for one in addresses if not _is_address(one)]:
                yield key, f"{wrong[0]!r} is no address such as pumps@example.org"
        if bool(self.username) != (self.password is not None):
            yield "password", "username and password belong together"
        if self.password and self.security is Security.NONE and not _is_here(self.host):
            yield "password", _READABLE
        if self.tls != Tls() and self.security is Security.NONE:
            yield "tls", "has no effect with security: none"
        if self.templates is None:  # a plant's file is read by `check`
            yield from template_problems(self.template, self.templates, self.values)

    @property
    def where(self) -> str:
        """The server, for messages."""
        return f"{self.host}:{self.port or _PORTS[self.security]}"


class SmtpSink(Sink):
    """One connection for each message: they are few, and a server ends idle ones."""

    kinds = frozenset({EVENT})
    window = 1

    def __init__(  # noqa: PLR0913, PLR0917 (the same for all sinks)
        self,
        name: str,
        config: SmtpSinkConfig,
        gateway: Gateway,
        topic_root: str,  # noqa: ARG002
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.name = name
        self._config = config
        self._gateway = gateway.id
        self._clock = clock
        self._reporter = SinkReporter(name, metrics, clock)
        self.link = self._reporter.link
        self._template = find_template(config.template, config.templates)
        self._pool: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Be ready to send; there is no connection before the first message."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"smtp-{self.name}")
            self._reporter.set(LinkState.CONNECTING)

    async def stop(self) -> None:
        """Begin nothing more; a message that is being sent ends by its timeout."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        self._reporter.set(LinkState.STOPPED)

    async def deliver(self, message: Message) -> None:
        """Send the message; DeliveryError unless the server has taken it."""
        pool = self._pool
        if pool is None:
            raise DeliveryError("not started", reason="disconnected", retry=True)
        mail = self._mail(message)
        try:
            work = asyncio.get_running_loop().run_in_executor(pool, _send, self._config, mail)
            refused = await work
        except DeliveryError as error:
            if error.hold_s is None and self._pool is not None:
                self._reporter.set(LinkState.DOWN, str(error))
            raise
        detail = f"refused for {', '.join(sorted(refused))}" if refused else ""
        self._reporter.set(LinkState.UP, detail)

    def show_refusals(self, refusals: Refusals) -> None:
        """Show refused messages in the link."""
        self._reporter.show_refusals("messages", refusals)

    def _mail(self, message: Message) -> EmailMessage:
        values = values_of(message, self._config.values)
        mail = EmailMessage()
        mail["From"] = self._config.sender
        mail["To"] = ", ".join(self._config.to)
        mail["Subject"] = self._template.render_subject(values)
        mail["Date"] = formatdate(message.created_us / US_PER_S)
        place = re.sub(r"[^A-Za-z0-9.-]", "-", self._gateway)
        mail["Message-ID"] = f"<{message.topic}.{message.key}.{message.seq}@{place}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
        mail.set_content(self._template.render(values).decode())
        return mail


def _send(config: SmtpSinkConfig, mail: EmailMessage) -> list[str]:
    """Send a mail; returns the addresses that the server refused while it took others."""
    try:
        with _connect(config) as server:
            return list(server.send_message(mail))
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise _refusal(config, code, reply) from error
    except smtplib.SMTPResponseException as error:
        raise _refusal(config, error.smtp_code, error.smtp_error) from error
    except TimeoutError as error:
        raise DeliveryError("no answer in time", reason="timeout", retry=True) from error
    except (smtplib.SMTPException, OSError) as error:
        text = str(error) or type(error).__name__
        raise DeliveryError(text, reason="disconnected", retry=True) from error
    except EdgeAgentError as error:  # a secret or a certificate cannot be read
        raise DeliveryError(str(error), reason="credentials", retry=True) from error


def _refusal(config: SmtpSinkConfig, code: int, text: bytes | str) -> DeliveryError:
    """The error of an SMTP code: 4xx is the server's trouble, 5xx refuses this message."""
    said: str = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    refused = code >= _PERMANENT and code not in _LOGIN_REFUSED
    return DeliveryError(
        f"SMTP {code} {' '.join(said.split())[:200]}",
        reason=f"smtp_{code // 100}xx",
        retry=True,
        hold_s=_LONGEST_HOLD_S if refused else None,
        give_up_s=config.give_up_after if refused else None,
    )


def _connect(config: SmtpSinkConfig) -> smtplib.SMTP:
    """A connection that is encrypted and logged in, as configured."""
    port = config.port or _PORTS[config.security]
    context = None if config.security is Security.NONE else _context(config)
    server: smtplib.SMTP
    if config.security is Security.TLS:
        server = smtplib.SMTP_SSL(config.host, port, timeout=config.timeout, context=context)
    else:
        server = smtplib.SMTP(config.host, port, timeout=config.timeout)
    try:
        if config.security is Security.STARTTLS:
            server.starttls(context=context)
        if config.password is not None:
            server.login(config.username, config.password.reveal())
    except BaseException:
        server.close()
        raise
    return server


def _context(config: SmtpSinkConfig) -> ssl.SSLContext:
    return tls_context(config.tls)


def _is_address(text: str) -> bool:
    return bool(_ADDRESS.fullmatch(text)) and text.isprintable()


def _is_here(host: str) -> bool:
    return is_loopback(f"smtp://{host}")


async def probe(config: SmtpSinkConfig, *_: object) -> list[str]:
    """Connect, encrypt and log in; nothing is sent."""
    try:
        await asyncio.to_thread(lambda: _connect(config).quit())
    except smtplib.SMTPAuthenticationError as error:
        text = f"SMTP {error.smtp_code}: the login is refused"
        raise ConnectError(text, where=config.where, hint="see username, password") from error
    except (smtplib.SMTPException, OSError) as error:
        raise ConnectError(str(error) or "no answer", where=config.where) from error
    return []
