"""Real programs in their own processes: a broker and the daemon, which may be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import yaml

import edge_agent
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HOST: Final = "127.0.0.1"
_START_S: Final = 60.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.02
_ANSWER_S: Final = 10.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
# Debian installs mosquitto outside a user's PATH.
_MORE_PATH: Final = "/usr/sbin:/usr/local/sbin"


class ProgramError(EdgeAgentError):
    """A program is not installed, does not start, or ended by itself."""


class Ended(NamedTuple):
    """How a program ended; code: None if it had to be killed."""

    code: int | None
    seconds: float


def find_free_port() -> int:
    """A TCP port of the loopback that was free at the time of the call."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """True if a program accepts connections on this port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((_HOST, port)) == 0


def wait_until(done: Callable[[], object], timeout_s: float = 10, what: str = "condition") -> None:
    """Poll `done`, which another process or thread makes true; TimeoutError if it does not."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(_POLL_S)


class Program:
    """A program in its own process, which may be stopped, killed and started again.

    log: the file for its output; environment: variables added to those of this process. As a
    context manager it is started, awaited until ready, and stopped. `unexpected` lists exit codes
    of ends without a request. pipes: true if stdin and stdout are pipes of ours, `process.stdin`.
    """

    pipes = False

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        self._command = list(command)
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.unexpected: list[int] = []

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process; ProgramError if there is none."""
        if self._process is None:
            raise ProgramError("is not running", where=self._command[0])
        return self._process

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self.process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and return when it is ready; ProgramError with its log if this fails."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (what the caller asks for)
                self._command,
                stdin=subprocess.PIPE if self.pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.pipes else log,
                stderr=log,
                bufsize=0,
                cwd=self._log.parent,
                env={**os.environ, **self._environment},
            )
        if wait:
            self._wait_until_ready()
        return self

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise ProgramError(f"did not start:\n{self.log()}", where=self._command[0])
            time.sleep(_POLL_S)

    def is_ready(self) -> bool:
        """True if it is ready for use."""
        return True

    def stop(self, timeout_s: float = _STOP_S) -> Ended:
        """Send SIGTERM and wait; kill it if it does not end in time. Safe if it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = _STOP_S) -> Ended:
        """Wait for its end; kill it if it does not end in time."""
        begin_s = time.monotonic()
        process, self._process = self._process, None
        if process is None:
            return Ended(None, 0.0)
        code: int | None = None
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
        _close(process)
        return Ended(code, time.monotonic() - begin_s)

    def kill(self) -> None:
        """Send SIGKILL: nothing is saved. Safe if it does not run; an earlier end is recorded."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is not None:
            self.unexpected.append(process.returncode)
        process.kill()
        _close(process)

    def halt(self, seconds: float) -> None:
        """Suspend it (SIGSTOP) for this time."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text("utf-8", errors="replace")

    def cpu_s(self) -> float:
        """User and system time so far, of the process itself."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def thread_cpu_s(self, *without: str) -> float:
        """The processor time of its threads, but for those with one of these names."""
        total_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            if (task / "comm").read_text().strip() not in without:
                total_ns += int((task / "schedstat").read_text().split()[0])
        return total_ns / 1e9

    def peak_mib(self) -> float:
        """The largest resident memory so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _close(process: subprocess.Popen[bytes]) -> None:
    """Reap the process and close its pipes."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def find_mosquitto() -> str | None:
    """The path of the program mosquitto; None if it is not installed."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_MORE_PATH}")


class Mosquitto(Program):
    """A mosquitto on a free port of the loopback.

    folder: of its config, log and state, which are kept over restarts; extra: lines for its config.
    """

    def __init__(self, folder: Path, extra: str = "", *, anonymous: bool = True) -> None:
        program = find_mosquitto()
        if program is None:
            raise ProgramError("mosquitto is not installed", hint="apt-get install mosquitto")
        self.port = find_free_port()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} {_HOST}\n"
            f"allow_anonymous {str(anonymous).lower()}\n"
            f"persistence_location {folder}/\n"
            "user root\n"  # otherwise, if started as root, it would lose access to its folder
            f"{extra}\n"
        )
        super().__init__([program, "-c", str(config)], folder / "mosquitto.log")

    @property
    def url(self) -> str:
        """The URL for a source or sink."""
        return f"mqtt://{_HOST}:{self.port}"

    def is_ready(self) -> bool:
        """True if it accepts connections."""
        return is_listening(self.port)


class DaemonProcess(Program):
    """`edge-agent run` with a config; ready when it reports ready over HTTP.

    The config needs a fixed `http.port`. log: by default `daemon.log` next to the config.
    """

    def __init__(self, config: Path, *, log: Path | None = None, **environment: str) -> None:
        command = [sys.executable, "-m", "edge_agent", "run", "-c", str(config)]
        # This package, also if it is not installed.
        package = {"PYTHONPATH": str(Path(edge_agent.__file__).parents[1])}
        super().__init__(command, log or config.with_name("daemon.log"), **(package | environment))
        self._config = config

    @property
    def url(self) -> str:
        """The URL of its HTTP server."""
        port = yaml.safe_load(self._config.read_text("utf-8"))["http"]["port"]
        return f"http://{_HOST}:{port}"

    def is_ready(self) -> bool:
        """True if it reports ready."""
        return self.ask("/health/ready") != b""

    def ask(self, path: str) -> bytes:
        """The body of the answer to a GET; empty if there is none."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(self.url + path, timeout=_ANSWER_S) as answer,  # noqa: S310 (ours)
        ):
            body: bytes = answer.read()
            return body
        return b""

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's rows that contain `label`; name: without `edge_agent_`."""
        rows = self.ask("/metrics").decode().splitlines()
        mine = [row for row in rows if row.startswith(f"edge_agent_{name}") and label in row]
        return sum(float(row.rsplit(" ", 1)[1]) for row in mine)
