"""`standby`: a pair needs one id, and one broker that keeps its lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_agent.config.machine import hostname
from edge_agent.config.problem import ConfigErrors
from edge_agent.daemon.tables import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config import Config

BUS = {"type": "mqtt", "url": "mqtt://127.0.0.1:1883"}


def load(folder: Path, **changes: Any) -> Config:
    base: dict[str, Any] = {"gateway": {"id": "gw"}, "sinks": {"bus": BUS}, "standby": True}
    file = folder / "edge.yaml"
    file.write_text(yaml.safe_dump(base | changes))
    return load_config(file, live=False)


def test_one_word_is_enough(tmp_path: Path) -> None:
    """The member is the host name, and its MQTT clients are named after it."""
    config = load(tmp_path)
    assert config.standby.enabled
    assert config.gateway.client_name == f"gw-{hostname()}"


def test_a_gateway_of_its_own_keeps_its_names(tmp_path: Path) -> None:
    """A changed client id would leave the old session with its messages at the broker."""
    config = load(tmp_path, standby=False)
    assert not config.standby.enabled
    assert config.gateway.client_name == "gw"


def test_a_setting_switches_it_on(tmp_path: Path) -> None:
    config = load(tmp_path, standby={"lease": "2s"}, gateway={"id": "gw", "member": "b"})
    assert config.standby.enabled
    assert config.gateway.client_name == "gw-b"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gateway": {}}, "standby: needs gateway.id"),
        ({"sinks": {"out": {"type": "log"}}}, "standby: needs a sink of type mqtt"),
        ({"sinks": {"bus": BUS, "other": BUS}}, "standby: there are several MQTT sinks"),
        ({"standby": {"sink": "buss"}}, "standby.sink: 'buss' is no MQTT sink"),
        ({"standby": {"lease": "0.1s"}}, "standby.lease"),
        ({"standby": False, "gateway": {"id": "g", "member": "a"}}, "gateway.member: has no"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, **changes)
    assert said in str(caught.value)
