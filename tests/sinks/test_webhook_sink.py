"""Sink `webhook` against an HTTP server: what confirms, what refuses, what is retried, and how."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sink_support import Rig, event, make_certificates

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Gateway
from edge_agent.config.types import Duration, Secret
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState, TransitionKind
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.webhook import WebhookSink, WebhookSinkConfig, probe, retry_after_s
from edge_agent.testing import find_free_port
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics


class Receiver:
    """Answers each POST with `status`, after `delay_s`."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.headers = {"Location": "/elsewhere"}
        self.refuse: Callable[[bytes], int] = lambda _: 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.method, dict(request.headers), body))
        await asyncio.sleep(self.delay_s)
        return web.Response(status=self.refuse(body) or self.status, headers=self.headers)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/alarms"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.server.start_server()
    yield one
    await one.server.close()


def make_sink(metrics: Metrics, config: WebhookSinkConfig) -> WebhookSink:
    return WebhookSink("plant", config, Gateway(), "edge", metrics, SystemClock())


async def delivered(metrics: Metrics, config: WebhookSinkConfig) -> DeliveryError | None:
    """What one delivery ends with."""
    sink = make_sink(metrics, config)
    await sink.start()
    try:
        await sink.deliver(event())
    except DeliveryError as error:
        return error
    finally:
        await sink.stop()
    return None


async def test_an_event_is_posted_as_a_cloudevent(metrics: Metrics, receiver: Receiver) -> None:
    config = WebhookSinkConfig(receiver.url, headers={"X-Plant": "north"})
    assert await delivered(metrics, config) is None
    ((method, headers, body),) = receiver.requests
    assert method == "POST"
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["X-Plant"] == "north"
    assert body == event().body


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_confirms(metrics: Metrics, receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert await delivered(metrics, WebhookSinkConfig(receiver.url)) is None


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 432), 451, 499, *range(500, 512)])
async def test_nothing_but_2xx_takes_an_event_out_of_the_outbox(
    metrics: Metrics, receiver: Receiver, status: int
) -> None:
    """A proxy, a firewall or a half-configured receiver says 400 as often as the application."""
    receiver.status = status
    error = await delivered(metrics, WebhookSinkConfig(receiver.url))
    assert error is not None
    assert (error.reason, error.retry) == (f"http_{status // 100}xx", True)
    of_its_own = status in {400, 409, 413, 415, 422}
    assert error.hold_s == (60.0 if of_its_own else None), "others are not held up by one event"
    assert error.give_up_s == (86_400 if of_its_own else None)
    assert len(receiver.requests) == 1, "no redirect is followed"


async def test_a_redirect_is_named_without_its_secrets(
    metrics: Metrics, receiver: Receiver
) -> None:
    receiver.status = 308
    receiver.headers["Location"] = "https://user:pw@other.example/hooks?key=s3cret#x"
    error = await delivered(metrics, WebhookSinkConfig(receiver.url))
    assert "redirected to https://other.example/hooks: write that as url" in str(error)
    assert "s3cret" not in str(error)
    assert "pw" not in str(error)


async def test_an_address_that_is_a_secret_is_posted_to_and_in_no_message(
    metrics: Metrics, receiver: Receiver, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_text(f"{receiver.url}/s3cret?key=s3cret\n")
    config = WebhookSinkConfig(secret_url=Secret(file=file))
    assert await delivered(metrics, config) is None
    assert len(receiver.requests) == 1
    receiver.status = 308
    receiver.headers["Location"] = "/s3cret/elsewhere"
    moved = await delivered(metrics, config)
    file.write_text("http://127.0.0.1:9/s3cret/\x7f ?s3cret")
    broken = await delivered(metrics, config)
    with pytest.raises(ConnectError) as refused:
        await probe(config)
    for error in (moved, broken, refused.value):
        assert error is not None
        assert "s3cret" not in str(error)


@pytest.mark.parametrize("status", [301, 400, 403, 413, 429, 500, 503])
async def test_retry_after_is_honoured_whatever_the_status(
    metrics: Metrics, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    receiver.headers["Retry-After"] = "9"
    error = await delivered(metrics, WebhookSinkConfig(receiver.url))
    assert error is not None
    assert error.wait_s == 9.0


@pytest.mark.parametrize(
    ("asked", "date", "wait_s"),
    [
        ("", "", 0),
        ("9", "", 9),
        (" 120 ", "", 120),
        ("0", "", 0),
        ("-5", "", 0),
        ("1.5", "", 0),
        ("soon", "", 0),
        ("99999999999999999999", "", 600),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "", 0),
        # by the receiver's own clock, which is years off
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:00 GMT", 59),
        ("Friday, 31-Dec-99 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:00 GMT", 59),
        ("Fri Dec 31 23:59:59 1999", "Fri, 31 Dec 1999 23:59:00 GMT", 59),
        ("Thu, 26 Nov 2026 12:00:30 GMT", "", 30),
        ("Thu, 26 Nov 2026 12:00:30 GMT", "nonsense", 30),
        ("Thu, 26 Nov 2099 12:00:30 GMT", "", 600),
    ],
)
def test_retry_after_in_both_forms_bounded(asked: str, date: str, wait_s: float) -> None:
    """RFC 9110, 10.2.3 and 5.6.7; our own clock stands at 2026-11-26 12:00:00."""
    now_s = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
    assert retry_after_s(asked, date, now_s) == wait_s


async def test_400_from_a_proxy_degrades_the_sink_until_it_is_mended(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    receiver.status = 400
    sink = make_sink(metrics, WebhookSinkConfig(receiver.url))
    async with Rig(tmp_path / "a.db", sink, metrics, lambda _: asyncio.sleep(0.01)) as rig:
        await rig.put(event("a"), event("b"))
        while rig.failures("http_4xx") < 6:
            await asyncio.sleep(0.01)
        assert len(await rig.waiting()) == 2
        assert sink.link.state is LinkState.DEGRADED
        assert "HTTP status 400 Bad Request" in sink.link.detail
        (fault,) = sink.link.faults.values()
        assert fault.what == "refused.plant"
        assert fault.text == f"plant: {sink.link.detail}"
        assert up(metrics) == 0
        receiver.status = 204
        await rig.emptied()
        assert (sink.link.state, sink.link.faults, up(metrics)) == (LinkState.UP, {}, 1)


async def test_one_event_that_is_refused_leaves_the_others_their_order_and_pace(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    """413 for one large event: the rest goes through, and the sink says what waits and why."""
    receiver.refuse = lambda body: 413 if b"large" in body else 0
    sink = make_sink(metrics, WebhookSinkConfig(receiver.url))
    async with Rig(tmp_path / "a.db", sink, metrics) as rig:
        await rig.put(event("large", 1), event("large", 2), *(event(f"a{n}") for n in range(20)))
        await rig.emptied(2)
        assert sink.link.state is LinkState.DEGRADED
        assert sink.link.detail == "large: HTTP status 413 Request Entity Too Large"
        assert up(metrics) == 0


def up(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("edge_agent_sink_up", {"sink": "plant"})


async def test_a_receiver_that_does_not_answer_in_time_is_retried(
    metrics: Metrics, receiver: Receiver
) -> None:
    receiver.delay_s = 1.0
    error = await delivered(metrics, WebhookSinkConfig(receiver.url, timeout=Duration(0.05)))
    assert error is not None
    assert (error.reason, error.retry) == ("timeout", True)


async def test_nobody_there_is_retried_and_the_link_says_so(metrics: Metrics) -> None:
    sink = make_sink(metrics, WebhookSinkConfig(f"http://127.0.0.1:{find_free_port()}/x"))
    await sink.start()
    begun = sink.link.state
    assert begun is LinkState.CONNECTING
    with pytest.raises(DeliveryError, match="Connect call failed") as caught:
        await sink.deliver(event())
    assert (caught.value.reason, caught.value.retry) == ("disconnected", True)
    assert sink.link.state is LinkState.DOWN
    await sink.stop()


async def test_an_outage_ends_with_every_event_delivered_in_the_order_of_its_alarm(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    receiver.status = 503
    sink = make_sink(metrics, WebhookSinkConfig(receiver.url))
    async with Rig(tmp_path / "a.db", sink, metrics, lambda _: asyncio.sleep(0.01)) as rig:
        wanted = [event(f"a{n}", seq) for seq in (1, 2) for n in range(10)]
        await rig.put(*wanted)
        while rig.failures("http_5xx") < 3:
            await asyncio.sleep(0.01)
        receiver.requests.clear()
        receiver.status = 200
        await rig.emptied()
        assert metrics.registry.get_sample_value("edge_agent_sink_up", {"sink": "plant"}) == 1
    bodies = [body for _, _, body in receiver.requests]
    assert sorted(set(bodies)) == sorted(message.body for message in wanted)
    assert bodies.index(wanted[0].body) < bodies.index(wanted[10].body)


async def test_only_the_chosen_transitions_are_sent(metrics: Metrics, receiver: Receiver) -> None:
    config = WebhookSinkConfig(receiver.url, events=(TransitionKind.RAISE, TransitionKind.CLEAR))
    sink = make_sink(metrics, config)
    await sink.start()
    for transition in ("raise", "update", "ack", "clear"):
        await sink.deliver(event(transition=transition))
    await sink.stop()
    assert [body for _, _, body in receiver.requests] == [
        event(transition="raise").body,
        event(transition="clear").body,
    ]


async def test_a_token_is_read_for_each_request_and_shown_nowhere(
    tmp_path: Path, metrics: Metrics, receiver: Receiver
) -> None:
    file = tmp_path / "token"
    config = WebhookSinkConfig(receiver.url, token=Secret(file=file))
    sink = make_sink(metrics, config)
    await sink.start()
    with pytest.raises(DeliveryError, match="cannot read the secret") as caught:
        await sink.deliver(event())
    assert (caught.value.reason, caught.value.retry) == ("credentials", True)
    for token in ("first", "renewed"):
        file.write_text(token + "\n")
        await sink.deliver(event())
    await sink.stop()
    assert [headers["Authorization"] for _, headers, _ in receiver.requests] == [
        "Bearer first",
        "Bearer renewed",
    ]
    assert "renewed" not in repr(config)


async def test_tls_verifies_the_receiver(tmp_path: Path, metrics: Metrics) -> None:
    files = make_certificates(tmp_path)
    receiver = Receiver()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.load_cert_chain(files.server, files.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    await receiver.server.start_server(ssl=context)
    fitting = Tls(files.ca, files.client, files.client_key)
    for tls in (
        fitting,
        Tls(files.ca, files.client, files.client_key, server_name="plant-broker"),
    ):
        assert await delivered(metrics, WebhookSinkConfig(receiver.url, tls=tls)) is None
    for tls in (
        Tls(),
        Tls(files.other_ca, files.client, files.client_key),
        Tls(files.ca),
        Tls(files.ca, files.client, files.client_key, server_name="another.host"),
    ):
        error = await delivered(metrics, WebhookSinkConfig(receiver.url, tls=tls))
        assert error is not None
        assert (error.reason, error.retry) == ("disconnected", True)
    error = await delivered(metrics, WebhookSinkConfig(receiver.url, tls=Tls(tmp_path / "none")))
    assert error is not None
    assert error.reason == "credentials"
    await receiver.server.close()
    assert len(receiver.requests) == 2


async def test_the_endpoint_is_tried_without_an_alarm(receiver: Receiver) -> None:
    for receiver.status in (200, 404, 405, 500):
        await probe(WebhookSinkConfig(receiver.url))
    assert {method for method, _, _ in receiver.requests} == {"HEAD"}
    receiver.status = 403
    with pytest.raises(ConnectError, match=r"403.*see token and headers"):
        await probe(WebhookSinkConfig(receiver.url))
    with pytest.raises(ConnectError, match="Connect call failed"):
        await probe(WebhookSinkConfig(f"http://127.0.0.1:{find_free_port()}/"))
    receiver.delay_s = 1.0
    with pytest.raises(ConnectError, match="no answer in time"):
        await probe(WebhookSinkConfig(receiver.url, timeout=Duration(0.05)))


async def test_a_renewed_authority_is_taken_up_without_a_restart(
    metrics: Metrics, tmp_path: Path
) -> None:
    """The session of an HTTP client lives for months; its certificates do not."""
    files = make_certificates(tmp_path)
    ca = tmp_path / "plant-ca.pem"
    ca.write_bytes(files.other_ca.read_bytes())
    receiver = Receiver()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server, files.server_key)
    await receiver.server.start_server(ssl=context)
    sink = make_sink(metrics, WebhookSinkConfig(receiver.url, tls=Tls(ca)))
    await sink.start()
    with pytest.raises(DeliveryError):
        await sink.deliver(event())
    ca.write_bytes(files.ca.read_bytes() + b"\n")
    await sink.deliver(event())
    await sink.stop()
    await receiver.server.close()
