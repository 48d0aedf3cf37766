"""What a user may write under `sinks:`, and what `check` says when it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config import find_problems
from edge_agent.config.types import Name, Secret
from edge_agent.errors import ConfigError
from edge_agent.messages import TransitionKind
from edge_agent.sinks import SINKS
from edge_agent.sinks.log import LogSinkConfig
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sinks.webhook import WebhookSinkConfig
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from pathlib import Path


LOGIN = "username: anna, password: {env: X}"


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
        (f"{{type: mqtt, url: mqtt://broker, {LOGIN}}}", "sent unencrypted: use mqtts://"),
        ("{type: webhook, url: http://cmms/x, token: {env: X}}", "sent unencrypted: use https"),
        ("{type: webhook}", "write url, or secret_url"),
        ("{type: webhook, url: https://x, secret_url: {env: X}}", "write url, or secret_url"),
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


@pytest.mark.parametrize(
    "text",
    [
        f"{{type: mqtt, url: mqtts://broker, {LOGIN}}}",
        f"{{type: mqtt, url: mqtt://127.0.0.1, {LOGIN}}}",
        f"{{type: mqtt, url: 'mqtt://[::1]', {LOGIN}}}",
        f"{{type: mqtt, url: mqtt://localhost, {LOGIN}}}",
        f"{{type: mqtt, url: mqtt://broker, {LOGIN}, allow_insecure_password: true}}",
        "{type: webhook, url: http://127.0.0.1/x, token: {env: X}}",
        "{type: webhook, url: http://cmms/x, token: {env: X}, allow_insecure_token: true}",
    ],
)
def test_a_secret_is_sent_encrypted_or_stays_on_the_machine(tmp_path: Path, text: str) -> None:
    """Or the config says that it may be read."""
    assert found(tmp_path, text)[1] == ""


def test_an_address_that_is_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Nor is what follows the host of an ordinary one: whoever knows it may post."""
    file = tmp_path / "url"
    file.write_text("https://hooks.example/services/hunter2\n")
    config = WebhookSinkConfig(secret_url=Secret(file=file))
    assert list(config.problems()) == []
    assert config.address() == "https://hooks.example/services/hunter2"
    assert "hunter2" not in f"{config.where} {config}"
    assert WebhookSinkConfig("https://hooks.example:444/hunter2?a=hunter2").where == (
        "https://hooks.example:444"
    )
    file.write_text("hooks.example/hunter2")
    with pytest.raises(ConfigError) as refused:
        config.address()
    assert "hunter2" not in str(refused.value)
    assert "not the address of a webhook" in str(refused.value)


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
