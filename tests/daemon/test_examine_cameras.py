"""What `check --connect` and `doctor` say of cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from camera_support import jpeg
from daemon_support import fed_config
from mqtt_support import Publisher

from edge_agent.daemon.examine_cameras import examine_camera
from edge_agent.daemon.tables import load_config
from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.testing import Mosquitto


def config_of(folder: Path, camera: dict[str, Any], **more: Any) -> Config:
    template: tuple[str, dict[str, Any]] = ("pump", {"signals": {"flow": {}}})
    cameras = {"gate": {"asset": "P-1", **camera}}
    return load_config(fed_config(folder, template, "P-1", cameras=cameras, **more))


async def said_of(config: Config) -> list[str]:
    return [f"{one.severity} {one}" for one in await examine_camera(config, "gate", 0.3)]


async def test_a_folder_its_newest_picture_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    """The file stays where it is, and nothing else is looked at."""
    config = config_of(tmp_path, {"folder": {"path": str(tmp_path / "in"), "pattern": "*.jpg"}})
    with pytest.raises(ConnectError, match="no such file"):
        await said_of(config)
    (tmp_path / "in").mkdir()
    (found,) = await said_of(config)
    assert found.startswith("warning camera gate: no picture")
    (tmp_path / "in" / "a.jpg").write_bytes(jpeg(64))
    (found,) = await said_of(config)
    assert found.startswith("ok camera gate: 64 x 64 pixels, ")
    (tmp_path / "in" / "a.jpg").write_bytes(b"<svg/>")
    (found,) = await said_of(config)
    assert found.startswith("error camera gate: an SVG: let the camera send JPEG or PNG")
    assert [one.name for one in (tmp_path / "in").iterdir()] == ["a.jpg"]


async def test_a_url_that_does_not_answer(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"http": {"url": "http://127.0.0.1:1/snap.jpg"}})
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
        await said_of(config)


@pytest.mark.integration
async def test_a_topic_is_awaited(tmp_path: Path, broker: Mosquitto) -> None:
    subscribe = [{"topic": "plant/{asset}/{signal}"}]
    sources = {"bus": {"type": "mqtt", "url": broker.url, "subscribe": subscribe}}
    config = config_of(tmp_path, {"mqtt": {"topic": "cam/gate"}}, sources=sources)
    (found,) = await said_of(config)
    assert "no picture within 0.3 s" in found
    publisher = Publisher(broker.port)
    publisher.publish("cam/gate", jpeg(900), retain=True)
    publisher.close()
    (found,) = await said_of(config)
    assert "900 x 900 pixels" in found
