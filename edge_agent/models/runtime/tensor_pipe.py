"""Named tensors over a socket between the daemon and a process that runs a model.

A message is the length of its head (4 bytes), the head (JSON), and the bytes of its tensors. Both
ends check what they read: the process has run a model that nobody trusts yet.
"""

from __future__ import annotations

import json
import math
import struct
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")
_MAX_HEAD: Final = 65_536
_MAX_BYTES: Final = 1 << 30
_TYPES: Final = {name: np.dtype(name) for name in ("float32", "int64", "uint8")}
_TENSORS: Final = "tensors"

Head = dict[str, Any]


class TensorPipe:
    """One end of a connection. Limits are seconds for a whole call; TimeoutError after that.

    ConnectionError if the other end is gone, ValueError if it sends what is no message.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(
        self, head: Head, tensors: Mapping[str, NDArray[Any]], limit_s: float | None = None
    ) -> None:
        """Send a message; its tensors are float32, int64 or uint8."""
        rows = [np.ascontiguousarray(tensor) for tensor in tensors.values()]
        names = zip(tensors, rows, strict=True)
        listed = [(name, str(array.dtype), array.shape) for name, array in names]
        text = json.dumps({**head, _TENSORS: listed}).encode()
        parts: list[bytes | memoryview] = [_LENGTH.pack(len(text)) + text]
        parts += [array.reshape(-1).view(np.uint8).data for array in rows]
        self._socket.settimeout(limit_s)
        sent = self._socket.sendmsg(parts)
        if sent < sum(map(len, parts)):
            self._socket.sendall(memoryview(b"".join(parts))[sent:])

    def receive(self, limit_s: float | None = None) -> tuple[Head, dict[str, NDArray[Any]]]:
        """The next message. A TimeoutError before its first byte loses nothing of it."""
        until_s = None if limit_s is None else time.monotonic() + limit_s
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, until_s))
        if length > _MAX_HEAD:
            raise ValueError("the head of a message is too long")
        try:
            head = json.loads(bytes(self._read(length, until_s)))
            listed = [_array(*each) for each in head.pop(_TENSORS)]
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("the head of a message is not valid") from error
        return head, {
            name: np.frombuffer(self._read(size, until_s), kind).reshape(shape)
            for name, kind, shape, size in listed
        }

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self, size: int, until_s: float | None) -> bytearray:
        found = bytearray(size)
        rest = memoryview(found)
        while rest:
            self._socket.settimeout(None if until_s is None else max(until_s - time.monotonic(), 0))
            try:
                got = self._socket.recv_into(rest)
            except BlockingIOError as error:  # no time at all was left
                raise TimeoutError from error
            if not got:
                raise ConnectionResetError("the other end is closed")
            rest = rest[got:]
        return found


def _array(
    name: str, kind: str, shape: Sequence[int]
) -> tuple[str, np.dtype[Any], tuple[int, ...], int]:
    """Name, type, shape and bytes of a tensor; ValueError if it is too large."""
    lengths = tuple(map(int, shape))
    size = math.prod(lengths) * _TYPES[kind].itemsize
    if min(lengths, default=0) < 0 or size > _MAX_BYTES:
        raise ValueError("a tensor of a message is too large")
    return str(name), _TYPES[kind], lengths, size
