"""A progress bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
from typing import Final

_BAR: Final = 30
_LINE: Final = 110


def clear_progress() -> None:
    """Remove the progress bar from a terminal."""
    if sys.stderr.isatty():
        print("\r" + " " * _LINE + "\r", end="", file=sys.stderr)


def show_progress(share: float, more: str = "") -> None:
    """Show the share that is done, from 0 to 1, and what is done now."""
    if sys.stderr.isatty():
        bar = "#" * int(share * _BAR)
        line = f"[{bar:<{_BAR}}] {share:4.0%} {more}"[:_LINE]
        print(f"\r{line:<{_LINE}}", end="", file=sys.stderr, flush=True)
