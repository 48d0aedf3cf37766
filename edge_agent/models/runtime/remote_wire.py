"""One HTTP/1.1 request on a socket, and its answer: bounded in time and size, whatever comes.

Written on sockets, because the usual clients limit the time of one read, not of an answer that
drips, and unpack what they are sent.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.models.runtime.remote_tensors import WrongAnswerError, shown

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_MAX_HEAD: Final = 16_384
_PIECE: Final = 65_536
_NO_BODY: Final = (204, 304)
_DIGITS: Final = 12
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_HEX_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. most: bytes of the answer's body."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    most: int = 1 << 20

    def as_bytes(self, more: Mapping[str, str]) -> bytes:
        """As it is sent, with more headers."""
        headers = {**more, "Accept-Encoding": "identity", **self.headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Answer(NamedTuple):
    """A whole answer; headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ClosedError(Exception):
    """A kept connection was closed before the answer's first byte."""


def exchange(
    kept: socket.socket, request: Request, more: Mapping[str, str], until_s: float
) -> Answer:
    """Send a request and read its answer; ClosedError, TimeoutError, OSError, WrongAnswerError.

    more: headers of every request. until_s: by the monotonic clock.
    """
    _send(kept, request.as_bytes(more), until_s)
    return _Reader(kept, until_s, request.most).answer()


class _Reader:
    """Reads one answer, of at most `most` bytes of body."""

    def __init__(self, source: socket.socket, until_s: float, most: int) -> None:
        self._socket, self._until_s, self._most = source, until_s, most
        self._have = bytearray()

    def answer(self) -> Answer:
        """The answer; WrongAnswerError if it is none, is too long, or ends too early."""
        status, headers = self._head()
        while status in range(100, 200):
            status, headers = self._head()
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise WrongAnswerError("protocol", "its answer is packed, although it must not be")
        return Answer(status, headers, b"" if status in _NO_BODY else self._body(headers))

    def _head(self) -> tuple[int, dict[str, str]]:
        while (end := self._have.find(b"\r\n\r\n")) < 0:
            if len(self._have) > _MAX_HEAD:
                raise WrongAnswerError("protocol", "the head of its answer does not end")
            if not self._more():
                if not self._have:
                    raise ClosedError
                raise WrongAnswerError("protocol", "its answer ends in the head")
        first, *lines = bytes(self._have[:end]).decode("latin-1").split("\r\n")
        del self._have[: end + 4]
        words = [*first.split(" ", 2), ""]
        if not first.startswith("HTTP/1.") or not is_number(words[1]):
            raise WrongAnswerError("protocol", f"it does not speak HTTP: {shown(first.encode())}")
        pairs = (line.partition(":") for line in lines)
        return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks()
        length = headers.get("content-length")
        if length is None:
            while self._more():
                self._check_length(len(self._have))
            return bytes(self._have)
        if not is_number(length):
            raise WrongAnswerError("protocol", "its answer has no valid length")
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        whole = bytearray()
        while size := self._chunk_size():
            self._check_length(len(whole) + size)
            whole += self._exactly(size)
            self._exactly(2)
        while self._line():  # trailers
            pass
        return bytes(whole)

    def _chunk_size(self) -> int:
        text = self._line().partition(b";")[0].strip()
        if not 0 < len(text) <= _HEX_DIGITS or set(text) - _HEX:
            raise WrongAnswerError("protocol", "a chunk of its answer has no length")
        return int(text, 16)

    def _line(self) -> bytes:
        while (end := self._have.find(b"\r\n")) < 0:
            if len(self._have) > _MAX_HEAD or not self._more():
                raise WrongAnswerError("protocol", "its answer ends in a chunk")
        line = bytes(self._have[:end])
        del self._have[: end + 2]
        return line

    def _exactly(self, size: int) -> bytes:
        self._check_length(size)
        while len(self._have) < size:
            if not self._more():
                text = f"its answer ends after {len(self._have)} of {size} bytes"
                raise WrongAnswerError("protocol", text)
        found = bytes(self._have[:size])
        del self._have[:size]
        return found

    def _check_length(self, size: int) -> None:
        if size > self._most:
            raise WrongAnswerError("too_long", f"its answer has more than {self._most} bytes")

    def _more(self) -> bool:
        """Read what is there; False at the end."""
        self._socket.settimeout(left_s(self._until_s))
        try:
            found = self._socket.recv(_PIECE)
        except ConnectionResetError:
            found = b""
        self._have += found
        return bool(found)


def _send(target: socket.socket, data: bytes, until_s: float) -> None:
    rest = memoryview(data)
    while rest:
        target.settimeout(left_s(until_s))
        try:
            rest = rest[target.send(rest) :]
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ClosedError from error


def left_s(until_s: float) -> float:
    """Seconds until a deadline; TimeoutError if there are none."""
    left = until_s - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def is_closed(kept: socket.socket) -> bool:
    """True if the server has closed a connection on which nothing is awaited."""
    poll = select.poll()
    poll.register(kept, select.POLLIN)
    return bool(poll.poll(0))


def is_number(text: str) -> bool:
    """True for the text of a length."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
