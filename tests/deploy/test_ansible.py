"""The Ansible role for a fleet: run for real on this machine, in a root of its own.

No package and no service here (they need a machine: scripts/package-proof shows the package); the
gateway's HTTP API is a stub that says what the daemon says (docs/models.md, docs/http.md).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from edge_agent.testing import mean_bundle
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLEET = ROOT / "deploy" / "ansible"
KEY = "secret-of-the-vault"
OURS = [sys.executable, "-m", "edge_agent"]
SIDE = {"failed": 0, "alarms": 2}


@pytest.fixture(scope="module")
def playbook_program() -> str:
    """ansible-playbook of requirements/ansible.txt, which scripts/test installs."""
    folder = os.environ.get("EDGE_AGENT_ANSIBLE", "")
    program = shutil.which("ansible-playbook", path=folder or None)
    if program is None:
        pytest.skip("ansible-core is not installed (requirements/ansible.txt)")
    return program


class Gateway(BaseHTTPRequestHandler):
    """/health/ready, and with the key /api/models and the report of the shadow."""

    report: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        rows = [{"name": "pump", "version": "2", "mode": "shadow", "state": "shadow"}]
        bodies = {
            "/health/ready": {"ready": True, "role": "active", "troubles": []},
            "/api/models": rows,
            "/api/models/pump/report": self.report,
        }
        allowed = self.headers.get("Authorization") == f"Bearer {KEY}"
        found = self.path == "/health/ready" or allowed
        body = json.dumps(bodies[self.path] if found else {}).encode()
        self.send_response(200 if found else 401)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Fleet:
    """One gateway, this machine, whose files are below `root`."""

    def __init__(self, folder: Path, program: str, url: str) -> None:
        self.root = folder / "root"
        self.report = folder / "report.json"
        self._program = program
        self._folder = folder
        (self.root / "var/cache").mkdir(parents=True)
        (self.root / "models").mkdir()
        self._make_models()
        edge_agent = folder / "edge-agent"
        edge_agent.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_agent "$@"\n')
        edge_agent.chmod(0o755)
        self.variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "edge_agent_become": False,
            "edge_agent_root": str(self.root),
            "edge_agent_program": str(edge_agent),
            "edge_agent_service": False,
            "edge_agent_owner": str(os.geteuid()),
            "edge_agent_group": str(os.getegid()),
            "edge_agent_report": str(self.report),
            "edge_agent_url": url,
            "edge_agent_api_key": KEY,
            "edge_agent_secrets": {"mqtt-password": "not for the log"},
            "edge_agent_trust": [str(folder / "maker.pub")],
            "edge_agent_config": self.config(),
        }

    def config(self) -> dict[str, Any]:
        return {
            "gateway": {"id": "gw-1"},
            "sources": {
                "bus": {
                    "type": "mqtt",
                    "url": "mqtt://127.0.0.1:1",
                    "subscribe": [{"topic": "plant/{asset}/{signal}", "template": "machine"}],
                }
            },
            "sinks": {"log": {"type": "log"}},
            "templates": {"machine": {"signals": {"x": {"limits": {"high": 12}}}}},
            "trust": {"keys": [str(self._folder / "maker.pub")]},
            "models_dir": str(self.root / "models"),
            "http": {"port": 1},  # nobody answers: no daemon is waited for
        }

    def _make_models(self) -> None:
        key = self._folder / "maker"
        self._ours("models", "keygen", str(key))
        for version in ("1", "2"):
            bundle = self._folder / version / "pump"
            mean_bundle(bundle, ["x"], length=4, version=version)
            self._ours(
                *("models", "pack", str(bundle), "--key", f"{key}.key"),
                *("-o", str(self._folder / f"pump-{version}.eab")),
            )

    @staticmethod
    def _ours(*words: str) -> None:
        subprocess.run([*OURS, *words], check=True, capture_output=True, timeout=60)

    def wants(self, version: str) -> None:
        file = str(self._folder / f"pump-{version}.eab")
        self.variables["edge_agent_models"] = [{"name": "pump", "version": version, "file": file}]

    def play(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        inventory = self._folder / "inventory.yml"
        inventory.write_text(
            yaml.safe_dump({"gateways": {"hosts": {"gw-1": {}}, "vars": self.variables}})
        )
        return subprocess.run(
            [self._program, "-i", str(inventory), str(FLEET / name), *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={
                **os.environ,
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_HOME": str(self._folder / "ansible"),
                "ANSIBLE_NOCOLOR": "1",
                "LC_ALL": "C.UTF-8",
            },
        )

    def versions(self) -> dict[str, str]:
        """State by version, as `models list` says."""
        done = subprocess.run(
            [*OURS, "models", "list", "--json", "--models-dir", str(self.root / "models")],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return {row["version"]: row["state"] for row in json.loads(done.stdout)["bundles"]}


def changes(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """How many tasks changed something, and how many failed."""
    assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
    counts = dict(
        word.split("=") for word in done.stdout.rpartition("gw-1")[2].split() if "=" in word
    )
    return int(counts["changed"]), int(counts["failed"])


@pytest.fixture
def fleet(tmp_path: Path, playbook_program: str) -> Iterator[Fleet]:
    """A gateway that never had anything; its API says what Gateway.report says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Fleet(tmp_path, playbook_program, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_gateway_gets_its_config_and_a_signed_model_and_the_next_one_by_way_of_a_shadow(
    fleet: Fleet,
) -> None:
    """Check mode touches nothing, a wrong config replaces nothing, what is there is not changed."""
    fleet.wants("1")
    checked = fleet.play("site.yml", "--check")
    assert changes(checked)[1] == 0, checked.stdout
    assert not (fleet.root / "etc").exists()

    config = fleet.root / "etc/edge-agent/edge-agent.yaml"
    fleet.variables["edge_agent_config"] = {**fleet.config(), "sorces": {}}
    refused = fleet.play("site.yml")
    assert changes(refused)[1] == 1
    assert "sorces" in refused.stdout
    assert not config.exists()

    fleet.variables["edge_agent_config"] = fleet.config()
    first = fleet.play("site.yml")
    assert changes(first)[1] == 0, first.stdout
    assert yaml.safe_load(config.read_text()) == fleet.config()
    assert (fleet.root / "etc/edge-agent/secrets/mqtt-password").stat().st_mode & 0o777 == 0o600
    assert "not for the log" not in first.stdout
    assert fleet.versions() == {"1": "active"}

    fleet.wants("2")
    second = fleet.play("site.yml")
    assert changes(second) == (3, 0)  # copied, installed, shadow
    assert fleet.versions() == {"1": "active", "2": "shadow"}
    (line,) = json.loads(fleet.report.read_text())
    assert (line["gateway"], line["ready"], line["role"]) == ("gw-1", True, "active")
    assert line["models"] == [{"name": "pump", "version": "2", "mode": "shadow", "state": "shadow"}]

    Gateway.report = shadow(agreement=0.9)
    waiting = fleet.play("activate.yml")
    assert changes(waiting)[1] == 1
    assert "stays a shadow" in waiting.stdout
    assert fleet.versions()["2"] == "shadow"

    Gateway.report = shadow(agreement=0.99)
    done = fleet.play("activate.yml")
    assert changes(done)[1] == 0, done.stdout
    assert fleet.versions() == {"1": "previous", "2": "active"}


def shadow(agreement: float) -> dict[str, Any]:
    """What the daemon says of version 2 beside version 1."""
    candidate = {**SIDE, "version": "2"}
    active = {**SIDE, "version": "1"}
    return {
        "model": "pump",
        "state": "shadow",
        "compared": 5000,
        "agreement": agreement,
        "candidate": candidate,
        "active": active,
    }


def test_the_example_is_a_config_that_check_accepts(tmp_path: Path) -> None:
    """Each gateway of the example inventory; ansible is not needed for it."""
    (gateway,) = yaml.safe_load((FLEET / "inventory.example.yml").read_text())["gateways"][
        "hosts"
    ].values()
    config = tmp_path / "edge-agent.yaml"
    text = yaml.safe_dump(gateway["edge_agent_config"], sort_keys=False)
    config.write_text(text.replace("/etc/edge-agent/trust/models.pub", str(tmp_path / "m.pub")))
    subprocess.run([*OURS, "models", "keygen", str(tmp_path / "m")], check=True, timeout=60)
    for name in ("mqtt-password", "http-token"):
        (tmp_path / name).write_text("0" * 40)
        (tmp_path / name).chmod(0o600)
    done = subprocess.run(
        [*OURS, "check", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
