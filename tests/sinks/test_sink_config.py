"""What a user may write under `sinks:`, and what `check` says when it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config import find_problems
from edge_agent.config.types import Name, Secret
from edge_agent.messages import TransitionKind
from edge_agent.sinks import SINKS
from edge_agent.sinks.log import LogSinkConfig
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sinks.webhook import WebhookSinkConfig
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from pathlib import Path


def found(tmp_path: Path, sink: str) -> tuple[object, str]:
    file = tmp_path / "config.yaml"
    file.write_text("sinks:\n  it: " + sink + "\n")
    config, problems = find_problems(
        file, sources={}, sinks={name: row.config for name, row in SINKS.items()}
    )
    texts = "\n".join(str(one) for one in problems if "sinks" in str(one))
    return (config.sinks[Name("it")] if config else None), texts


def test_the_shortest_configs(tmp_path: Path) -> None:
    for text in ("{type: mqtt, url: mqtt://broker}", "{type: log}"):
        assert found(tmp_path, text)[1] == ""
    assert found(tmp_path, "{type: webhook, url: https://cmms/alarms}")[1] == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{type: mqtt, url: http://broker}", "write mqtt://host:port"),
        ("{type: mqtt, url: mqtt://broker:0}", "write mqtt://host:port"),
        ("{type: mqtt, url: mqtt://broker:99999}", "out of range"),
        ("{type: mqtt, url: mqtt://}", "write mqtt://host:port"),
        ("{type: mqtt, url: mqtt://anna:secret@broker}", "keys of their own"),
        ("{type: mqtt, url: mqtt://broker/x}", "nothing after the port"),
        ("{type: mqtt, url: mqtt://broker, tls: {ca: a.pem}}", "no effect without mqtts"),
        ("{type: mqtt, url: mqtts://broker, tls: {key: a.key}}", "needs its certificate"),
        ("{type: mqtt, url: mqtt://broker, password: {env: X}}", "needs a username"),
        ("{type: mqtt, url: mqtt://broker, send_window: 11}", "between 1 and 10"),
        ("{type: mqtt, url: mqtt://broker, keepalive: 1s}", "between 5 and"),
        ("{type: webhook, url: ftp://x}", "write http://host"),
        ("{type: webhook, url: http://anna:secret@x/}", "key of their own"),
        ("{type: webhook, url: http://x/, tls: {ca: a.pem}}", "no effect without https"),
        ('{type: webhook, url: http://x/, headers: {"A B": c}}', "not a header"),
        ('{type: webhook, url: http://x/, headers: {A: "b\\nc"}}', "not a header"),
        ("{type: webhook, url: http://x/, events: [rise]}", "raise"),
        ("{type: kafka}", "unknown type"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in found(tmp_path, text)[1]


def test_no_complaint_repeats_a_secret(tmp_path: Path) -> None:
    for scheme in ("mqtt", "webhook"):
        url = "mqtt" if scheme == "mqtt" else "http"
        assert "hunter2" not in found(tmp_path, f"{{type: {scheme}, url: {url}://a:hunter2@b}}")[1]


def test_everything_written_out() -> None:
    """Host, port and encryption come from the URL."""
    config = MqttSinkConfig(
        "mqtts://broker.plant:8884",
        username="gateway",
        password=Secret(env="PASSWORD"),
        tls=Tls(server_name="broker"),
    )
    assert (config.host, config.port, config.encrypted) == ("broker.plant", 8884, True)
    plain = MqttSinkConfig("mqtt://[::1]")
    assert (plain.host, plain.port, plain.encrypted) == ("::1", 1883, False)
    assert list(WebhookSinkConfig("http://x/", events=(TransitionKind.RAISE,)).problems()) == []
    assert LogSinkConfig().language == "en"
