"""Processes of single models, started and ended by one launcher process (`launcher_child`)."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ModelError
from edge_agent.models.bundle.sandbox import child_command, child_environment
from edge_agent.models.runtime.tensor_channel import DaemonEnd

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("edge_agent.models")

_MODULE: Final = "edge_agent.models.runtime.launcher_child"
_ANSWER: Final = 4096
_ANSWER_S: Final = 20.0  # the first answer includes the start of the launcher
_ENDED: Final[dict[int, str]] = {
    signal.SIGKILL: "its process was killed: too much memory?",
    signal.SIGSEGV: "its process crashed (SIGSEGV)",
    signal.SIGABRT: "its process crashed (SIGABRT)",
    signal.SIGBUS: "its process crashed (SIGBUS)",
    signal.SIGFPE: "its process crashed (SIGFPE)",
    signal.SIGILL: "its process crashed (SIGILL)",
}


class ModelProcess:
    """The process of one model; `channel` leads to it."""

    def __init__(self, number: int, channel: DaemonEnd, launcher: Launcher) -> None:
        self.channel = channel
        self._number = number
        self._launcher = launcher
        # The kernel's clock of the processor time of another process; see clock_getcpuclockid(3).
        self._clock = (~number << 3) | 2

    def cpu_s(self) -> float:
        """The processor time that it used, in seconds; 0 if it is gone."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0

    def end(self) -> str:
        """Kill it; returns how it had ended by itself, or an empty text."""
        self.channel.close()
        return _ENDED.get(self._launcher.end(self._number), "")

    def release(self) -> None:
        """Let it end; never blocks, so that a finalizer may call it in any thread."""
        self.channel.close()
        self._launcher.released.append(self._number)


class Launcher:
    """Starts processes for models, and ends them. It exists while at least one of them does.

    Calls block; several threads may call at the same time. released: processes for `reap` to end.
    niceness: that its processes add to ours.
    """

    def __init__(self, niceness: int = 0) -> None:
        self._niceness = niceness
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers: set[int] = set()
        self.released: deque[int] = deque()

    def prepare(self) -> None:
        """Begin to start the launcher, which takes half a second; OSError if this fails."""
        with self._lock:
            if self._control is None:
                self._started()

    def start(self) -> ModelProcess:
        """A new process, which waits for its model; ModelError if the system refuses it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with self._lock, theirs:
                number = self._ask({"start": 0}, theirs)["process"]
                self._numbers.add(number)
        except (OSError, ValueError, KeyError) as error:
            ours.close()
            self.close()
            raise ModelError(f"no process for it: {error}") from error
        return ModelProcess(number, DaemonEnd(ours), self)

    def end(self, number: int) -> int:
        """Kill a process; returns the signal that had ended it, or 0."""
        with self._lock:
            if number not in self._numbers:
                return 0
            self._numbers.discard(number)
            try:
                status = int(self._ask({"end": number})["status"])
            except (OSError, ValueError, KeyError):  # the launcher died, and so did all of them
                self._stop()
                return 0
            if not self._numbers:
                self._stop()
        return -status if status < 0 else 0

    def reap(self) -> None:
        """End what was released, and the launcher if nothing is left."""
        while self.released:
            self.end(self.released.popleft())
        with self._lock:
            if not self._numbers:
                self._stop()

    def close(self) -> None:
        """End the launcher and all processes."""
        with self._lock:
            self._stop()

    # -- parts, with the lock held --------------------------------------------------------------

    def _ask(self, message: Mapping[str, Any], pass_on: socket.socket | None = None) -> Any:  # noqa: ANN401
        control = self._control or self._started()
        raw, handles = json.dumps(message).encode(), [] if pass_on is None else [pass_on.fileno()]
        socket.send_fds(control, [raw], handles)
        return json.loads(control.recv(_ANSWER) or b"{}")

    def _started(self) -> socket.socket:
        """Start the launcher; returns its control socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_S)
        with theirs:
            number = theirs.fileno()
            self._child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                child_command(_MODULE, str(number), str(self._niceness)),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(number,),
            )
        self._control = ours
        return ours

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_ANSWER_S)
        self._control = self._child = None
        self._numbers.clear()
