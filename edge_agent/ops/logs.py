"""Logs to stderr: an event and its fields, as `event key=value` or as one JSON per line.

Variable data is passed in `extra` and may come from received messages: it is cut, kept on one line,
and everything that looks like a secret is removed.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
from json import dumps
from typing import TYPE_CHECKING, Any, Final, TextIO

from edge_agent.errors import ConfigError
from edge_agent.ops.log_writer import LogState, LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS: Final = ("debug", "info", "warning", "error")
MAX_VALUE: Final = 500  # characters
MAX_TRACEBACK: Final = 8000
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_TALKATIVE: Final = ("asyncua", "paho", "aiohttp", "aiosqlite", "amqtt", "transitions", "asyncio")
# sd-daemon(3): syslog's severities, of which logging knows these five.
_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))
_SECRET_KEY: Final = re.compile(
    r"passw|secret|token|credential|passphrase|authorization|private_key|api_?key", re.IGNORECASE
)
_USER_INFO: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")
_BARE: Final = re.compile(r"[^\s\"'=\\]+")
_HIDDEN: Final = "***"

__all__ = ["LEVELS", "JsonLines", "LogState", "TextLines", "setup", "state"]


def setup(level: str, *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send all logs of `level` (debug, info, warning, error) and above to stderr.

    Lines go through a thread of their own and never wait for their reader; those of a `stream` are
    written at once. Safe to repeat. Raises ConfigError for any other level.
    """
    if level not in LEVELS:
        raise ConfigError(f"no log level {level!r}", where="log.level", hint=", ".join(LEVELS))
    handler = _writer() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if json else TextLines(journal=_is_journal(stream)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def state() -> LogState:
    """The lines of this process: how many were dropped, and if one is waiting."""
    found = [one.state() for one in logging.getLogger().handlers if isinstance(one, LogWriter)]
    return found[0] if found else LogState()


def _writer() -> logging.Handler:
    """To stderr through a thread; at once if stderr is not a file, as within a test."""
    try:
        return LogWriter(sys.stderr.fileno(), dropped=state().dropped)
    except (OSError, ValueError, AttributeError):
        return logging.StreamHandler(sys.stderr)


class TextLines(logging.Formatter):
    """`time LEVEL room: event key=value`; for the journal `<priority>room: event key=value`."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, and one more for each line of a traceback."""
        head = _priority(record) if self._journal else ""
        start = "" if self._journal else f"{_stamp(record)} {record.levelname} "
        fields = "".join(f" {key}={_text_value(value)}" for key, value in _fields(record))
        line = f"{head}{start}{_room(record)}: {_event(record)}{fields}"
        return "\n".join([line, *(f"{head}  | {text}" for text in self._traceback(record))])

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        if record.exc_info:
            yield from map(_clean, self.formatException(record.exc_info).splitlines())


class JsonLines(logging.Formatter):
    """One JSON object per line: ts, level, logger, event, then the fields; ASCII only."""

    def format(self, record: logging.LogRecord) -> str:
        """Return always one line."""
        row: dict[str, Any] = {key: _json_value(value) for key, value in _fields(record)}
        row |= {
            "ts": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        if record.exc_info:
            row["traceback"] = _bounded(self.formatException(record.exc_info), MAX_TRACEBACK)
        order = ("ts", "level", "logger", "event")
        return dumps({key: row[key] for key in order} | row)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for key, value in record.__dict__.items():
        if key not in _STANDARD:
            yield key, _HIDDEN if _SECRET_KEY.search(key) else value


def _event(record: logging.LogRecord) -> str:
    return _clean(record.getMessage())


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix("edge_agent.")


def _text_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _bounded(str(value))
    return _escaped(text if _BARE.fullmatch(text) else dumps(text, ensure_ascii=False))


def _json_value(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _bounded(str(value))


def _clean(text: str) -> str:
    return _escaped(_bounded(text))


def _bounded(text: str, most: int = MAX_VALUE) -> str:
    """Cut the text; passwords of URLs are removed before, because the cut could hide their end."""
    text = _USER_INFO.sub(rf"\1:{_HIDDEN}@", text[: 2 * most])
    return text if len(text) <= most else f"{text[:most]}…"


def _escaped(text: str) -> str:
    """Escape all characters that end a line, move the cursor or change the writing direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _stamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _priority(record: logging.LogRecord) -> str:
    return next(f"<{priority}>" for level, priority in _PRIORITIES if record.levelno >= level)


def _is_journal(stream: TextIO | None) -> bool:
    """True if stderr is the journal: JOURNAL_STREAM is its device:inode (systemd.exec(5))."""
    if stream is not None:
        return False
    try:
        place = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{place.st_dev}:{place.st_ino}"
