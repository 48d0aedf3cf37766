"""The daemon's end of the process that decodes pictures: starts it, asks it, ends it.

What comes from there is not trusted, because strangers' pictures are decoded there: it is JSON and
plain arrays, whose sizes are checked, and never a pickle.
"""

from __future__ import annotations

import logging
import math
import pickle
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.errors import ModelError
from edge_agent.models.bundle.sandbox import child_command, child_environment
from edge_agent.models.runtime.picture_child import GRAPH_CPU_S, HEAD, PictureQuestion, received
from edge_agent.models.runtime.picture_decode import status_of
from edge_agent.models.runtime.picture_graphs import GraphToForget, GraphToLoad, GraphToRun
from edge_agent.signals import FAULTS, Look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.runtime.picture_child import GraphQuestion
    from edge_agent.models.runtime.picture_engine import PictureGraph
    from edge_agent.signals import EncodedPicture

log = logging.getLogger("edge_agent.models")

MEMORY_BYTES: Final = 768 << 20  # of the process, behind what its start takes
_MODULE: Final = "edge_agent.models.runtime.picture_child"
_START_S: Final = 60.0  # of a busy machine; the process is nicer than everything else
_WALL: Final = 6.0  # times the processor time that a picture may take: others come first
_MAX_HEAD: Final = 1 << 16
_MAX_ARRAYS: Final = 32 << 20
_MAX_TEXT: Final = 300
_END_S: Final = 0.2
_ENDED: Final[dict[int, tuple[str, str]]] = {
    signal.SIGPROF: ("timeout", "it takes too long"),
    signal.SIGKILL: ("memory", "its process was killed: too much memory?"),
    signal.SIGSEGV: ("process", "its process crashed (SIGSEGV)"),
    signal.SIGABRT: ("process", "its process crashed (SIGABRT)"),
}
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError)
_DTYPES: Final[dict[str, np.dtype[Any]]] = {  # of all others: float32
    "square": np.dtype(np.uint8),
    "thumbnail": np.dtype(np.uint8),
}


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found in a picture.

    status: OPC UA StatusCode; Bad: it is not judged. reason: why it could not be decoded, a word
    for metrics; error: the same in words. faults: what is wrong with the camera, keys of
    `signals.FAULTS`. width, height: of the picture as it is seen upright; look: see `Look`.
    outputs: by model that was asked for, its tensors (float32, without a batch), if the picture is
    good; errors: by model, why it has none. thumbnail: a JPEG without metadata of at most 32 KiB,
    of what is looked at. square: uint8 [size, size, 3], if it was asked for.
    """

    status: int
    reason: str = ""
    error: str = ""
    faults: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    look: Look | None = None
    outputs: dict[str, Tensors] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    thumbnail: bytes = b""
    square: NDArray[np.uint8] | None = None


class PictureProcess:
    """One process for the pictures of all cameras; it starts with the first picture.

    Its calls block, for at most a minute if a picture hangs, so call them from a thread of their
    own; several threads take turns. memory_bytes: what the process may use. After a picture that
    ends the process, the next one starts another.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._graphs: dict[str, PictureGraph] = {}  # by digest of their bundle's manifest
        self._sent: set[str] = set()  # those that the process has
        self._judging = ""  # the model that judges the present picture, as the process said
        self.starts = 0

    def inspect(self, picture: EncodedPicture, asked: PictureQuestion) -> Inspected:
        """Decode, check and judge a picture; never raises for what a picture does."""
        if not picture.data:
            status = picture.status or status_of("no_picture")
            return Inspected(status, "no_picture", "its source delivered no picture")
        if len(picture.data) > asked.limits.max_bytes:
            return _refused("too_large", f"{len(picture.data)} bytes, more than max_bytes")
        errors: dict[str, str] = {}
        with self._lock:
            while (found := self._inspect(picture, asked, errors)) is None:
                asked = asked._replace(models=tuple(m for m in asked.models if m not in errors))
            return found

    def _inspect(
        self, picture: EncodedPicture, asked: PictureQuestion, errors: dict[str, str]
    ) -> Inspected | None:
        """The answer; None if a model has ended the process: its error is added to `errors`."""
        self._judging = ""
        try:
            refused = self._send_graphs(asked.models)
            answer, blob = self._exchange(picture.data, asked)
            return _inspected(answer, blob, asked.models, errors | refused)
        except (OSError, EOFError) as error:
            judging = self._judging
            found = self._after_end(picture.camera, error)
            # Killed, or starved by other programs: neither is the fault of the model.
            if not judging or isinstance(error, TimeoutError) or found.reason == "memory":
                return found
            errors[judging] = f"the process of pictures ended while its graph ran: {found.error}"
            return None
        except _UNREADABLE as error:
            self._stop()
            log.error("the process of pictures answers nonsense", extra={"reason": repr(error)})
            return _refused("process", "its process does not answer as it should")

    @property
    def pid(self) -> int:
        """The number of the process; 0 if there is none."""
        child = self._child
        return 0 if child is None else child.pid

    def stop(self) -> None:
        """End the process; the next picture starts another one."""
        with self._lock:
            self._stop()

    # -- models (`picture_engine.GraphRunner`) ----------------------------------------------------

    def add_graph(self, digest: str, graph: PictureGraph) -> None:
        """Keep a graph; the process gets it when a picture needs it."""
        self._graphs[digest] = graph

    def remove_graph(self, digest: str) -> None:
        """Forget a graph; the process does with the next picture."""
        self._graphs.pop(digest, None)

    def run_graph(self, digest: str, pictures: NDArray[np.uint8]) -> Tensors:
        """The outputs for squares [N, side, side, 3]; ModelError if it fails. Blocking."""
        with self._lock:
            try:
                errors = self._send_graphs((digest,))
                answer, blob = self._exchange(
                    pictures.tobytes(), GraphToRun(digest, pictures.shape)
                )
                if errors or "error" in answer:
                    raise ModelError(errors.get(digest) or _text(answer["error"]))
                return _outputs(_arrays(answer["arrays"], blob), (digest,))[digest]
            except (OSError, EOFError) as error:
                raise ModelError(self._after_end(digest[:12], error).error) from error
            except _UNREADABLE as error:
                self._stop()
                raise ModelError("the process of pictures answers nonsense") from error

    # -- parts, with the lock held --------------------------------------------------------------

    def _send_graphs(self, digests: Iterable[str]) -> dict[str, str]:
        """Let the process load what it has not yet, and forget what is gone; returns errors."""
        if self._channel is None:
            self._sent.clear()
        errors: dict[str, str] = {}
        for digest in self._sent - self._graphs.keys():
            self._sent.discard(digest)
            self._exchange(b"", GraphToForget(digest))
        for digest in digests:
            graph = self._graphs.get(digest)
            if graph is not None and digest not in self._sent:
                asked = GraphToLoad(digest, graph.side, graph.names)
                answer, _ = self._exchange(graph.onnx_bytes, asked)
                if "error" in answer:
                    errors[digest] = _text(answer["error"])
                else:
                    self._sent.add(digest)
        return errors

    def _exchange(
        self, data: bytes, asked: PictureQuestion | GraphQuestion
    ) -> tuple[dict[str, Any], bytes]:
        channel = self._channel or self._start()
        question = pickle.dumps(asked)
        cpu_s = asked.cpu_s if isinstance(asked, PictureQuestion) else GRAPH_CPU_S
        channel.settimeout(_START_S + _WALL * cpu_s)
        channel.sendall(HEAD.pack(len(question), len(data)) + question)
        channel.sendall(data)
        for one in asked.models if isinstance(asked, PictureQuestion) else ():
            answer, blob = _answer(channel)
            if "judging" not in answer:
                return answer, blob
            self._judging = one
        return _answer(channel)

    def _start(self) -> socket.socket:
        self._stop()
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                child_command(_MODULE, str(number), str(self._memory_bytes)),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(number,),
            )
        self._channel = ours
        self.starts += 1
        return ours

    def _after_end(self, camera: str, error: OSError | EOFError) -> Inspected:
        """The process has ended, or does not answer: a picture was too much for it."""
        code = self._stop()
        if isinstance(error, TimeoutError):
            reason, text = "timeout", "its process hangs, and was ended"
        else:
            reason, text = _ENDED.get(-code, ("process", f"its process ended with code {code}"))
        extra = {"camera": camera, "reason": text}
        log.warning("the process of pictures was started anew", extra=extra)
        return _refused(reason, text)

    def _stop(self) -> int:
        """Kill the process; returns the code with which it had ended by itself, or -SIGKILL."""
        channel, self._channel = self._channel, None
        child, self._child = self._child, None
        if channel is not None:
            channel.close()
        if child is None:
            return 0
        with suppress(subprocess.TimeoutExpired):  # it is ending: its socket was closed first
            return child.wait(_END_S)
        child.kill()
        return child.wait()


def _refused(reason: str, text: str) -> Inspected:
    return Inspected(status_of(reason), reason, text)


def _answer(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    length, behind = HEAD.unpack(_receive(channel, HEAD.size))
    if length > _MAX_HEAD or behind > _MAX_ARRAYS:
        raise ValueError("an answer of this length")
    return orjson.loads(_receive(channel, length)), _receive(channel, behind)


def _receive(channel: socket.socket, size: int) -> bytes:
    data = received(channel, size)
    if len(data) < size:
        raise EOFError
    return data


def _inspected(
    answer: dict[str, Any], blob: bytes, models: Sequence[str], errors: Mapping[str, str]
) -> Inspected:
    """The answer with its arrays; one of _UNREADABLE if it has not the right form."""
    status = int(answer["status"])
    if "error" in answer:
        return Inspected(status, _text(answer["reason"]), _text(answer["error"]))
    arrays = _arrays(answer["arrays"], blob)
    width, height = map(int, answer["size"])
    return Inspected(
        status,
        faults=tuple(name for name in answer["faults"] if name in FAULTS),
        width=width,
        height=height,
        look=Look(*map(float, answer["look"])),
        outputs=_outputs(arrays, models),
        errors={one: _text(text) for one, text in (answer["errors"] | errors).items()},
        thumbnail=arrays["thumbnail"].tobytes(),
        square=arrays.get("square"),
    )


def _arrays(named: list[Any], blob: bytes) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    at = 0
    for name, shape in named:
        dtype = _DTYPES.get(name, np.dtype(np.float32))
        size = math.prod(shape) * dtype.itemsize
        found[name] = np.frombuffer(blob, dtype, math.prod(shape), at).reshape(shape)
        at += size
    return found


def _outputs(arrays: Mapping[str, NDArray[Any]], models: Sequence[str]) -> dict[str, Tensors]:
    """The outputs by model: `0.score` is that of the first."""
    found: dict[str, Tensors] = {}
    for key, array in arrays.items():
        number, dot, name = key.partition(".")
        if dot:
            found.setdefault(models[int(number)], {})[name] = array
    return found


def _text(found: object) -> str:
    """One printable line: it may quote the picture."""
    return "".join(one if one.isprintable() else "?" for one in str(found))[:_MAX_TEXT]
