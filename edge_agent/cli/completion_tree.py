"""What can be completed after each command, read from argparse."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Option(NamedTuple):
    """An option; takes: it wants a value, which is one of `choices`, a file, or any text."""

    names: Sequence[str]
    text: str
    takes: bool
    choices: Sequence[str]
    is_file: bool


class Level(NamedTuple):
    """What may follow one command or action; path: the words that lead to it, such as `alarms ack`.

    words: commands, actions or choices with their texts; files: an argument is a file.
    """

    path: str
    words: Sequence[tuple[str, str]]
    options: Sequence[Option]
    files: bool


def levels_of(parser: argparse.ArgumentParser, path: str = "") -> list[Level]:
    """The level of a parser, and those of all parsers below it."""
    options: list[Option] = []
    words: list[tuple[str, str]] = []
    below: list[Level] = []
    files = False
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way to ask)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            texts = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001
            for name, sub in action.choices.items():
                words.append((name, _line(texts.get(name, ""))))
                below += levels_of(sub, f"{path} {name}".strip())
        elif action.option_strings:
            options.append(_option(action))
        else:
            words += [(str(choice), "") for choice in action.choices or ()]
            files = files or _is_file(action)
    return [Level(path, words, options, files), *below]


def _option(action: argparse.Action) -> Option:
    choices = [str(choice) for choice in action.choices or ()]
    takes = action.nargs != 0
    text = "" if action.help is argparse.SUPPRESS else _line(action.help or "")
    return Option(action.option_strings, text, takes, choices, takes and _is_file(action))


def _is_file(action: argparse.Action) -> bool:
    return action.type is Path


def _line(text: str) -> str:
    """A text of help in one short line; it may hold `%` as argparse wants it."""
    line = " ".join(text.replace("%%", "%").split()).partition("; ")[0]
    return line.partition(": ")[0] if len(line) > 80 else line  # noqa: PLR2004 (of a terminal)


def names_of(level: Level) -> Iterator[str]:
    """Every name of every option of a level."""
    for option in level.options:
        yield from option.names
