"""Sink `smtp` against a mail server: encryption, login, what confirms and what refuses."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sink_support import event, make_certificates
from smtp_support import MailServer

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Gateway
from edge_agent.config.types import Secret
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.smtp import Security, SmtpSink, SmtpSinkConfig, probe
from edge_agent.testing import find_free_port
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics

pytestmark = pytest.mark.integration
VALUES = {"title": "P-101: 軸受\r\nBcc: x@y", "text": "Prüfen: 1.\n2.", "event_id": "a:1"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MailServer]:
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    one = MailServer(find_free_port(), context)
    yield one
    await one.down()


@pytest.fixture
def config(server: MailServer, tmp_path: Path) -> SmtpSinkConfig:
    tls = Tls(ca=tmp_path / "ca.pem")
    to = ("a@plant.example", "b@plant.example")
    return SmtpSinkConfig("localhost", "gw@plant.example", to, port=server.port, tls=tls)


async def delivered(metrics: Metrics, config: SmtpSinkConfig) -> tuple[SmtpSink, Any]:
    """A sink after one delivery, and what the delivery ended with."""
    sink = SmtpSink("mail", config, Gateway(), "edge", metrics, SystemClock())
    await sink.start()
    body = orjson.dumps({"id": "a:1", "values": VALUES})
    error = None
    try:
        await sink.deliver(replace(event("a"), topic="shift", body=body))
    except DeliveryError as problem:
        error = problem
    link = replace(sink.link)
    await sink.stop()
    sink.link = link
    return sink, error


async def test_a_mail_is_sent_encrypted_and_whole(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics
) -> None:
    """STARTTLS, text in any language, a subject of one line, an id that stays the same."""
    await server.up()
    _, error = await delivered(metrics, config)
    assert error is None
    assert server.encrypted == [True]
    (mail,) = server.mails()
    assert mail["Subject"] == "P-101: 軸受 Bcc: x@y"
    assert mail["To"] == "a@plant.example, b@plant.example"
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == f"<shift.a.1@{Gateway().id}>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().startswith("Prüfen: 1.\r\n2.\r\n")


async def test_tls_from_the_first_byte(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics
) -> None:
    """security: tls."""
    server.at_once = True
    await server.up()
    _, error = await delivered(metrics, replace(config, security=Security.TLS))
    assert error is None
    assert server.encrypted == [True]


async def test_an_unknown_certificate_gets_no_mail(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics, tmp_path: Path
) -> None:
    """A server that we cannot verify gets neither password nor text."""
    await server.up()
    stranger = replace(config, tls=Tls(ca=tmp_path / "other.pem"))
    sink, error = await delivered(metrics, stranger)
    assert "certificate verify failed" in str(error)
    assert (error.retry, error.hold_s) == (True, None)
    assert sink.link.state is LinkState.DOWN
    assert server.received == []


async def test_no_starttls_no_mail(config: SmtpSinkConfig, metrics: Metrics) -> None:
    """A server (or somebody between) that offers no encryption gets nothing."""
    plain = MailServer(config.port)
    await plain.up()
    _, error = await delivered(metrics, config)
    await plain.down()
    assert "STARTTLS" in str(error)
    assert plain.received == []


async def test_the_password_is_from_a_file(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics, tmp_path: Path
) -> None:
    """It is read for each mail; a wrong one makes the sink wait, and loses no message."""
    server.login = ("gw", "geheim")
    await server.up()
    secret = tmp_path / "secret"
    secret.write_text("geheim\n")
    with_login = replace(config, username="gw", password=Secret(file=secret))
    _, error = await delivered(metrics, with_login)
    assert error is None
    assert await probe(with_login) == []
    secret.write_text("falsch\n")
    _, error = await delivered(metrics, with_login)
    assert "SMTP 535 wrong password" in str(error)
    assert (error.retry, error.hold_s, error.give_up_s) == (True, None, None)
    with pytest.raises(ConnectError, match="the login is refused"):
        await probe(with_login)


@pytest.mark.parametrize(
    ("reply", "holds"), [("451 greylisted", False), ("554 no spam here", True)]
)
async def test_what_refuses_a_mail(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics, *, reply: str, holds: bool
) -> None:
    """4xx is the server's trouble, all waits; 5xx is about this mail, the others go on."""
    server.refuse = lambda _: reply
    await server.up()
    sink, error = await delivered(metrics, config)
    assert str(error) == f"SMTP {reply}"
    assert error.reason == f"smtp_{reply[0]}xx"
    assert (error.hold_s is not None, error.give_up_s is not None) == (holds, holds)
    assert (sink.link.state is LinkState.DOWN) is not holds


async def test_one_refused_address_of_two(
    server: MailServer, config: SmtpSinkConfig, metrics: Metrics
) -> None:
    """The others have the mail; the link names the address that is refused."""
    server.refuse_to = lambda to: "550 gone" if to.startswith("b@") else ""
    await server.up()
    sink, error = await delivered(metrics, config)
    assert error is None
    assert sink.link.detail == "refused for b@plant.example"
    server.refuse_to = lambda _: "550 gone"
    _, error = await delivered(metrics, config)
    assert str(error) == "SMTP 550 gone"


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"host": ""}, "host"),
        ({"sender": "gw"}, "sender"),
        ({"to": ()}, "to"),
        ({"to": ("a@b>\r\nBcc: <c@d",)}, "to"),
        ({"username": "gw"}, "password"),
        ({"security": Security.NONE}, "tls"),
        ({"template": "fax"}, "template"),
    ],
)
def test_contradictions(config: SmtpSinkConfig, changed: dict[str, Any], key: str) -> None:
    """Each mistake is told with its key."""
    assert [found for found, _ in replace(config, **changed).problems()] == [key]


def test_no_password_without_encryption(config: SmtpSinkConfig, tmp_path: Path) -> None:
    """It would be read by everybody on the way; to this machine itself it may go."""
    plain: dict[str, Any] = {"security": Security.NONE, "tls": Tls(), "username": "gw"}
    secret = Secret(file=tmp_path / "x")
    away = replace(config, host="mail.example", password=secret, **plain)
    assert [found for found, _ in away.problems()] == ["password"]
    assert not list(replace(away, host="127.0.0.1").problems())
