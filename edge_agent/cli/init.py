"""`edge-agent init`: asks questions, looks at the plant, and writes a first checked config."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.endpoint import PASSWORD, add_login
from edge_agent.cli.findings import positive_seconds
from edge_agent.cli.first_config import Answers, look_at_plant, parse_duration, write_config
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = """\
Write a first config: asks for the server or broker, reads its variables or topics (as `browse` and
`listen` do), and proposes machines and signals that learn by themselves. The file passes `check`.
A password is written to a separate file that only you can read. No file is overwritten unasked.
With --yes no question is asked: without an option, its default is used."""
EXAMPLE = """\
edge-agent init
  edge-agent init plant.yaml --yes --url opc.tcp://192.168.0.10:4840 --site north --sink log
  edge-agent init plant.yaml --yes --url mqtt://192.168.0.20 --only 'plant/#' --learn 2h"""

_FILE: Final = "edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Answers to the questions."""
    parser.add_argument(
        "file", nargs="?", type=Path, default=Path(_FILE), metavar="FILE", help=f"default: {_FILE}"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--url", default="", help="opc.tcp://HOST:PORT or mqtt://HOST:PORT")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="nodes or topics, as for browse and listen"
    )
    parser.add_argument("--site", default="", help="name of the site, a level of topics and alarms")
    parser.add_argument("--line", default="", help="the line of machines without one")
    parser.add_argument(
        "--sink", default="", metavar="URL|log", help="mqtt://..., https://... or log"
    )
    parser.add_argument(
        "--learn",
        default="",
        metavar="TIME",
        help="how much good data to learn from, such as 1d or 90s; default: 1d",
    )
    parser.add_argument(
        "--seconds", type=positive_seconds, default=15.0, help="how long to listen; default: 15"
    )
    parser.add_argument("--http-port", type=int, default=0, help="port of the status page")
    add_login(parser)
    _add_security(parser)


def _add_security(parser: argparse.ArgumentParser) -> None:
    for name, text in (
        ("--policy", "for OPC UA: Basic256Sha256, ..."),
        ("--mode", "Sign or SignAndEncrypt"),
        ("--certificate", "our certificate for OPC UA"),
        ("--cert", "our certificate for TLS"),
        ("--key", "its private key"),
        ("--pin", "file of the server's certificate; written if it does not exist"),
        ("--ca", "the authority that signed the broker's certificate"),
    ):
        parser.add_argument(name, help=text)


def run(args: argparse.Namespace) -> int:
    """Ask, look, write, and print the next steps."""
    if not args.yes and not sys.stdin.isatty():
        hint = "use --yes: it asks nothing and uses defaults"
        raise UsageError("not a terminal: questions are not possible", hint=hint)
    _may_write(args)
    if args.file.parent.resolve() != Path.cwd():
        _make_absolute(args)
    answers = _answers(args)
    plant = look_at_plant(args, answers)
    if not args.yes and not _agree(f"{plant.summary}. Write {args.file}?"):
        return 1
    for line in write_config(args.file, answers, plant):
        print(line)
    _next(args.file)
    return 0


def _may_write(args: argparse.Namespace) -> None:
    if not args.file.exists() or args.force:
        return
    if args.yes or not _agree(f"{args.file} exists. Overwrite it?", default=False):
        raise UsageError("the file exists", where=str(args.file), hint="--force overwrites it")


def _make_absolute(args: argparse.Namespace) -> None:
    """Paths in a config are relative to its folder, those of options to the working directory."""
    for name in ("certificate", "cert", "key", "pin", "ca", "password_file"):
        value = getattr(args, name)
        if value is not None:
            setattr(args, name, type(value)(Path(value).absolute()))


def _answers(args: argparse.Namespace) -> Answers:
    """From options, else from the terminal, else defaults."""
    args.url = args.url or _ask(args, "OPC UA server or MQTT broker", "opc.tcp://127.0.0.1:4840")
    args.source = args.url
    args.user = args.user or _ask(args, "User (empty: none)", "")
    site = args.site or _ask(args, "Site", "site")
    line = args.line or _ask(args, "Line", "line")
    own = args.url if args.url.startswith("mqtt") else "log"
    sink = args.sink or _ask(args, "Where alarms go: mqtt://..., https://... or log", own)
    return Answers(
        url=args.url,
        site=site,
        line=line,
        sink=sink,
        learn_s=parse_duration(args.learn) if args.learn else None,
        password=_password(args),
        http_port=args.http_port,
    )


def _password(args: argparse.Namespace) -> str:
    """The password to write to a file; empty if there is none, or it already is in a file."""
    if not args.user or args.password_file is not None:
        return ""
    if PASSWORD not in os.environ and not args.yes:
        os.environ[PASSWORD] = getpass.getpass(f"Password of {args.user}: ")
    return os.environ.get(PASSWORD, "")


def _ask(args: argparse.Namespace, question: str, default: str) -> str:
    if args.yes:
        return default
    shown = f" [{default}]" if default else ""
    print(f"{question}{shown}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or default


def _agree(question: str, *, default: bool = True) -> bool:
    print(f"{question} [{'Y/n' if default else 'y/N'}] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    return answer.startswith("y") if answer else default


def _next(file: Path) -> None:
    steps: tuple[tuple[str, Any], ...] = (
        ("check it", f"edge-agent check -c {file} --connect"),
        ("run it", f"edge-agent run -c {file}"),
        ("list its alarms", "edge-agent alarms list"),
    )
    for what, command in steps:
        print(f"  {command:<50} # {what}")
