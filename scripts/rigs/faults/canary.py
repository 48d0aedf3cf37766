"""Canary secrets in every place of a config, looked for in all that the daemon lets out.

The last place is a core dump: the daemon is started with permission to make one, and aborted.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
import psutil
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import find_free_port, wait_until
from scripts.rigs import ROOT
from scripts.rigs.faults.flow import Flow, PatchedDaemon, Shape, alarm_of, broker_of, write_config
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.rigs.faults.promises import Run

SHAPE: Final = Shape(assets=2, hz=5.0)
ENVIRONMENT: Final = "EDGE_AGENT_FAULTS_SECRET"
_FOLDER: Final = "secrets"  # of the files with the canaries, which are not searched
_NAMES: Final = (
    *("source", "sink", "environment", "opcua", "hook", "hook_token", "http_token"),
    "private",  # where no secret belongs: written into the config, or into an address
)
_ERRORS: Final = 3  # of the webhooks' receiver, before it accepts
_RAISE_S: Final = 30.0
_PARAMETERS: Final = {"alarm_id": alarm_of(0), "asset": "a000", "name": "bench", "model": "bench"}
_ADDRESS: Final = re.compile(r"\{(\w+)\}")


def canaries(run: Run) -> Measured:
    """Count the canaries that got out; the control logs secrets and may dump its memory."""
    with ExitStack() as stack:
        planted = _Planted(run.folder, stack)
        patches = [] if run.protected else ["logged_secrets", "core_dumps"]
        daemon = _Dumpable(planted.config, patches, **{ENVIRONMENT: planted.texts["environment"]})
        stack.callback(daemon.kill)
        daemon.start()
        run.tell("the daemon runs")
        places = _exercised(run, planted, daemon)
        core = _core_after_abort(run.folder, daemon)
        places |= _files(run.folder)
    hits = sorted({f"{name} in {place}" for name, place in _found(planted.texts, places)})
    dumped = [name for name, _ in _found(planted.texts, {"core": core})]
    seen = f": {', '.join(hits[:4])}" if hits else ""
    figure = (
        f"{len(planted.texts)} secrets, {len(places)} outputs and files: {len(hits)} hits{seen}; "
        f"core dump: {f'{len(core) >> 20} MiB with {len(dumped)} of them' if core else 'none'}"
    )
    if not run.protected:  # each of the two searches must be able to find something
        return Measured(figure, holds=not (hits and dumped))
    return Measured(figure, holds=not hits and not core)


class _Dumpable(PatchedDaemon):
    """A daemon that may make a core dump of any size, in its folder."""

    def __init__(self, config: Path, patches: list[str], **environment: str) -> None:
        super().__init__(config, patches, **environment)
        self._command[:0] = ["prlimit", "--core=unlimited:unlimited"]


class _Planted:
    """A config with a canary in each place of a secret. texts: by a name of their place."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.texts = {name: f"canary{secrets.token_hex(12)}" for name in _NAMES}
        broker, receiver = broker_of(folder), _receiver()
        stack.callback(broker.start().stop)
        stack.callback(receiver.shutdown)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.port, self.hook_port = broker.port, receiver.server_port
        self.config = write_config(folder, broker.port, SHAPE.assets)
        (folder / _FOLDER).mkdir()
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
            path = folder / _FOLDER / name
            path.write_text(text or self.texts[name])
            path.chmod(0o600)
            return {"file": str(path)}

        return write

    def _make_key(self) -> str:
        words = ("keys", "create", "rig", "--scope", "read,infer,text,command")
        text = _edge_agent(*words, "-c", str(self.config), secret=self.texts["environment"])
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
    answers = iter([500, 302, 404][:_ERRORS])

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


def _exercised(run: Run, planted: _Planted, daemon: PatchedDaemon) -> dict[str, bytes]:
    """What the daemon and the commands put out while alarms come and go."""
    with Flow(planted.port, SHAPE) as flow:
        flow.break_asset(0)
        wait_until(lambda: daemon.metric("alarm_transitions_total") > 0, _RAISE_S, "an alarm")
        run.tell("an alarm is raised")
        _ask(daemon.url, f"/api/alarms/{alarm_of(0)}/ack", planted.key, b'{"by": "rig"}')
        _ask(daemon.url, f"/api/alarms/{alarm_of(0)}/ack", planted.key[:-1], b'{"by": "rig"}')
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(2.0 if run.quick else 10.0)  # webhooks are tried again
        places = _answers(daemon, planted) | _processes(daemon.pid, planted.texts)
        places |= _commands(run, planted)
        if b"b000" not in places["GET /api/assets by key"]:
            raise RuntimeError("the routes answer nothing, so that nothing could be found in them")
    return places | {"bus": b"\n".join(planted.seen)}


def _answers(daemon: PatchedDaemon, planted: _Planted) -> dict[str, bytes]:
    """Every route that is read, with the key, with the token, and without."""
    routes = json.loads(_ask(daemon.url, "/openapi.json", planted.key))["paths"]
    paths = {
        _ADDRESS.sub(lambda part: _PARAMETERS.get(part[1], "x"), path)
        for path, methods in routes.items()
        if "get" in methods
    }
    known = {"key": planted.key, "token": planted.texts["http_token"], "nobody": ""}
    return {
        f"GET {path} by {name}": _ask(daemon.url, path, secret)
        for path in sorted(paths | {"/", "/metrics"})
        for name, secret in known.items()
    }


def _ask(url: str, path: str, secret: str, body: bytes | None = None) -> bytes:
    """The head and the first part of the answer: some routes are streams without end."""
    request = urllib.request.Request(url + path, body)
    request.add_header("Authorization", f"Bearer {secret}")
    request.add_header("Content-Type", "application/json")
    parts: list[bytes] = []
    with contextlib.suppress(OSError):
        try:
            answer = urllib.request.urlopen(request, timeout=3)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            if path != "/openapi.json":  # which is parsed
                parts.append(str(answer.headers).encode())
            while part := answer.read1(1 << 16):
                parts.append(part)
                if sum(map(len, parts)) > 1 << 22:
                    break
    return b"".join(parts)


def _processes(pid: int, texts: Mapping[str, str]) -> dict[str, bytes]:
    """Command lines, and the environments without the variable that holds a secret."""
    process = psutil.Process(pid)
    places = {}
    for one in (process, *process.children(recursive=True)):
        folder = Path(f"/proc/{one.pid}")
        with contextlib.suppress(OSError):
            places[f"command line of {one.pid}"] = (folder / "cmdline").read_bytes()
            given = f"{ENVIRONMENT}={texts['environment']}".encode() if one.pid == pid else b""
            own = (folder / "environ").read_bytes()
            places[f"environment of {one.pid}"] = own.replace(given, b"") if given else own
    return places


def _commands(run: Run, planted: _Planted) -> dict[str, bytes]:
    """What the commands print, also of configs with a secret in the wrong place."""
    config, folder, secret = str(planted.config), run.folder, planted.texts["environment"]
    text = planted.config.read_text()
    private = planted.texts["private"]
    broken = {
        "unknown": f"{text}\nsecrets: {{password: {private}}}\n",
        "password": re.sub(r"password:\n +env: \S+", f"password: {private}", text),
        "url": text.replace("mqtt://127", f"mqtt://user:{private}@127"),
    }
    (folder / _FOLDER / "hook-broken").write_text(f"no address {private}")
    broken["hook"] = text.replace(f"{_FOLDER}/hook\n", f"{_FOLDER}/hook-broken\n")
    outputs = {
        "check": ("check", "--connect", "--seconds", "1", "-c", config),
        "check --json": ("check", "--json", "-c", config),
        "doctor": ("doctor", "--seconds", "1", "--all", "-c", config),
    }
    for name, changed in broken.items():
        path = folder / _FOLDER / f"{name}.yaml"
        path.write_text(changed.replace("models_dir: models", f"models_dir: {folder}/models"))
        outputs[f"check of {name}"] = ("--debug", "check", "--connect", "-c", str(path))
        if name != "hook":
            outputs[f"run of {name}"] = ("--debug", "run", "-c", str(path))
    places = {}
    for name, words in outputs.items():
        run.tell(name)
        places[name] = _edge_agent(*words, secret=secret)
        assert places[name], name  # noqa: S101 (a command that prints nothing proves nothing)
    return places


def _edge_agent(*words: str, secret: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), ENVIRONMENT: secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.stdout


def _core_after_abort(folder: Path, daemon: PatchedDaemon) -> bytes:
    """The core dump of the daemon; empty if there is none."""
    daemon.process.send_signal(signal.SIGABRT)
    daemon.process.wait(60)
    files = [*folder.glob("core"), *folder.glob("core.*")]
    core = b"".join(file.read_bytes() for file in files)
    for file in files:
        file.unlink()
    return core


def _files(folder: Path) -> dict[str, bytes]:
    """Every file of the daemon: its log, its store, its keys."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and _FOLDER not in file.relative_to(folder).parts
    }


def _found(texts: Mapping[str, str], places: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """(Name of the secret, place), as plain text, in hexadecimal, or in base64."""
    for name, text in texts.items():
        forms = list(_forms(text.encode()))
        for place, content in places.items():
            if any(form in content for form in forms):
                yield name, place


def _forms(raw: bytes) -> Iterator[bytes]:
    yield raw
    yield raw.hex().encode()
    for offset in range(3):  # base64 of it within a longer text: without the ends, which mix
        yield base64.b64encode(b"-" * offset + raw)[4 if offset else 0 : -4]
