"""`edge-agent listen`: list the topics of an MQTT broker, and print the config for them."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.api_client import shown
from edge_agent.cli.endpoint import add_login, add_source, found_text, login_keys, mqtt_source
from edge_agent.cli.findings import positive_seconds
from edge_agent.cli.models.verb import table
from edge_agent.config import render

if TYPE_CHECKING:
    import argparse

    from edge_agent.sources.mqtt import HeardTopic, Listened, MqttSourceConfig, Proposal

HELP = """\
List the topics of an MQTT broker with the form of their payloads, their rate, time stamps and a
sample, and print a config for them. It uses a client id of its own, so a running daemon
misses nothing. TOPIC is a filter (plant/#); default: that of the config, else everything. In a
pipe or file the list is written as comments, so that the output is YAML."""
EXAMPLE = """\
edge-agent listen bus -c edge-agent.yaml --seconds 30
  edge-agent listen mqtt://192.168.0.20:1883 'plant/#' > plant.yaml"""

_COLUMNS: Final = ("TOPIC", "FORM", "RATE", "TIME", "LAG", "SAMPLE")
_MAX_LEFT_OUT: Final = 50
_SKEW_S: Final = 3.0
_BAR: Final = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the broker, the topics and the time."""
    add_source(parser, "mqtt://HOST:PORT", "a source of the config, or a broker")
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="see above")
    add_login(parser)
    for name in ("ca", "cert", "key"):
        text = f"with mqtts://: {name} of the connection, PEM"
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    parser.add_argument("--seconds", type=positive_seconds, default=30.0, help="default: 30")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="only the config")
    form.add_argument("--table", action="store_true", help="only the list")
    form.add_argument("--json", action="store_true", help="the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Listen, and print."""
    name, config, is_known = mqtt_source(args, args.topics or ["#"])
    topics = args.topics or [one.topic for one in config.subscribe]
    heard = asyncio.run(_listen(config, topics, args.seconds))
    if args.json:
        rows = [asdict(one) for one in heard.topics]
        print(json.dumps({"topics": rows, "more": heard.more, "refused": heard.refused}))
    else:
        print(_text(args, name, heard, is_known=is_known), end="")
    _print_summary(heard, topics)
    return 0 if heard.topics else 1


async def _listen(config: MqttSourceConfig, topics: list[str], seconds: float) -> Listened:
    from edge_agent.sources.mqtt import listen  # noqa: PLC0415 (the help need not load it)

    live = sys.stderr.isatty()

    def progress(share: float, messages: int) -> None:
        if live:
            bar = "#" * int(share * _BAR)
            line = f"\r[{bar:<{_BAR}}] {messages} messages"
            print(line, end="", file=sys.stderr, flush=True)

    heard = await listen(config, topics, seconds, progress)
    if live:
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return heard


def _print_summary(heard: Listened, topics: list[str]) -> None:
    """Print on stderr how much was received, what was refused, and wrong clocks."""
    print(f"{heard.messages} messages on {len(heard.topics)} topics", file=sys.stderr)
    for text in heard.refused:
        print(f"not subscribed: {shown(text)} (see the broker's ACL)", file=sys.stderr)
    if heard.more:
        hint = "name fewer topics, such as plant/line1/#"
        print(f"{heard.more} messages of further topics are not listed ({hint})", file=sys.stderr)
    offsets_us = [one.form.offset_us for one in heard.topics if one.form.offset_us and one.n]
    if offsets_us and abs(median(offsets_us)) / 1e6 > _SKEW_S:
        offset_s = median(offsets_us) / 1e6
        side = "ahead of" if offset_s > 0 else "behind"
        line = f"time stamps are {abs(offset_s):.0f} s {side} this machine's clock"
        print(f"{line} (set the clocks by NTP)", file=sys.stderr)
    if not heard.topics:
        filters = ", ".join(map(shown, topics))
        hint = "wait longer with --seconds, or listen to '#'"
        print(f"no message on {filters} ({hint})", file=sys.stderr)


def _text(args: argparse.Namespace, name: str, heard: Listened, *, is_known: bool) -> str:
    from edge_agent.sources.mqtt import propose  # noqa: PLC0415

    def config_text() -> str:
        return _yaml(args, name, propose(heard.topics, name if is_known else ""))

    return found_text(args, _listed(heard.topics), config_text)


def _listed(topics: list[HeardTopic]) -> list[str]:
    rows = [
        (
            shown(one.topic),
            shown(one.form.kind),
            _rate(one),
            shown(f"{one.form.time} {one.form.time_form}".strip()) or "none",
            "" if one.form.offset_us is None else f"{-one.form.offset_us / 1e6:.1f} s",
            shown(one.sample),
        )
        for one in topics
    ]
    return table([_COLUMNS, *rows]).splitlines() if rows else []


def _rate(one: HeardTopic) -> str:
    if not one.n:
        return "retained"
    kept = ", retained" if one.retained else ""
    return f"{one.rate:.3g}/s{kept}"


def _yaml(args: argparse.Namespace, name: str, proposal: Proposal) -> str:
    notes = [f"# left out: {shown(line)}" for line in proposal.left_out[:_MAX_LEFT_OUT]]
    more = len(proposal.left_out) - _MAX_LEFT_OUT
    if more > 0:
        notes.append(f"# left out: {more} more")
    head = "".join(f"{line}\n" for line in notes)
    if not proposal.subscribe:
        return head
    source = source_keys(args, proposal.subscribe)
    tree: dict[str, Any] = {"sources": {name: source}, "templates": proposal.templates}
    if proposal.assets:
        tree["assets"] = proposal.assets
    return head + render(tree)


def source_keys(args: argparse.Namespace, subscribe: list[dict[str, Any]]) -> dict[str, Any]:
    """The source of a config that connects like this command; only topics if the config has it."""
    if "://" not in args.source:
        return {"subscribe": subscribe}
    files = {key: str(getattr(args, key)) for key in ("ca", "cert", "key") if getattr(args, key)}
    tls = {"tls": files} if files else {}
    return {"type": "mqtt", "url": args.source, **login_keys(args), **tls, "subscribe": subscribe}
