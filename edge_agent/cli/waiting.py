"""A sign of life while a command works on something that has no measurable progress."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SILENT_S: Final = 2  # what is shorter shows nothing
_LINE: Final = 78


@contextmanager
def waiting(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Show `what` and the seconds since, once it takes long; on a terminal only.

    The line disappears at the end. what: such as `trying pump-7`.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=tell, args=(what, stream, over.wait), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def tell(what: str, stream: TextIO, is_over: Callable[[float], bool]) -> None:
    """Write the line each second until `is_over(1.0)`, which waits so long, then remove it."""
    seconds = 0
    while not is_over(1.0):
        seconds += 1
        if seconds >= SILENT_S:
            line = f"{what} ... {seconds} s"[:_LINE]
            stream.write(f"\r{line:<{_LINE}}")
            stream.flush()
    if seconds >= SILENT_S:
        stream.write("\r" + " " * _LINE + "\r")
        stream.flush()
