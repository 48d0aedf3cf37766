"""Both clients over real connections: what they send, and what they make of every answer."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from certificates import write_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from fake_gateway import FakeGateway, reply, stream

from edge_agent.client import (
    AsyncClient,
    BusyError,
    Client,
    ClientError,
    NotFoundError,
    ServerError,
    TimedOutError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]

KEY = "secret-key-0123456789"
MODELS = reply(200, [{"name": "pump", "state": "active", "new_field": 1}])
BUSY = reply(429, {"error": "too many", "hint": "wait"}, Retry_After="0")
PREDICTION = {
    "prediction": "anomaly",
    "probability": None,
    "score": 2.4,
    "limit": 1.0,
    "level": 2.4,
    "health": 0.3,
    "window": {"start_ms": 0, "end_ms": 15000, "coverage": 1.0, "quality": "good"},
    "model": {"name": "pump", "version": "1", "sha256": "", "mode": "active"},
    "rul_h": None,
    "contributors": [{"input": "flow", "weight": 2.0, "value": 7.0, "unit": "m3/h"}],
    "asset": "P-1",
    "models": [],
    "unjudged": {},
    "alarms": [],
    "windows": None,
    "recording": {"rows": 16, "values": 16, "read_as": [], "columns": [], "unused": []},
}


# Both clients behind one face ---------------------------------------------------------------------


class Waiting:
    """An `AsyncClient` whose calls are awaited at once, and whose streams are lists."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self._client = AsyncClient(*args, **more)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            return asyncio.run(_result(getattr(self._client, name)(*args, **more)))

        return call


async def _result(made: Any) -> Any:
    if inspect.isasyncgen(made):
        return [one async for one in made]
    return await made


@pytest.fixture(params=["blocking", "awaiting"])
def make_client(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return Client if request.param == "blocking" else Waiting


# What is sent -------------------------------------------------------------------------------------


def test_a_request_has_key_host_and_no_more_than_it_needs(make_client: Make) -> None:
    with FakeGateway(MODELS) as gateway:
        (model,) = make_client(gateway.url, KEY).models()
    (asked,) = gateway.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/api/models", b"")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["host"] == gateway.url.removeprefix("http://")
    assert model.name == "pump"
    assert model.raw["new_field"] == 1


def test_a_prefix_of_a_proxy_stays_in_front(make_client: Make) -> None:
    with FakeGateway(reply(200, [])) as gateway:
        assert make_client(f"{gateway.url}/gw-1/").assets("P 1&x") == []
    assert gateway.asked[0].target == "/gw-1/api/assets?search=P+1%26x&limit=10000"
    assert "authorization" not in gateway.asked[0].headers


def test_an_answer_in_chunks_is_read(make_client: Make) -> None:
    with FakeGateway(stream(b'[{"name":', b'"pump"}]')) as gateway:
        assert make_client(gateway.url).models()[0].name == "pump"


def test_an_interim_answer_is_skipped(make_client: Make) -> None:
    with FakeGateway(b"HTTP/1.1 100 Continue\r\n\r\n" + MODELS) as gateway:
        assert make_client(gateway.url).models()[0].name == "pump"


def test_a_unix_socket_is_an_address(make_client: Make, tmp_path: Path) -> None:
    with FakeGateway(MODELS, unix=tmp_path / "http.sock") as gateway:
        assert make_client(gateway.url, KEY).models()[0].name == "pump"
    assert gateway.asked[0].headers["host"] == "localhost"


@pytest.mark.parametrize("url", ["gw:9460", "ftp://gw", "unix:", "http://", "http://a:b@gw"])
def test_what_is_no_address_is_said_at_once(make_client: Make, url: str) -> None:
    with pytest.raises(ValueError, match="no address of a gateway"):
        make_client(url)


# TLS ----------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost, which is its own authority, and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    extensions = [(names, False), (x509.BasicConstraints(ca=True, path_length=0), True)]
    write_certificate(files, "gateway", ec.generate_private_key(ec.SECP256R1()), extensions)
    return files


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_the_plants_own_authority_is_trusted(
    make_client: Make, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    with FakeGateway(MODELS, tls=tls) as gateway:
        assert make_client(gateway.url, KEY, ca=certificate[0]).models()[0].name == "pump"


def test_a_strange_certificate_is_refused_before_the_key_is_sent(
    make_client: Make, tls: ssl.SSLContext
) -> None:
    wanted = pytest.raises(UnreachableError, match=r"certificate is not trusted.*ca=")
    with FakeGateway(MODELS, tls=tls) as gateway, wanted:
        make_client(gateway.url, KEY, retries=0).models()
    assert gateway.asked == []


# What goes wrong ----------------------------------------------------------------------------------


def test_nobody_listens(make_client: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(UnreachableError) as raised:
        make_client(url, retries=0).models()
    assert url in str(raised.value)
    assert "is edge-agent running there" in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, UnreachableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[]", UnreachableError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[]", UnreachableError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnreachableError),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", UnreachableError),
        (reply(200, b"<html>"), ServerError),
        (reply(200, {"name": 1}), ServerError),
        (reply(200, [["pump"]]), ServerError),
        (reply(500, b"oops"), ServerError),
        (reply(302, b"", Location="http://elsewhere/"), ServerError),
    ],
)
def test_answers_that_are_none(
    make_client: Make, answer: bytes | None, kind: type[ClientError]
) -> None:
    """Cut, of another protocol, of another program: never anything but our own errors."""
    with FakeGateway(answer) as gateway, pytest.raises(kind) as raised:
        make_client(gateway.url, KEY, retries=0).models()
    assert raised.value.url == gateway.url
    assert len(gateway.asked) <= 1  # no redirect is followed


def test_a_gateway_that_does_not_answer(make_client: Make) -> None:
    def slow() -> bytes:
        time.sleep(0.5)
        return MODELS

    begin_s = time.monotonic()
    with FakeGateway(slow) as gateway, pytest.raises(TimedOutError, match="timeout_s"):
        make_client(gateway.url, timeout_s=0.1).models()
    assert len(gateway.asked) == 1  # asking again would only double the wait
    assert time.monotonic() - begin_s < 5


# Repetitions --------------------------------------------------------------------------------------


def test_reading_is_repeated_after_a_broken_connection(make_client: Make) -> None:
    with FakeGateway(None, MODELS) as gateway:
        assert make_client(gateway.url).models()[0].name == "pump"
    assert len(gateway.asked) == 2


def test_a_prediction_is_repeated_if_the_gateway_was_busy(make_client: Make) -> None:
    with FakeGateway(BUSY, reply(200, PREDICTION)) as gateway:
        found = make_client(gateway.url).predict_failure({"flow": [1.0]}, asset="P-1")
    assert found.prediction == "anomaly"
    assert found.contributors[0].input == "flow"
    assert [one.body for one in gateway.asked] == [b'{"flow": [1.0]}'] * 2


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("predict_failure", {"data": {"flow": [1.0]}, "asset": "P-1"}),
        ("generate_text", {"prompt": "hi", "model": "m"}),
        ("ask", {"question": "why?"}),
    ],
)
def test_what_costs_much_is_not_repeated_after_a_broken_connection(
    make_client: Make, name: str, given: dict[str, Any]
) -> None:
    """The gateway may be at work on it."""
    with FakeGateway(None) as gateway, pytest.raises(UnreachableError):
        getattr(make_client(gateway.url), name)(**given)
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("answer", [BUSY, None, reply(503, {"error": "x"}, Retry_After="0")])
def test_a_command_is_sent_once(make_client: Make, answer: bytes | None) -> None:
    with FakeGateway(answer) as gateway:
        client = make_client(gateway.url)
        with pytest.raises(ClientError):
            client.ack("P-1.pump", by="anna")
        with pytest.raises(ClientError):
            client.feedback("P-1.pump", is_true=False)
    assert len(gateway.asked) == 2


def test_a_busy_gateway_says_when_to_come_back(make_client: Make) -> None:
    """Waits are only as long as a caller would accept."""
    busy = reply(429, {"error": "too many", "hint": "wait"}, Retry_After="120")
    with FakeGateway(busy) as gateway, pytest.raises(BusyError) as raised:
        make_client(gateway.url).models()
    assert raised.value.retry_after_s == 120
    assert len(gateway.asked) == 1


# Text ---------------------------------------------------------------------------------------------

NAMES = reply(200, {"data": [{"id": "edge-agent"}, {"id": "smollm2"}]})
COMPLETION = {
    "model": "smollm2",
    "choices": [{"message": {"content": "Grease it."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}


def event(text: str) -> bytes:
    return b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % text.encode()


def test_text_comes_from_the_first_language_model(make_client: Make) -> None:
    """`edge-agent` answers about alarms; it is no language model."""
    with FakeGateway(NAMES, reply(200, COMPLETION)) as gateway:
        found = make_client(gateway.url).generate_text("What now?", 20, temperature=0)
    assert (found.text, found.finish_reason, found.completion_tokens) == ("Grease it.", "stop", 3)
    assert gateway.asked[1].target == "/v1/chat/completions"
    assert gateway.asked[1].json() == {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "What now?"}],
        "max_tokens": 20,
        "temperature": 0,
    }


def test_a_gateway_without_a_language_model_says_so(make_client: Make) -> None:
    names, wanted = {"data": [{"id": "edge-agent"}]}, pytest.raises(NotFoundError, match="language")
    with FakeGateway(reply(200, names)) as gateway, wanted:
        make_client(gateway.url).generate_text("What now?")


def test_a_stream_comes_in_pieces(make_client: Make) -> None:
    """An event that is cut between two chunks, and one in several bytes of UTF-8, are whole."""
    whole = event("Grease") + b": note\n\n" + event(" über") + b"data: [DONE]\n\n"
    cut = len(event("Grease")) + 55
    with FakeGateway(stream(whole[:9], whole[9:cut], whole[cut:])) as gateway:
        found = list(make_client(gateway.url).stream_text("What now?", model="m"))
    assert found == ["Grease", " über"]
    assert gateway.asked[0].json()["stream"] is True


@pytest.mark.parametrize(
    "answer",
    [
        reply(401, {"error": {"message": "invalid key"}}),
        stream(b'data: {"error": {"message": "invalid key"}}\n\n'),
    ],
)
def test_a_stream_that_fails_says_why(make_client: Make, answer: bytes) -> None:
    with FakeGateway(answer) as gateway, pytest.raises(ClientError, match="invalid key") as raised:
        list(make_client(gateway.url).stream_text("What now?", model="m"))
    assert raised.value.url == gateway.url


def test_a_stream_that_is_left_ends_its_connection() -> None:
    """A reader that has enough does not keep the gateway busy."""
    with FakeGateway(stream(event("one"), event("two"))) as gateway:
        for text in Client(gateway.url).stream_text("What now?", model="m"):
            assert text == "one"
            break

        async def first() -> str:
            pieces = AsyncClient(gateway.url).stream_text("What now?", model="m")
            try:
                return await anext(aiter(pieces))
            finally:
                await pieces.aclose()  # type: ignore[attr-defined]

        assert asyncio.run(first()) == "one"
