"""The process that decodes the pictures of all cameras, so that no picture can harm the daemon.

It reads questions from the socket in its first argument, each a pickle with the bytes of a picture
behind it, and answers with JSON and the bytes of arrays, until the daemon closes the socket. Before
the answer it says which model judges now, so that the daemon knows which one has ended it. It
trusts the daemon, but not the other way round: see `picture_process`.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import struct
import sys
import zlib
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import orjson

from edge_agent.errors import DecodeError, ModelError
from edge_agent.models.runtime.launcher_child import limit_memory
from edge_agent.models.runtime.picture_decode import (
    PictureLimits,
    decode,
    decode_mask,
    encode_jpeg,
    status_of,
)
from edge_agent.models.runtime.picture_graphs import (
    GraphToForget,
    GraphToLoad,
    GraphToRun,
    PictureGraphs,
)
from edge_agent.signals import FAULTS, SIZE, Look, cut, faults_of, look_at, to_square
from edge_agent.values import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.config.cameras import View
    from edge_agent.models.bundle.golden import Tensors

GraphQuestion: TypeAlias = GraphToLoad | GraphToForget | GraphToRun

HEAD: Final = struct.Struct("!II")  # bytes of the question or answer, and bytes behind it
THUMBNAIL_BYTES: Final = 32 << 10
_THUMBNAIL_SIDE: Final = 320
_NICER: Final = 10
GRAPH_CPU_S: Final = 60.0  # to load a graph, or to run it with its golden vectors


class PictureQuestion(NamedTuple):
    """A picture to inspect, and how.

    camera: its name; size: of the square that its model sees; reference: how the pictures of
    learning looked; square: True if the square itself is wanted, for learning. models: digests of
    the graphs that judge it. cpu_s: the process ends itself if it decodes, or if one of the graphs
    judges, for longer.
    """

    camera: str
    view: View
    size: int = SIZE
    reference: Look | None = None
    limits: PictureLimits = PictureLimits()
    square: bool = False
    models: tuple[str, ...] = ()
    cpu_s: float = 5.0


class Inspector:
    """Decodes, checks and judges pictures.

    on_judging: is told that a model begins, by its number in the question.
    """

    def __init__(
        self, on_judging: Callable[[PictureQuestion, int], None] = lambda *_: None
    ) -> None:
        self.graphs = PictureGraphs()
        self._on_judging = on_judging
        self._masks: dict[tuple[Path, int], NDArray[np.bool_]] = {}
        self._same: dict[str, tuple[int, int]] = {}  # by camera: checksum, and how often in a row

    def inspect(
        self, asked: PictureQuestion, data: bytes
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """The answer, and the arrays that it names: `square`, `thumbnail`, and of models.

        Those are `0.score`: the number of the model in `asked.models`, and its output.
        """
        try:
            picture = decode(data, asked.limits)
            pixels, hidden = cut(picture, asked.view, self._mask_of(asked))
        except DecodeError as error:
            return _refusal(error.reason, error.message), []
        square = to_square(pixels, asked.size)
        look = look_at(square, _square_mask(hidden, asked.size))
        faults = (*self._frozen(asked, pixels), *faults_of(look, asked.view, asked.reference))
        answer: dict[str, Any] = {
            "status": FAULTS[faults[0]].status if faults else GOOD,
            "faults": faults,
            "size": picture.shape[1::-1],
            "look": astuple(look),
            "errors": {},
        }
        arrays: dict[str, NDArray[Any]] = {"thumbnail": np.frombuffer(_thumbnail(pixels), np.uint8)}
        if asked.square:
            arrays["square"] = square
        if not faults:
            self._judge(asked, pixels, answer, arrays)
        answer["arrays"] = [[name, one.shape] for name, one in arrays.items()]
        return answer, list(arrays.values())

    def _judge(
        self,
        asked: PictureQuestion,
        pixels: NDArray[np.uint8],
        answer: dict[str, Any],
        arrays: dict[str, NDArray[Any]],
    ) -> None:
        """Add what each model says, or why it says nothing."""
        for number, digest in enumerate(asked.models):
            self._on_judging(asked, number)
            try:
                found = self.graphs.judge(digest, pixels)
            except ModelError as error:
                answer["errors"][digest] = str(error)
            else:
                arrays |= {f"{number}.{name}": array for name, array in found.items()}

    def _mask_of(self, asked: PictureQuestion) -> NDArray[np.bool_] | None:
        """The mask of the view's file, read again if the file has changed."""
        file = asked.view.mask_file
        if file is None:
            return None
        try:
            key = file, file.stat().st_mtime_ns
            if key not in self._masks:
                found = decode_mask(file.read_bytes(), asked.limits)
                self._masks = {k: v for k, v in self._masks.items() if k[0] != file} | {key: found}
        except OSError as error:
            raise DecodeError("mask", f"mask_file {file}: {error.strerror}") from error
        except DecodeError as error:
            raise DecodeError("mask", f"mask_file {file}: {error.message}") from error
        return self._masks[key]

    def _frozen(self, asked: PictureQuestion, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
        checksum = zlib.crc32(pixels.data)
        before, times = self._same.get(asked.camera, (None, 0))
        times = times + 1 if checksum == before else 1
        self._same[asked.camera] = checksum, times
        return ("frozen",) if 0 < asked.view.frozen_after <= times else ()


def _square_mask(hidden: NDArray[np.bool_] | None, size: int) -> NDArray[np.bool_] | None:
    """What is hidden of the square, also in part."""
    if hidden is None:
        return None
    grey = np.repeat(hidden[..., None].astype(np.uint8) * 255, 3, axis=2)
    return to_square(grey, size)[..., 0] > 0


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(pixels, _THUMBNAIL_SIDE, THUMBNAIL_BYTES)


def main() -> int:
    """Answer questions until the daemon closes the socket."""
    limit_process(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as channel:

        def announce(asked: PictureQuestion, number: int) -> None:
            signal.setitimer(signal.ITIMER_PROF, asked.cpu_s)  # a time of its own for each model
            _send(channel, {"judging": number}, [])

        inspector = Inspector(announce)
        while head := received(channel, HEAD.size):
            length, behind = HEAD.unpack(head)
            asked = pickle.loads(received(channel, length))  # noqa: S301 (the daemon's)
            data = received(channel, behind)
            cpu_s = asked.cpu_s if isinstance(asked, PictureQuestion) else GRAPH_CPU_S
            signal.setitimer(signal.ITIMER_PROF, cpu_s)  # SIGPROF ends it
            answer, arrays = _answer(inspector, asked, data)
            signal.setitimer(signal.ITIMER_PROF, 0)
            _send(channel, answer, arrays)
    return 0


def _answer(
    inspector: Inspector, asked: PictureQuestion | GraphQuestion, data: bytes
) -> tuple[dict[str, Any], list[Any]]:
    try:
        if isinstance(asked, PictureQuestion):
            return inspector.inspect(asked, data)
        return _graph_answer(inspector.graphs, asked, data)
    except ModelError as error:
        return {"error": str(error)}, []
    except MemoryError:
        return _refusal("memory", "it needs more memory than pictures may use"), []


def _graph_answer(
    graphs: PictureGraphs, asked: GraphQuestion, data: bytes
) -> tuple[dict[str, Any], list[Any]]:
    """Load, forget or run a graph; the arrays of a run are named `0.score`."""
    found: Tensors = {}
    if isinstance(asked, GraphToLoad):
        graphs.load(asked, data)
    elif isinstance(asked, GraphToForget):
        graphs.forget(asked.digest)
    else:
        squares = np.frombuffer(data, np.uint8).reshape(asked.shape)
        found = graphs.run(asked.digest, squares)
    named = [[f"0.{name}", array.shape] for name, array in found.items()]
    return {"arrays": named}, list(found.values())


def _refusal(reason: str, text: str) -> dict[str, Any]:
    return {"status": status_of(reason), "reason": reason, "error": text}


def limit_process(memory_bytes: int) -> None:
    """Behind everything else, with an end to its memory; it writes no file."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    limit_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the daemon stops us


def received(channel: socket.socket, size: int) -> bytes:
    """So many bytes; empty if the other side has closed the socket."""
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        n = channel.recv_into(view[have:])
        if not n:
            return b""
        have += n
    return bytes(data)


def _send(channel: socket.socket, answer: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    blobs = [np.ascontiguousarray(one).tobytes() for one in arrays]
    channel.sendall(HEAD.pack(len(head), sum(map(len, blobs))) + head + b"".join(blobs))
