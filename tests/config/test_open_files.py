"""Files that a config names: what is wrong in them, and who may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config import load
from edge_agent.config.config_warnings import warnings
from edge_agent.daemon.tables import find_problems
from edge_agent.sources.mqtt.config import MqttSourceConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o604, True), (0o640, False)])
def test_a_secret_or_key_for_everybody_is_a_warning(
    tmp_path: Path, mode: int, *, warned: bool
) -> None:
    """The group may read it: that is how the service's account does. A certificate is public."""
    for name in ("password", "key.pem", "cert.pem"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644 if name == "cert.pem" else mode)
    (tmp_path / "c.yaml").write_text(
        "sources: {bus: {type: mqtt, url: 'mqtts://b', username: u, password: {file: password},"
        " tls: {cert: cert.pem, key: key.pem}, subscribe: [{topic: '{asset}'}]}}\n"
    )
    config = load(tmp_path / "c.yaml", sources={"mqtt": MqttSourceConfig}, sinks={})
    found = [one.partition(":")[0] for one in warnings(config) if "by every user" in one]
    assert found == (["sources.bus.password", "sources.bus.tls.key"] if warned else [])


def test_mistakes_in_a_file_of_texts_are_found_with_those_of_the_config(tmp_path: Path) -> None:
    """`check` finds what would stop the daemon, with file, line and key."""
    (tmp_path / "own.yaml").write_text("wear: {massage: {en: x}}\nleak: {message: {en: ''}}\n")
    (tmp_path / "c.yaml").write_text("trust: {keys: [none.pem]}\nalarms: {texts: own.yaml}\n")
    config, problems = find_problems(tmp_path / "c.yaml")
    assert config is None
    said = [str(one).removeprefix(f"{tmp_path}/").partition(" (")[0] for one in problems]
    assert said[-3:] == [
        f"c.yaml:1: trust.keys[0]: there is no file '{tmp_path}/none.pem'",
        "own.yaml:1: wear.massage: unknown key 'massage'",
        "own.yaml:2: leak.message.en: a text has 1 to 1000 characters",
    ]
