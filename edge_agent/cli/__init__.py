"""The command line: one table of commands, one file each, imported only when it is called.

A command's module has HELP (what it does), EXAMPLE (a line to copy), `add_arguments(parser)` and
`run(args) -> int`, which returns the exit code: 0 done, 1 failed, 2 wrong use, 78 wrong config.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, Final

from edge_agent import __version__
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from types import ModuleType

# The summaries are here, so that `--help` does not import the commands and their dependencies.
COMMANDS: Final[dict[str, str]] = {
    "demo": "show the product on this machine: a simulated plant, its faults and the alarms",
    "init": "ask questions, look at the plant, and write a first config",
    "check": "list every problem of a config; --connect also tries all endpoints",
    "doctor": "list what is wrong with a gateway, and how to fix it",
    "browse": "list the nodes of an OPC UA server, and print a config for them",
    "listen": "list the topics of an MQTT broker, and print a config for them",
    "run": "run the daemon",
    "top": "show the running daemon at a glance: machines, alarms, rates, connections, models",
    "replay": "run recorded data through the daemon's pipeline",
    "learn": "learn the healthy state of assets and write a model bundle",
    "train": "train a model from recordings and write its bundle (extra compress)",
    "bottleneck": "name the machine that limits a line, and what improving it would gain",
    "assets": "list the running daemon's assets, and say what became of them",
    "models": "verify, sign and pack model bundles, activate versions and roll back",
    "oee": "show OEE, losses and shifts of lines, of the running daemon or of a recording",
    "keys": "make, list and revoke API keys for other programs and the status page",
    "alarms": "list, acknowledge and shelve the running daemon's alarms",
    "plan": "show the maintenance plan: what to mend when, by whom, and what waiting costs",
    "notify": "list the routes of messages to people, and send a test message",
    "quality": "show control charts, capability and parts, of the daemon or of a recording",
    "labelled": "list and export the rows around alarms, with what people said of them",
    "ask": "ask the running daemon about an alarm, or what the plant's manuals say",
    "language": "examine a language model: may it translate and shorten answers",
    "completion": "print the script by which bash, zsh or fish completes these commands",
}

_EXAMPLE: Final = "example:\n  edge-agent check -c /etc/edge-agent/edge-agent.yaml"
_INTERRUPTED: Final = 130  # 128 + SIGINT, as in shells
_MAX_LINE: Final = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A traceback is only shown with `--debug`."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output is gone; the interpreter must not flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort: a line, not a traceback)
        return _report(error, debug=debug)
    return code


def _dispatch(words: list[str]) -> int:
    """Parse with the arguments of the called command only."""
    called = next((word for word in words if not word.startswith("-")), "")
    parser = parser_of({called})
    try:
        args = parser.parse_args(words)
    except SystemExit as leave:  # 0 after --help, 2 after wrong use
        return leave.code if isinstance(leave.code, int) else 1
    if called not in COMMANDS:
        parser.print_help(sys.stderr)
        return 2
    code: int = _module(called).run(args)
    return code


def parser_of(called: Container[str]) -> argparse.ArgumentParser:
    """The parser with all commands, of which those in `called` have their arguments."""
    parser = _parser()
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if name in called:
            _add_command(commands, name, summary, _module(name))
        else:
            commands.add_parser(name, help=summary)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description="Turns the sensor streams of a plant into maintenance alarms, on the gateway.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-agent {__version__}")
    _add_debug(parser, default=False)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    module: ModuleType,
) -> None:
    parser = commands.add_parser(
        name,
        help=summary,
        description=module.HELP,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_debug(parser, default=argparse.SUPPRESS)
    module.add_arguments(parser)


def _add_debug(parser: argparse.ArgumentParser, *, default: object) -> None:
    text = "show the traceback of an error"
    parser.add_argument("--debug", action="store_true", default=default, help=text)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"edge_agent.cli.{name}")
    except ModuleNotFoundError as error:
        missing = f"the Python package {error.name!r} is not installed"
        raise EdgeAgentError(missing, where=f"edge-agent {name}") from error


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, EdgeAgentError):
        print(error, file=sys.stderr)
        return error.exit_code
    line = " ".join(f"internal error: {type(error).__name__}: {error}".split())
    hint = "" if debug else " (run it again with --debug to see where)"
    print(f"{line[:_MAX_LINE]}{hint}", file=sys.stderr)
    return 1
