"""`edge-agent ask`: a question to the running daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.api_client import add_url, daemon_url, not_ours, request, shown

if TYPE_CHECKING:
    import argparse

HELP = (
    "Ask about an alarm, an asset, or what the plant's manuals say. The answer is facts that the "
    "daemon knows, and passages of the manuals word for word; no language model writes it."
)
EXAMPLE = "edge-agent ask 'How do I change the bearing?' --alarm P-101.baseline --language en"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("question", metavar="QUESTION", help="in any language of the manuals")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="that of the daemon")
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument("--asset", metavar="ID", help="default: what the question names")
    parser.add_argument("--alarm", metavar="ID", help="default: what the question names")
    parser.add_argument("--language", help="of the answer; default: that of the question")
    parser.add_argument("--json", action="store_true", help="the whole answer as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask, print the answer; exit code 0 also if the manuals do not say it."""
    url = daemon_url(args)
    body = {key: getattr(args, key) for key in ("question", "asset", "alarm", "language")}
    given = {key: value for key, value in body.items() if value is not None}
    answer = request(url, "/api/ask", given)
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    try:
        lines = _lines(answer, url)
    except (KeyError, TypeError, AttributeError):
        raise not_ours(url) from None
    for line in lines:
        print(shown(line))
    return 0


def _lines(answer: dict[str, Any], url: str) -> list[str]:
    lines = str(answer["answer"]).split("\n")
    base = url.rstrip("/") if url.startswith("http") else ""
    links = dict.fromkeys(f"{base}{one['url']}" for one in answer["passages"])
    words = [part for one in answer.get("wording", ()) for part in ("", one["label"], one["text"])]
    return [*lines, *words, *([""] if links else []), *links]
