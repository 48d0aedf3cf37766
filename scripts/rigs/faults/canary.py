"""Canary secrets in every place of a config, looked for in all that the daemon lets out.

The last place is a core dump: the daemon is started with permission to make one, and aborted.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from edge_agent.testing import wait_until
from scripts.rigs.faults.canary_plant import ENVIRONMENT, FOLDER, SHAPE, Planted, edge_agent
from scripts.rigs.faults.flow import Flow, PatchedDaemon, alarm_of
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.rigs.faults.promises import Run

_RAISE_S: Final = 30.0
_PARAMETERS: Final = {"alarm_id": alarm_of(0), "asset": "a000", "name": "bench", "model": "bench"}
_ADDRESS: Final = re.compile(r"\{(\w+)\}")


def canaries(run: Run) -> Measured:
    """Count the canaries that got out; the control logs secrets and may dump its memory."""
    with ExitStack() as stack:
        planted = Planted(run.folder, stack)
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


def _exercised(run: Run, planted: Planted, daemon: PatchedDaemon) -> dict[str, bytes]:
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


def _answers(daemon: PatchedDaemon, planted: Planted) -> dict[str, bytes]:
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


def _commands(run: Run, planted: Planted) -> dict[str, bytes]:
    """What the commands print, also of configs with a secret in the wrong place."""
    config, folder, secret = str(planted.config), run.folder, planted.texts["environment"]
    text = planted.config.read_text()
    private = planted.texts["private"]
    broken = {
        "unknown": f"{text}\nsecrets: {{password: {private}}}\n",
        "password": re.sub(r"password:\n +env: \S+", f"password: {private}", text),
        "url": text.replace("mqtt://127", f"mqtt://user:{private}@127"),
    }
    (folder / FOLDER / "hook-broken").write_text(f"no address {private}")
    broken["hook"] = text.replace(f"{FOLDER}/hook\n", f"{FOLDER}/hook-broken\n")
    outputs = {
        "check": ("check", "--connect", "--seconds", "1", "-c", config),
        "check --json": ("check", "--json", "-c", config),
        "doctor": ("doctor", "--seconds", "1", "--all", "-c", config),
    }
    for name, changed in broken.items():
        path = folder / FOLDER / f"{name}.yaml"
        path.write_text(changed.replace("models_dir: models", f"models_dir: {folder}/models"))
        outputs[f"check of {name}"] = ("--debug", "check", "--connect", "-c", str(path))
        if name != "hook":
            outputs[f"run of {name}"] = ("--debug", "run", "-c", str(path))
    places = {}
    for name, words in outputs.items():
        run.tell(name)
        places[name] = edge_agent(*words, secret=secret)
        assert places[name], name  # noqa: S101 (a command that prints nothing proves nothing)
    return places


def _core_after_abort(folder: Path, daemon: PatchedDaemon) -> bytes:
    """The core dump of the daemon; empty if there is none."""
    daemon.process.send_signal(signal.SIGABRT)
    if daemon.process.wait(60) != -signal.SIGABRT:
        raise RuntimeError("the daemon did not end by the signal")
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
        if file.is_file() and FOLDER not in file.relative_to(folder).parts
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
