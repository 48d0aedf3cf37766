"""A plant whose config has a canary in each place of a secret."""

from __future__ import annotations

import http.server
import os
import re
import secrets
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import find_free_port
from scripts.rigs import ROOT
from scripts.rigs.faults.flow import Shape, broker_of, write_config

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

SHAPE: Final = Shape(assets=2, hz=5.0)
ENVIRONMENT: Final = "EDGE_AGENT_FAULTS_SECRET"
FOLDER: Final = "secrets"  # of the files with the canaries, which are not searched
_NAMES: Final = (
    *("source", "sink", "environment", "opcua", "hook", "hook_token", "http_token"),
    "private",  # where no secret belongs: written into the config, or into an address
)


class Planted:
    """A config with a canary in each place of a secret. texts: by a name of their place."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.texts = {name: f"canary{secrets.token_hex(12)}" for name in _NAMES}
        broker, receiver = broker_of(folder), _receiver()
        stack.callback(broker.start().stop)
        stack.callback(receiver.shutdown)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.port, self.hook_port = broker.port, receiver.server_port
        self.config = write_config(folder, broker.port, SHAPE.assets)
        (folder / FOLDER).mkdir()
        self.config.write_text(yaml.safe_dump(self._with_secrets(folder), sort_keys=False))
        self.key = self._make_key()
        self.texts["api_key"] = self.key
        self.seen: list[bytes] = []
        stack.callback(self._listen().loop_stop)

    def _with_secrets(self, folder: Path) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.config.read_text())
        hook = f"http://127.0.0.1:{self.hook_port}"
        dead, user = find_free_port(), {"username": "gateway", "allow_insecure_password": True}
        file = self._file(folder)
        config["log"] = {"level": "debug"}
        config["http"]["token"] = file("http_token")
        config["sources"]["plant"] |= user | {"password": file("source")}
        config["sources"]["away"] = {
            "type": "mqtt",
            "url": f"mqtt://127.0.0.1:{dead}",
            "subscribe": [{"topic": "away/{asset}"}],
            **user,
            "password": {"env": ENVIRONMENT},
        }
        config["sources"]["plc"] = {
            "type": "opcua",
            "url": f"opc.tcp://127.0.0.1:{dead}",
            "node": "nsu=urn:plant;s={asset}.{signal}",
            **user,
            "password": file("opcua"),
        }
        for signal_config in config["templates"]["machine"]["signals"].values():
            signal_config["source"] = "plant"
        config["templates"]["other"] = {
            "signals": {"t": {"source": "plc"}, "u": {"source": "away"}}
        }
        config["assets"]["b000"] = {"template": "other"}
        config["sinks"]["bus"] |= user | {"password": file("sink")}
        config["sinks"]["chat"] = {
            "type": "webhook",
            "secret_url": file("hook", f"{hook}/{self.texts['hook']}"),
        }
        config["sinks"]["office"] = {"type": "webhook", "url": hook, "token": file("hook_token")}
        return config

    def _file(self, folder: Path) -> Any:  # noqa: ANN401 (a function)
        def write(name: str, text: str = "") -> dict[str, str]:
            path = folder / FOLDER / name
            path.write_text(text or self.texts[name])
            path.chmod(0o600)
            return {"file": str(path)}

        return write

    def _make_key(self) -> str:
        words = ("keys", "create", "rig", "--scope", "read,infer,text,command")
        text = edge_agent(*words, "-c", str(self.config), secret=self.texts["environment"])
        found = re.search(rb"edgeagent_\w+", text)
        if found is None:
            raise RuntimeError(f"no key is made: {text.decode()}")
        return found[0].decode()

    def _listen(self) -> mqtt.Client:
        """Collect all messages of the broker."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: self.seen.append(
            message.topic.encode() + b" " + message.payload
        )
        client.connect("127.0.0.1", self.port)
        client.subscribe("#")
        client.loop_start()
        return client


def _receiver() -> http.server.ThreadingHTTPServer:
    """Refuses the first requests in different ways, so that errors are logged."""
    answers = iter([500, 302, 404])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(next(answers, 204))
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the rig's own output is not searched."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def edge_agent(*words: str, secret: str) -> bytes:
    """Run a command; return all that it prints. secret: the one of the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), ENVIRONMENT: secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.stdout
