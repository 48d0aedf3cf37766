"""Named tensors between the daemon and a process that runs a model: one packet each way for a run.

The tensors lie in memory that both share, so that a packet says only which rows are there. Neither
end believes the other about sizes: each computes the places itself, and the memory cannot shrink.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors

    _Raw: TypeAlias = tuple[str, str, Sequence[int]]  # the fields of a `RowType`

REGION_BYTES: Final = 16 << 20  # at least; memory is taken only where tensors are written
_ALIGNED: Final = 64
_RUN: Final = struct.Struct("<BI")  # number of a layout, rows
_LAYOUT, _ERROR, _DONE = b"L", b"E", b"D"
_MAX_PACKET: Final = 65_536
_MAX_TEXT: Final = 4096
_LAYOUTS: Final = 16
_VIEWS: Final = 256
_TIMEVAL: Final = struct.Struct("@ll")
_NOEXEC_SEAL: Final = 8  # MFD_NOEXEC_SEAL: a hardened system may require it (vm.memfd_noexec)
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

Head = dict[str, Any]


class RowType(NamedTuple):
    """A tensor without its rows."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class Layout:
    """Where the inputs and outputs of a run lie in the shared memory, for up to `most` rows."""

    def __init__(
        self,
        inputs: Sequence[RowType],
        outputs: Sequence[RowType],
        region: mmap.mmap,
        max_rows: int,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        every = (*self.inputs, *self.outputs)
        one_row = max(1, sum(tensor.row_bytes for tensor in every))
        room = len(region) - _ALIGNED * len(every)
        self.most = max(0, min(max_rows, room // one_row))
        self._region = region
        self._views: dict[int, tuple[Tensors, Tensors]] = {}

    def views(self, rows: int) -> tuple[Tensors, Tensors]:
        """The inputs and outputs of a run, as parts of the shared memory."""
        found = self._views.get(rows)
        if found is None:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            found = self._views[rows] = self._placed(rows)
        return found

    def _placed(self, rows: int) -> tuple[Tensors, Tensors]:
        placed: list[NDArray[Any]] = []
        start = 0
        for tensor in (*self.inputs, *self.outputs):
            shape = (rows, *tensor.shape)
            placed.append(np.ndarray(shape, tensor.dtype, self._region, start))
            start += -(-rows * tensor.row_bytes // _ALIGNED) * _ALIGNED
        n = len(self.inputs)
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        return dict(zip(names[:n], placed[:n], strict=True)), dict(
            zip(names[n:], placed[n:], strict=True)
        )


class DaemonEnd:
    """The daemon's end. OSError if the other end is gone; TimeoutError if it does not answer."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._region: mmap.mmap | None = None
        self._layouts: dict[tuple[Any, ...], tuple[int, Layout]] = {}
        self._limit_s = 0.0

    def load(self, head: Head, graph: bytes, row_bytes: int, limit_s: float) -> Head:
        """Send the graph; returns the answer. row_bytes: of the largest row of a run."""
        size = max(REGION_BYTES, 2 * row_bytes)
        shared, given = _sealed("tensors", size), _sealed("graph", len(graph))
        try:
            self._region = mmap.mmap(shared, size)
            with mmap.mmap(given, len(graph)) as memory:
                memory[:] = graph
            text = json.dumps({**head, "sizes": [len(graph), size]}).encode()
            socket.send_fds(self._socket, [text], [given, shared])
        finally:
            os.close(given)
            os.close(shared)
        answer: Head = json.loads(self._packet(limit_s))
        return answer

    def layout(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[RowType], max_rows: int
    ) -> tuple[int, Layout]:
        """The layout of such a run, with its number; the other end knows it, too."""
        given = [(name, array.dtype.str, array.shape[1:]) for name, array in feeds.items()]
        key = (*given, *outputs)
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts[key] = self._new_layout(given, outputs, max_rows)
        return found

    def _new_layout(
        self, given: Sequence[_Raw], outputs: Sequence[RowType], max_rows: int
    ) -> tuple[int, Layout]:
        if self._region is None:
            raise ValueError("no graph is loaded")
        if len(self._layouts) >= _LAYOUTS:
            self._layouts.clear()
        number = len(self._layouts)
        inputs = [RowType(name, dtype, tuple(shape)) for name, dtype, shape in given]
        made = Layout(inputs, outputs, self._region, max_rows)
        text = json.dumps([number, inputs, outputs, max_rows]).encode()
        self._socket.send(_LAYOUT + text, socket.MSG_DONTWAIT)
        return number, made

    def send_run(self, number: int, rows: int) -> None:
        """Let the other end run the rows that are in the shared memory."""
        self._socket.send(_RUN.pack(number, rows), socket.MSG_DONTWAIT)

    def receive(self, limit_s: float) -> str:
        """Wait for the end of a run; returns why it failed, or an empty text."""
        packet = self._packet(limit_s)
        return packet[1:_MAX_TEXT].decode("utf-8", "replace") if packet[:1] != _DONE else ""

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _packet(self, limit_s: float) -> bytes:
        """The next packet; the kernel measures the time, which saves a call to poll."""
        flags = 0
        if limit_s <= 0:
            flags = socket.MSG_DONTWAIT
        elif limit_s != self._limit_s:
            whole = int(limit_s)
            limit = _TIMEVAL.pack(whole, max(1, int((limit_s - whole) * 1e6)))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._limit_s = limit_s
        try:
            packet = self._socket.recv(_MAX_PACKET, flags)
        except BlockingIOError as error:
            raise TimeoutError from error
        if not packet:
            raise ConnectionResetError("the other end is closed")
        return packet


class ModelEnd:
    """The end in the process of a model."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._region: mmap.mmap | None = None
        self._layouts: dict[int, Layout] = {}

    def receive_graph(self) -> tuple[Head, bytes]:
        """The first message: how to load a graph, and its bytes."""
        text, handles, _, _ = socket.recv_fds(self._socket, _MAX_PACKET, 2)
        head: Head = json.loads(text)
        given, shared = (
            mmap.mmap(handle, size) for handle, size in zip(handles, head["sizes"], strict=True)
        )
        for handle in handles:
            os.close(handle)
        self._region = shared
        with given:
            return head, given[:]

    def answer(self, head: Head) -> None:
        """Answer the first message."""
        self._socket.send(json.dumps(head).encode())

    def next_run(self) -> tuple[Tensors, Tensors]:
        """Wait for a run; returns its inputs, and the place of its outputs."""
        while True:
            packet = self._socket.recv(_MAX_PACKET)
            if not packet:
                raise ConnectionResetError("the other end is closed")
            if len(packet) == _RUN.size:
                number, rows = _RUN.unpack(packet)
                return self._layouts[number].views(rows)
            self._add_layout(*json.loads(packet[1:]))

    def done(self, error: str = "") -> None:
        """The outputs of the run are in their place, or why it failed."""
        self._socket.send(_ERROR + error.encode()[: _MAX_TEXT - 1] if error else _DONE)

    def _add_layout(
        self, number: int, inputs: Sequence[_Raw], outputs: Sequence[_Raw], max_rows: int
    ) -> None:
        if self._region is None:
            raise ValueError("no graph is loaded")
        given, returned = (
            [RowType(name, dtype, tuple(shape)) for name, dtype, shape in each]
            for each in (inputs, outputs)
        )
        self._layouts[number] = Layout(given, returned, self._region, max_rows)


def _sealed(name: str, size: int) -> int:
    """Memory of a fixed size that another process may map, as a descriptor."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        handle = os.memfd_create(name, flags | _NOEXEC_SEAL)
    except OSError:  # a kernel before 6.3 does not know it
        handle = os.memfd_create(name, flags)
    os.ftruncate(handle, size)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
    return handle
