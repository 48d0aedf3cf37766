"""Sink `webhook` against an HTTP server: what confirms, what refuses, what is retried, and how."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sink_support import Rig, event, make_certificates
from support import find_free_port

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Duration, Gateway
from edge_agent.config.types import Secret
from edge_agent.errors import ConnectError
from edge_agent.records import LinkState, TransitionKind
from edge_agent.sinks import DeliveryError, WebhookSinkConfig
from edge_agent.sinks._tls import Tls
from edge_agent.sinks.webhook import WebhookSink, probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics


class Receiver:
    """Answers each POST with `status`, after `delay_s`."""

    def __init__(self) -> None:
        self.status = 200
        self.delay_s = 0.0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.method, dict(request.headers), body))
        await asyncio.sleep(self.delay_s)
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})

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


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (400, "http_4xx", False),
        (409, "http_4xx", False),
        (413, "http_4xx", False),
        (415, "http_4xx", False),
        (422, "http_4xx", False),
        (401, "http_4xx", True),
        (403, "http_4xx", True),
        (404, "http_4xx", True),
        (408, "http_4xx", True),
        (429, "http_4xx", True),
        (500, "http_5xx", True),
        (503, "http_5xx", True),
        (302, "http_3xx", True),
        (308, "http_3xx", True),
    ],
)
async def test_only_what_speaks_about_the_event_itself_is_final(
    metrics: Metrics,
    receiver: Receiver,
    status: int,
    reason: str,
    retry: bool,  # noqa: FBT001
) -> None:
    receiver.status = status
    error = await delivered(metrics, WebhookSinkConfig(receiver.url))
    assert error is not None
    assert (error.reason, error.retry, error.hold_s) == (reason, retry, None)
    assert len(receiver.requests) == 1, "no redirect is followed"


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
    assert sink.link.state is LinkState.CONNECTING
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
