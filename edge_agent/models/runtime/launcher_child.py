"""The program that starts a process for each isolated model, as its own copy.

It has imported NumPy and ONNX Runtime and never runs a model, so that it always answers; its copies
(fork) share this memory and start within milliseconds. It has one thread, as fork requires.

On its control socket: `start` with the socket of the new process; `end` kills one and returns its
status. It ends when the daemon closes the socket or dies, and all its copies die with it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ModelError
from edge_agent.models.runtime.graph_session import GraphSession
from edge_agent.models.runtime.tensor_channel import ModelEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.models.bundle.golden import Tensors

_MESSAGE: Final = 4096
_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> int:
    """Serve the control socket in the first argument until it is closed; the second: niceness."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(int(sys.argv[2]))
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the daemon stops us
    ctypes.CDLL(None)
    gc.collect()
    gc.freeze()  # the collector would write to pages that the copies share
    while True:
        raw, handles, _, _ = socket.recv_fds(control, _MESSAGE, 1)
        if not raw:
            return 0
        control.sendall(_done(control, json.loads(raw), handles))


def _done(control: socket.socket, message: dict[str, Any], handles: Sequence[int]) -> bytes:
    """Carry out a message; returns the answer."""
    if "end" in message:
        return json.dumps({"status": _end(int(message["end"]))}).encode()
    process = os.fork()
    if process == 0:
        control.close()
        _run(handles[0])
    for handle in handles:
        os.close(handle)
    return json.dumps({"process": process}).encode()


def _end(process: int) -> int:
    """Kill a copy that was not ended before; returns its status if it had died by itself."""
    found, status = os.waitpid(process, os.WNOHANG)
    if found:
        return os.waitstatus_to_exitcode(status)
    os.kill(process, signal.SIGKILL)  # not waited for yet, so the number is still its own
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return 0 if code == -signal.SIGKILL else code


# -- the copies -----------------------------------------------------------------------------------


def _run(handle: int) -> None:
    """Serve one model until the daemon closes the socket; never returns."""
    try:
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        with socket.socket(fileno=handle) as end, suppress(ConnectionError):
            _serve(ModelEnd(end))
    finally:
        os._exit(0)


def _serve(channel: ModelEnd) -> None:
    """Load the model of the first message, then answer each further one."""
    graph: GraphSession | None = None
    while graph is None:
        try:
            graph = _loaded(channel)
        except (ModelError, MemoryError) as error:
            channel.answer({"error": _text_of(error)})
    channel.answer({"providers": graph.providers})
    while True:
        inputs, outputs = channel.next_run()
        try:
            problem = _run_graph(graph, inputs, outputs)
        except (ModelError, MemoryError) as error:
            problem = _text_of(error)
        channel.done(problem)


def _loaded(channel: ModelEnd) -> GraphSession:
    head, raw = channel.receive_graph()
    limit_memory(int(head["memory_bytes"]) if head["memory_bytes"] else None)
    return GraphSession(raw, head["providers"], head["max_batch"], head["where"])


def _run_graph(graph: GraphSession, inputs: Tensors, outputs: Tensors) -> str:
    """Run it, and write what it returns into `outputs`; returns why that is not possible."""
    found = graph.infer(inputs, tuple(outputs), None)
    for name, place in outputs.items():
        got = found[name]
        if got.shape != place.shape or got.dtype != place.dtype:
            return f"its output {name} is {got.dtype} {got.shape}, not {place.dtype} {place.shape}"
        place[...] = got
    return ""


def _text_of(error: ModelError | MemoryError) -> str:
    if isinstance(error, ModelError):
        return error.message
    return "it needs more memory than runtime.model_memory"


def limit_memory(more_bytes: int | None) -> None:
    """Limit the memory of this process to so much more than now; None: no limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if more_bytes is None:
        return
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = used + more_bytes
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
