"""`edge-agent notify`: lists routes, and says clearly what a receiver answers to a test message."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest

from edge_agent.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

CONFIG = """\
sources: {{}}
sinks:
  chat: {{type: webhook, url: "http://127.0.0.1:{port}/", template: ntfy, values: {{topic: pumps}}}}
templates: {{}}
notify:
  routes:
    shift: {{sink: chat, language: de, severity: 334, quiet: [{{start: "22:00", end: "06:00"}}]}}
"""


class Hook(BaseHTTPRequestHandler):
    bodies: ClassVar[list[bytes]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(Hook.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    Hook.bodies.clear()
    Hook.status = 200
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = tmp_path / "edge.yaml"
    file.write_text(CONFIG.format(port=server.server_port))
    yield file
    server.shutdown()
    server.server_close()


def test_a_test_message_is_sent(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the language of the route, with a plain answer."""
    assert main(["notify", "test", "shift", "-c", str(config)]) == 0
    assert "route shift: the receiver of sink chat has taken it" in capsys.readouterr().out
    (body,) = Hook.bodies
    assert json.loads(body)["title"] == "Testnachricht der Route shift"


def test_a_refusal_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and what the receiver said; also as JSON."""
    Hook.status = 403
    assert main(["notify", "test", "shift", "-c", str(config)]) == 1
    assert "NOT delivered by sink chat: HTTP status 403 Forbidden" in capsys.readouterr().out
    assert main(["notify", "test", "shift", "-c", str(config), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["error"]) == (False, "HTTP status 403 Forbidden")


def test_an_unknown_route_is_wrong_use(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The known ones are named."""
    assert main(["notify", "test", "night", "-c", str(config)]) == 2
    assert "routes: shift" in capsys.readouterr().err


def test_routes_are_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each: sink, severity, assets and quiet hours."""
    assert main(["notify", "list", "-c", str(config)]) == 0
    line = capsys.readouterr().out
    assert line.startswith("shift: chat, severity 334+, *, quiet 22:00-06:00 mon,")
