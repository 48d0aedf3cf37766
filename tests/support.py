"""What several tests need: a recording intake, free ports, a real broker, the place of the data."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from edge_agent.values import Columns, WaveBlock

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
LEARNED = "learned-"  # what somebody learned in his checkout
CACHE = Path.home() / ".cache"
STOP_TIMEOUT_S = 10


def shipped_bundles() -> list[Path]:
    """The folders in `models/` that belong to the project."""
    found = (file.parent for file in (ROOT / "models").glob("*/model.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith(LEARNED))


class ListIntake:
    """An intake that keeps all it is given, in `packets` and `blocks`."""

    def __init__(self) -> None:
        self.packets: list[Columns] = []
        self.blocks: list[WaveBlock] = []

    def append(self, values: Columns) -> None:
        self.packets.append(values)

    def append_block(self, block: WaveBlock) -> None:
        self.blocks.append(block)

    def backpressured(self) -> bool:
        return False

    @property
    def columns(self) -> Columns:
        """Everything so far as one `Columns`."""
        return Columns.concat(self.packets)

    def __len__(self) -> int:
        return sum(len(packet) for packet in self.packets)


def find_free_port() -> int:
    """A TCP port of the loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], timeout_s: float = 10, what: str = "condition") -> None:
    """Poll `done`; only for things in another process or thread."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def mosquitto_program() -> str | None:
    """The path of mosquitto, which Debian keeps outside a user's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def node_modules_dir() -> Path | None:
    """The `node_modules` that holds node-opcua, or None."""
    named = os.environ.get("EDGE_AGENT_NODE_MODULES")
    places = [Path(named)] if named else []
    places += [
        CACHE / "edge-agent" / "node" / "node_modules",
        CACHE / "plant-peers" / "node" / "node_modules",
    ]
    return next((place for place in places if (place / "node-opcua").is_dir()), None)


def find_data_dir() -> Path | None:
    """The folder of real recordings: EDGE_AGENT_DATA, else ../shared/data; None if absent."""
    named = os.environ.get("EDGE_AGENT_DATA")
    place = Path(named) if named else ROOT.parent / "shared" / "data"
    return place if place.is_dir() else None


class Mosquitto:
    """A mosquitto in a process of its own; it may be stopped, killed and started again.

    `extra` is appended to its config; its state (persistence) stays in `folder` over a restart.
    """

    def __init__(self, folder: Path, extra: str = "", *, anonymous: bool = True) -> None:
        program = mosquitto_program()
        if program is None:
            pytest.skip("mosquitto is not installed")
        self._program = program
        self.folder = folder
        self.port = find_free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            f"allow_anonymous {str(anonymous).lower()}\n"
            f"persistence_location {folder}/\n"
            "user root\n"  # started as root it would otherwise lose the right to its folder
            f"{extra}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)], stdout=log, stderr=log
            )
        wait_until(lambda: is_listening(self.port), what="mosquitto")
        return self

    def stop(self) -> None:
        self._end("terminate")

    def kill(self) -> None:
        """As SIGKILL: nothing is saved."""
        self._end("kill")

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        getattr(process, how)()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
