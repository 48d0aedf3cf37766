"""What holds for every sink, whatever it speaks: life cycle, outages, refusals."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiohttp import web
from sink_support import Rig, event, leave_a_listener
from smtp_support import MailServer
from support import until

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Gateway
from edge_agent.messages import LinkState
from edge_agent.sinks import SINKS
from edge_agent.sinks.base import EVENT, DeliveryError, Sink
from edge_agent.sinks.log import LogSinkConfig
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sinks.smtp import Security, SmtpSinkConfig
from edge_agent.sinks.webhook import WebhookSinkConfig
from edge_agent.testing import Mosquitto, find_free_port, find_mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics

pytestmark = pytest.mark.integration


class Receiver(Protocol):
    """The other side; `config` says where it is, whether it is there or not."""

    config: object

    async def up(self) -> None: ...

    async def down(self) -> None: ...

    def refuse(self) -> str:
        """Refuse the alarm `bad` from now on; returns the reason to be counted."""


class Broker:
    """mosquitto: it refuses what is larger than its limit."""

    def __init__(self, folder: Path) -> None:
        if find_mosquitto() is None:
            pytest.skip("mosquitto is not installed")
        self._broker = Mosquitto(folder, "persistence true\nmax_packet_size 5000")
        self.config = MqttSinkConfig(self._broker.url)

    async def up(self) -> None:
        await asyncio.to_thread(self._broker.start)
        await leave_a_listener(self._broker.port)

    async def down(self) -> None:
        await asyncio.to_thread(self._broker.stop)

    def refuse(self) -> str:
        return "too_large"


class Hook:
    """An HTTP server: it refuses with 422."""

    def __init__(self, _: Path) -> None:
        self._port = find_free_port()
        self._runner: web.AppRunner | None = None
        self._refuse = False
        self.config = WebhookSinkConfig(f"http://127.0.0.1:{self._port}/")

    async def _answer(self, request: web.Request) -> web.Response:
        bad = b'"bad"' in await request.read()
        return web.Response(status=422 if bad and self._refuse else 200)

    async def up(self) -> None:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def refuse(self) -> str:
        self._refuse = True
        return "http_4xx"


class Mail:
    """A mail server: it refuses with 554."""

    def __init__(self, _: Path) -> None:
        self._server = MailServer(find_free_port())
        self.config = SmtpSinkConfig(
            "127.0.0.1",
            "gateway@plant.example",
            ("maintenance@plant.example",),
            self._server.port,
            Security.NONE,
        )

    async def up(self) -> None:
        await self._server.up()

    async def down(self) -> None:
        await self._server.down()

    def refuse(self) -> str:
        self._server.refuse = lambda text: "554 refused" if b"bad" in text else ""
        return "smtp_5xx"


class Journal:
    """Logging: it is never down, and refuses only what is no event."""

    def __init__(self, _: Path) -> None:
        self.config = LogSinkConfig()

    async def up(self) -> None:
        pass

    async def down(self) -> None:
        pass

    def refuse(self) -> str:
        return "malformed"


RECEIVERS: dict[str, type[Any]] = {"mqtt": Broker, "webhook": Hook, "smtp": Mail, "log": Journal}


@dataclass
class Pair:
    kind: str
    receiver: Receiver
    metrics: Metrics

    def sink(self) -> Sink:
        return SINKS[self.kind].make(
            "plant", self.receiver.config, Gateway(), "edge", self.metrics, SystemClock()
        )


@pytest.fixture(params=list(SINKS))
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, metrics: Metrics
) -> AsyncIterator[Pair]:
    one = Pair(request.param, RECEIVERS[request.param](tmp_path), metrics)
    yield one
    await one.receiver.down()


def test_every_sink_is_tested_here() -> None:
    assert set(RECEIVERS) == set(SINKS)


async def test_stop_before_start(pair: Pair) -> None:
    sink = pair.sink()
    assert sink.link.state is LinkState.STOPPED
    await sink.stop()
    assert sink.link.state is LinkState.STOPPED


async def test_stop_twice_and_start_again(pair: Pair) -> None:
    await pair.receiver.up()
    sink = pair.sink()
    for _ in range(2):
        await sink.start()
        await sink.start()
        await deliver_at_last(sink)
        await sink.stop()
        await sink.stop()
        assert sink.link.state is LinkState.STOPPED


async def test_start_does_not_wait_for_a_receiver_that_is_away(pair: Pair) -> None:
    sink = pair.sink()
    async with asyncio.timeout(1):
        await sink.start()
    assert sink.link.state in {LinkState.CONNECTING, LinkState.UP}
    await sink.stop()


async def test_before_start_and_after_stop_a_delivery_fails_and_may_be_retried(pair: Pair) -> None:
    await pair.receiver.up()
    sink = pair.sink()
    for _ in range(2):
        with pytest.raises(DeliveryError) as caught:
            await sink.deliver(event())
        assert (caught.value.reason, caught.value.retry) == ("disconnected", True)
        await sink.start()
        await sink.stop()


async def test_away_scores_and_status_are_dropped_in_silence(pair: Pair) -> None:
    sink = pair.sink()
    for _ in range(2):
        sink.publish_scores([("edge/score", b"{}")])
        sink.set_status("degraded")
        sink.set_status("online")
        await sink.start()
    await sink.stop()
    sink.publish_scores([("edge/score", b"{}")])


async def test_kinds_and_window_are_known_before_start(pair: Pair) -> None:
    sink = pair.sink()
    assert EVENT in sink.kinds
    assert 1 <= sink.window <= 32


async def test_what_was_put_while_the_receiver_was_away_is_delivered_when_it_is_back(
    pair: Pair, tmp_path: Path
) -> None:
    async with Rig(tmp_path / "a.db", pair.sink(), pair.metrics) as rig:
        await rig.put(*(event(f"a{n}") for n in range(20)))
        if pair.kind != "log":
            await until(lambda: rig.failures("disconnected"), "a failure")
            assert len(await rig.waiting()) == 20
        await pair.receiver.up()
        await rig.emptied()
        assert len(rig.confirmed) == 20, "once each"
        assert rig.sink.link.state is LinkState.UP


async def test_an_outage_in_the_middle_loses_nothing(pair: Pair, tmp_path: Path) -> None:
    await pair.receiver.up()
    async with Rig(tmp_path / "a.db", pair.sink(), pair.metrics) as rig:
        await rig.put(event("before"))
        await rig.emptied()
        await pair.receiver.down()
        await rig.put(*(event(f"a{n}") for n in range(20)))
        await pair.receiver.up()
        await rig.emptied()
        assert len(rig.confirmed) == 21


async def test_a_message_that_alone_is_refused_waits_and_the_others_pass(
    pair: Pair, tmp_path: Path
) -> None:
    """The link says so as long as it waits; only what is no alarm at all is given up at once."""
    await pair.receiver.up()
    reason = pair.receiver.refuse()
    bad = event("bad")
    if pair.kind in {"mqtt", "log"}:
        bad = replace(bad, body=b"x" * 6000)
    async with Rig(tmp_path / "a.db", pair.sink(), pair.metrics) as rig:
        await rig.put(bad, event("good"))
        left = await rig.emptied(0 if pair.kind == "log" else 1)
        assert [one.key for one in rig.confirmed] == ["good"]
        assert rig.failures(reason) >= 1
        if pair.kind == "log":
            (entry,) = await rig.run(lambda store: store.audit_log())
            assert entry["subject"] == "plant event bad:1"
        else:
            assert [one.key for one in left] == ["bad"]
            assert rig.sink.link.state is LinkState.DEGRADED
            assert list(rig.sink.link.faults) == ["refused.plant"]


async def test_one_log_line_a_change_of_state(
    pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails in between."""
    caplog.set_level(logging.INFO, "edge_agent.sinks")
    await pair.receiver.up()
    sink = pair.sink()
    rig = Rig(tmp_path / "a.db", sink, pair.metrics, lambda _: asyncio.sleep(0.01))
    async with rig:
        await rig.put(event("first"))
        await rig.emptied()
        if pair.kind != "log":
            await pair.receiver.down()
            await rig.put(event("second"))
            await until(lambda: rig.failures("disconnected") >= 3, "failures")
            await until(lambda: sink.link.state is LinkState.DOWN, "down")
            await pair.receiver.up()
            await rig.emptied()
    lines = [one.message for one in caplog.records if one.name == "edge_agent.sinks"]
    turns = ["up"] if pair.kind == "log" else ["connecting", "up", "down", "up"]
    assert lines == [f"sink {turn}" for turn in (*turns, "stopped")]


async def deliver_at_last(sink: Sink) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                return await sink.deliver(event())
            except DeliveryError:
                await asyncio.sleep(0.01)
