"""Sink `log`: one line an event, with what an operator looks for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from sink_support import event

from edge_agent.config.schema import Gateway
from edge_agent.messages import LinkState, Message
from edge_agent.sinks.base import DeliveryError, SinkReporter
from edge_agent.sinks.log import LogSink, LogSinkConfig

if TYPE_CHECKING:
    from edge_agent.clock import FakeClock
    from edge_agent.ops.metrics import Metrics


def make_sink(metrics: Metrics, clock: FakeClock, language: str = "en") -> LogSink:
    return LogSink("journal", LogSinkConfig(language), Gateway(), "edge", metrics, clock)


@pytest.mark.parametrize(
    ("transition", "level"), [("raise", "WARNING"), ("update", "INFO"), ("clear", "INFO")]
)
async def test_one_line_an_event(
    metrics: Metrics,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    transition: str,
    level: str,
) -> None:
    caplog.set_level(logging.INFO, "edge_agent.alarms")
    sink = make_sink(metrics, clock)
    await sink.start()
    await sink.deliver(event(transition=transition))
    (line,) = [one for one in caplog.records if one.name == "edge_agent.alarms"]
    assert (line.levelname, line.message) == (level, "alarm")
    fields = {key: getattr(line, key) for key in ("alarm_id", "transition", "state", "severity")}
    assert fields == {
        "alarm_id": "P-1-bearing",
        "transition": transition,
        "state": "unack",
        "severity": 600,
    }
    assert vars(line)["text"] == "Bearing wear"
    assert not hasattr(line, "failure_mode"), "what is not known is not written"


@pytest.mark.parametrize(("language", "text"), [("de", "Lagerverschleiß"), ("fr", "Bearing wear")])
async def test_the_text_is_in_the_chosen_language_or_the_first_there_is(
    metrics: Metrics,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    language: str,
    text: str,
) -> None:
    sink = make_sink(metrics, clock, language)
    await sink.start()
    await sink.deliver(event())
    assert caplog.records[-1].text == text  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"data": 1}'])
async def test_a_body_that_is_no_event_is_refused_for_good(
    metrics: Metrics, clock: FakeClock, body: bytes
) -> None:
    sink = make_sink(metrics, clock)
    await sink.start()
    with pytest.raises(DeliveryError) as caught:
        await sink.deliver(Message(1, "journal", "event", "k", 1, "t", body, 1))
    assert (caught.value.reason, caught.value.retry) == ("malformed", False)


def test_a_link_is_logged_once_a_change(
    metrics: Metrics, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reporter = SinkReporter("plant", metrics, clock)

    def gauge() -> float | None:
        return metrics.registry.get_sample_value("edge_agent_sink_up", {"sink": "plant"})

    assert gauge() == 0
    reporter.set(LinkState.UP)
    assert gauge() == 1
    clock.advance(5)
    reporter.set(LinkState.DOWN, "refused")
    since_us = reporter.link.since_us
    clock.advance(5)
    reporter.set(LinkState.DOWN, "timeout")
    assert gauge() == 0
    assert (reporter.link.detail, reporter.link.since_us) == ("timeout", since_us)
    lines = [(one.levelname, one.state, one.reason) for one in caplog.records]  # type: ignore[attr-defined]
    assert lines == [("INFO", "up", ""), ("WARNING", "down", "refused")]
