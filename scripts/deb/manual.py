"""The manual page edge-agent(1), from the parsers of the commands."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
from typing import TYPE_CHECKING, Final

from edge_agent import __version__
from edge_agent.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = {
    "/etc/edge-agent/edge-agent.yaml": "the config",
    "/etc/edge-agent/secrets": "secrets that the unit loads as credentials",
    "/var/lib/edge-agent": "alarms, outbox, history, keys",
    "/var/lib/edge-agent/models": "model bundles that are learned or installed",
    "/opt/edge-agent/share/edge-agent/models": "model bundles that come with the program",
}
CODES: Final = {"0": "done", "1": "failed", "2": "wrong use", "78": "the config is wrong"}


def manual_page(epoch_s: int) -> str:
    """The page in roff, dated by a time in seconds since 1970."""
    return "\n".join(_lines(epoch_s)) + "\n"


def _lines(epoch_s: int) -> Iterator[str]:
    day = dt.datetime.fromtimestamp(epoch_s, dt.UTC).date().isoformat()
    yield f'.TH EDGE-AGENT 1 {day} "edge-agent {__version__}" "User Commands"'
    yield from (".SH NAME", r"edge\-agent \- sensor streams of a plant to maintenance alarms")
    yield from (".SH SYNOPSIS", r".B edge\-agent", r".I COMMAND", "[options]")
    yield ".SH COMMANDS"
    for name in COMMANDS:
        yield from _command(_parser(name))
    yield from _table("FILES", FILES)
    yield from _table("EXIT STATUS", CODES)


def _parser(name: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"edge_agent.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"edge-agent {name}", description=module.HELP, epilog=f"example:\n  {module.EXAMPLE}"
    )
    module.add_arguments(parser)
    return parser


def _table(title: str, rows: dict[str, str]) -> Iterator[str]:
    yield f".SH {title}"
    for name, text in rows.items():
        yield from (".TP", f".B {escaped(name)}", escaped(text))


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS {escaped(parser.prog)}"
    yield from _text(parser.description)
    inner: list[argparse.ArgumentParser] = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no public list of them)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 (the same)
            inner += action.choices.values()
        elif action.help != argparse.SUPPRESS and action.dest not in {"help", "debug"}:
            yield from (".TP", f".B {escaped(_invocation(action))}")
            yield from _text(_help(parser, action))
    yield from _example(parser.epilog)
    for one in inner:
        yield from _command(one)


def _invocation(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return value
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {value}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001


def _text(text: str | None) -> Iterator[str]:
    yield from (escaped(line) for line in (text or "").splitlines() if line.strip())


def _example(text: str | None) -> Iterator[str]:
    if text:
        yield from (".PP", ".nf", *(escaped(line) for line in text.splitlines()), ".fi")


def escaped(text: str) -> str:
    r"""Text that roff prints as it is: `\`, `-`, and a point or quote at the start of a line."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain
