"""The demo's output: seconds since its start, the subject, and the text."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from edge_agent.clock import Clock

_COLOURS: Final = {"FAULT": "33", "ALARM": "31;1", "clear": "32", "repair": "32", "FALSE": "35;1"}


class Terminal:
    """Prints timed lines; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = stream or sys.stdout
        self._start_s = clock.monotonic_s()
        self._colour = self._stream.isatty() and "NO_COLOR" not in os.environ

    @property
    def elapsed_s(self) -> float:
        """Seconds since the demo began."""
        return self._clock.monotonic_s() - self._start_s

    def print_line(self, what: str, text: str) -> None:
        """Print one line now."""
        word = f"{what:<8}"
        if self._colour and what in _COLOURS:
            word = f"\x1b[{_COLOURS[what]}m{word}\x1b[0m"
        print(f"{self.elapsed_s:6.1f} s  {word} {text}", file=self._stream, flush=True)

    def end(self, line: str) -> None:
        """Print the last line, without a time."""
        print(line, file=self._stream, flush=True)
