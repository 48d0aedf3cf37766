"""`models verify` and `doctor` look at the servers of a bundle; wrong servers are refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from daemon_support import unused_url
from remote_models import RemoteSite
from tiny_versions import INPUTS, NAME

from edge_agent.cli import main
from edge_agent.clock import FakeClock
from edge_agent.daemon.examine_machine import Examined, models
from edge_agent.daemon.tables import load_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RemoteSite]:
    made = RemoteSite(tmp_path / "models")
    yield made
    made.close()


def written(site: RemoteSite, **server: Any) -> Path:
    """A config that lists a server for the bundle."""
    folder = site.folder.parents[1]
    subscribe = [{"topic": "plant/{asset}/{signal}"}]
    config = {
        "models_dir": str(site.folder.parent),
        "store": {"path": str(folder / "store.db")},
        "sources": {"plant": {"type": "mqtt", "url": unused_url(), "subscribe": subscribe}},
        "sinks": {"lines": {"type": "log"}},
        "templates": {
            "pump": {"signals": {name: {} for name in INPUTS}, "models": [{"bundle": NAME}]}
        },
        "assets": {"P-1": {"template": "pump"}},
        "remote": {"site": {"bundles": [NAME], "timeout": "1s", **server}},
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def findings(path: Path) -> list[str]:
    """What `doctor` says of the models."""
    examined = Examined(load_config(path), path, 0.1, FakeClock(0), None, lambda *_: b"")
    return [str(one) for one in asyncio.run(models(examined))]


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        ("good", 0, ": ok, "),
        ("wrong_values", 1, "golden vectors are not reproduced: score is off by 3"),
        ("text500", 1, "HTTP 500: '<html>Internal Server Error"),
    ],
)
def test_verify_and_doctor_try_the_server(
    site: RemoteSite, capsys: pytest.CaptureFixture[str], mode: str, code: int, said: str
) -> None:
    """Reachable, metadata, golden vectors, and how long a run takes there."""
    server = site.serve(mode=mode)
    path = written(site, urls=[server.url])
    assert main(["models", "verify", NAME, "-c", str(path)]) == code
    printed = capsys.readouterr()
    assert f"{NAME} 1: ok" in printed.out
    assert said in printed.out + printed.err
    assert main(["models", "verify", NAME, "-c", str(path), "--json"]) == code
    (row,) = json.loads(capsys.readouterr().out)["servers"]
    assert (row["url"], bool(row["problem"])) == (server.url, code == 1)
    found = "\n".join(findings(path))
    assert server.url in found
    assert ("golden vectors are correct, " if code == 0 else said) in found


def test_verify_finds_a_server_that_is_away(
    site: RemoteSite, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the system."""
    server = site.serve()
    server.stop()
    path = written(site, urls=[server.url])
    assert main(["models", "verify", NAME, "-c", str(path)]) == 1
    assert "no connection: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({}, "remote.site.urls: a server needs a URL"),
        ({"urls": ["plant:8000"]}, "remote.site.urls[0]: must be a URL"),
        ({"urls": ["https://me:word@x"]}, "remote.site.urls[0]: a login never belongs into a URL"),
        ({"urls": ["grpc://x"]}, "remote.site.urls[0]: a URL of gRPC has a port"),
        (
            {"urls": ["http://triton.plant"], "key": {"env": "KEY"}},
            "remote.site.urls[0]: would send the key without encryption",
        ),
        ({"urls": ["https://x"], "cert_key": "a.key"}, "remote.site.cert_key: needs its cert"),
        ({"urls": ["https://x"], "key": "word"}, "remote.site.key: a secret is never written"),
    ],
)
def test_a_wrong_server_is_refused_with_its_key(
    site: RemoteSite, capsys: pytest.CaptureFixture[str], server: dict[str, Any], said: str
) -> None:
    """By `check`, before anything is sent."""
    assert main(["check", "-c", str(written(site, **server))]) == 78
    assert said in capsys.readouterr().err
