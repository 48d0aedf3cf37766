"""The sign of life of commands that take long."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from edge_agent.cli.waiting import tell, waiting

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def after(seconds: int) -> Callable[[float], bool]:
    """Over after so many calls."""
    left = iter([False] * seconds + [True])
    return lambda _: next(left)


def test_what_takes_long_shows_its_seconds_and_leaves_nothing() -> None:
    stream = Terminal()
    tell("trying pump-7", stream, after(3))
    shown = [line.strip() for line in stream.getvalue().split("\r") if line.strip()]
    assert shown == ["trying pump-7 ... 2 s", "trying pump-7 ... 3 s"]
    assert stream.getvalue().endswith(" \r")


def test_what_is_short_shows_nothing() -> None:
    stream = Terminal()
    tell("trying pump-7", stream, after(1))
    with waiting("trying pump-7", stream):
        pass
    assert not stream.getvalue()


def test_a_pipe_gets_nothing() -> None:
    stream = io.StringIO()
    with waiting("trying pump-7", stream):
        pass
    assert not stream.getvalue()
