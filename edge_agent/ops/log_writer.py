"""Log lines are written by a separate thread: a stopped reader must not stop the service.

A pipe without a reader takes 64 KiB and then blocks its writer for ever: a stopped journal, a
container's log driver, a supervisor, a suspended ssh session.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 2 << 20  # of waiting lines: about 10,000
CHUNK_BYTES: Final = 1 << 16
FLUSH_S: Final = 1.0  # how long the end of the service waits for a reader
_RETRY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class LogState:
    """dropped: lines since the process started; blocked_s: how long a write has waited, seconds."""

    dropped: int = 0
    blocked_s: float = 0.0


class LogWriter(logging.Handler):
    """Formats in the caller's thread and writes in its own; `emit` never waits.

    If lines do not fit into `max_bytes`, the oldest are dropped and counted; the next written line
    contains their number.
    """

    def __init__(self, fd: int, max_bytes: int = MAX_BYTES, *, dropped: int = 0) -> None:
        super().__init__()
        # A copy, past Python's own buffers: the interpreter waits for their locks when it ends.
        self._fd = os.dup(fd)
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = self._reported = dropped
        self._since_s: float | None = None  # start of the running write
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line."""
        try:
            line = self._line(record)
        except Exception:  # noqa: BLE001 (as in every handler: a bad record ends nothing)
            self.handleError(record)
            return
        with self._changed:
            self._lines.append(line)
            self._bytes += len(line)
            while self._bytes > self._max_bytes and self._lines:
                self._bytes -= len(self._lines.popleft())
                self._dropped += 1
            self._changed.notify_all()

    def state(self) -> LogState:
        """Return the state of the lines."""
        since_s = self._since_s
        return LogState(self._dropped, 0.0 if since_s is None else time.monotonic() - since_s)

    def flush(self) -> None:
        """Wait for the reader, for FLUSH_S at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle, FLUSH_S)

    def close(self) -> None:
        """Write waiting lines, if the reader accepts them in time, and end."""
        self.flush()
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        super().close()

    @property
    def _is_idle(self) -> bool:
        return not self._lines and self._since_s is None

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _run(self) -> None:
        while (chunk := self._next_chunk()) is not None:
            try:
                _write_all(self._fd, chunk)
            except OSError:  # the reader is gone: there may be another one later
                with self._changed:
                    self._dropped += chunk.count(b"\n")
            with self._changed:
                self._since_s = None
                self._changed.notify_all()
        os.close(self._fd)

    def _next_chunk(self) -> bytes | None:
        """Lines to write next; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closing)
            if not self._lines:
                return None
            parts = [self._lines.popleft()]
            while self._lines and sum(map(len, parts)) + len(self._lines[0]) <= CHUNK_BYTES:
                parts.append(self._lines.popleft())
            self._bytes -= sum(map(len, parts))
            self._since_s = time.monotonic()
            lost, self._reported = self._dropped - self._reported, self._dropped
        return b"".join([self._line(_dropped_record(lost)), *parts] if lost else parts)


def _dropped_record(lines: int) -> logging.LogRecord:
    fields = {
        "name": "edge_agent.ops",
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "msg": "log lines dropped: their reader had stopped",
        "lines": lines,
    }
    return logging.makeLogRecord(fields)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        # A stderr that another program has set to non-blocking raises instead of waiting.
        with contextlib.suppress(BlockingIOError):
            data = data[os.write(fd, data) :]
            continue
        time.sleep(_RETRY_S)
