"""`edge-agent top`: the running daemon at a glance, again and again."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.api_client import add_url, daemon_url, fetch, not_ours, query_rows, request
from edge_agent.cli.duration import seconds
from edge_agent.cli.figures import Scrape, quantile, rate
from edge_agent.cli.top_view import view
from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from edge_agent.cli.api_client import Row

HELP = (
    "Show the running daemon at a glance, again and again: machines by health, alarms, rates, "
    "latencies, connections, the outbox and models. `q` ends it. Without a terminal it shows one "
    "picture and ends."
)
EXAMPLE = "edge-agent top --every 5s"

_HEALTHY: Final = 0.8  # from here on a machine is shown as well, below _POOR as ill
_POOR: Final = 0.5
_MOST_ROWS: Final = 100
_FIRST_S: Final = 1.0  # between the first two scrapes
_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # the other screen, without a cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the config of the daemon"
    )
    add_url(parser)
    parser.set_defaults(url=None)
    text = "how often it looks; default: 2s"
    parser.add_argument("--every", type=seconds, default=2.0, metavar="2s", help=text)
    parser.add_argument("--once", action="store_true", help="one picture, without colours")
    text = "one picture as one JSON object: the same figures, rates in 1/s, times in s"
    parser.add_argument("--json", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Look at the daemon once, or until `q` or Ctrl-C."""
    url = daemon_url(args)
    if not (args.once or args.json or not sys.stdout.isatty()):
        return _watch(url, max(args.every, 0.5))
    first = _scrape(url)
    time.sleep(_FIRST_S)
    facts = look(url, first, _scrape(url))
    if args.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print("\n".join(view(facts, *_size(), colour=False)))
    return 0


def _watch(url: str, every_s: float) -> int:
    """Draw again and again; an outage of the daemon is shown, and does not end it."""
    old: Scrape | None = None
    with _screen() as key_within:
        while True:
            lines, old = _picture(url, old)
            _draw(lines)
            if key_within(every_s if old is not None else _FIRST_S) in {"q", "Q"}:
                return 0


def _picture(url: str, old: Scrape | None) -> tuple[list[str], Scrape | None]:
    """The lines to draw now, and the scrape that the next ones are compared with."""
    width, height = _size()
    try:
        new = _scrape(url)
        facts = look(url, old or new, new)
    except ConnectError as error:
        return [f"{error}"[:width], "trying again ..."], None
    return view(facts, width, height, colour="NO_COLOR" not in os.environ), new


def _scrape(url: str) -> Scrape:
    return Scrape(fetch(url, "/metrics").decode("utf-8", "replace"), time.monotonic())


def look(url: str, old: Scrape, new: Scrape) -> Row:
    """All that `top` shows, as plain data; rates and latencies are those between two scrapes."""
    try:
        summary: Row = request(url, "/api/summary")
        return {
            **{name: summary[name] for name in ("gateway", "path", "version", "uptime_s")},
            "role": summary.get("pair", {}).get("role", ""),
            "troubles": summary["troubles"],
            "machines": _machines(new),
            "alarms": _alarm_counts(new),
            "rates": {
                "values": rate(old, new, "values_received_total"),
                "dropped": rate(old, new, "values_dropped_total"),
                "windows": rate(old, new, "windows_total", outcome="scored"),
            },
            "latency": {
                "model_run_p95": quantile(old, new, 0.95, "inference_seconds"),
                "alarm_p50": quantile(old, new, 0.5, "end_to_end_seconds"),
                "alarm_p99": quantile(old, new, 0.99, "end_to_end_seconds"),
            },
            "process": {
                "cpu": rate(old, new, "process_cpu_seconds_total"),
                "memory_bytes": new.total("process_resident_memory_bytes"),
            },
            "sources": [_source(one, old, new) for one in summary["sources"]],
            "sinks": _sinks(summary),
            "models": [_model(one, old, new) for one in summary["models"]],
            "open_alarms": query_rows(url, "/api/alarms", {"limit": _MOST_ROWS}),
            "worst": query_rows(url, "/api/assets", {"limit": _MOST_ROWS}),
        }
    except (KeyError, TypeError, AttributeError):
        raise not_ours(url) from None


def _machines(scrape: Scrape) -> Row:
    """Machines by the lowest health that one of their models gives."""
    lowest: dict[str, float] = {}
    for one in scrape.of("health"):
        name = one.labels["asset"]
        lowest[name] = min(one.value, lowest.get(name, 1.0))
    total = int(scrape.total("assets"))
    found = Counter(_class(health) for health in lowest.values())
    return {
        "total": total,
        "well": found["well"],
        "fair": found["fair"],
        "ill": found["ill"],
        "without_score": max(0, total - len(lowest)),
        "unjudged": int(scrape.total("assets_unjudged")),
    }


def _class(health: float) -> str:
    return "well" if health >= _HEALTHY else "fair" if health >= _POOR else "ill"


def _alarm_counts(scrape: Scrape) -> Row:
    """Alarms that are not normal, and by priority those that nobody has acknowledged."""
    waiting: Counter[str] = Counter()
    open_alarms = 0
    for one in scrape.of("alarms"):
        open_alarms += int(one.value) * (one.labels["state"] != "normal")
        if one.labels["state"] in {"unack", "rtn_unack"}:
            waiting[one.labels["priority"]] += int(one.value)
    return {"open": open_alarms, "unacknowledged": waiting.total(), "by_priority": dict(waiting)}


def _link(link: Row) -> Row:
    found = {key: link[key] for key in ("name", "type", "state", "detail")}
    return {**found, "ok": link["state"] == "up"}


def _source(link: Row, old: Scrape, new: Scrape) -> Row:
    name = link["name"]
    return {
        **_link(link),
        "values": rate(old, new, "values_received_total", source=name),
        "rejected": int(new.total("values_rejected_total", source=name)),
        "dropped": int(new.total("values_dropped_total", source=name)),
    }


def _sinks(summary: Row) -> list[Row]:
    """Each sink with its part of the outbox."""
    waiting = {one["sink"]: one for one in summary["outbox"]}
    return [
        {
            **_link(link),
            "rows": waiting.get(link["name"], {}).get("rows", 0),
            "oldest_s": waiting.get(link["name"], {}).get("oldest_s") or 0.0,
            "refused": waiting.get(link["name"], {}).get("refused", 0),
        }
        for link in summary["sinks"]
    ]


def _model(row: Row, old: Scrape, new: Scrape) -> Row:
    is_active = row["mode"] == "active"
    return {
        **{key: row.get(key) for key in ("name", "version", "mode", "state", "assets", "reason")},
        "windows": rate(old, new, "windows_total", model=row["name"]) if is_active else None,
        "run_p95": quantile(old, new, 0.95, "inference_seconds", model=row["name"])
        if is_active
        else None,
    }


# The terminal -------------------------------------------------------------------------------------


def _size() -> tuple[int, int]:
    found = shutil.get_terminal_size((80, 24))
    return found.columns, found.lines


@contextmanager
def _screen() -> Iterator[Callable[[float], str]]:
    """The other screen of the terminal for a time; gives a function that waits for a key."""
    restore = _read_single_keys()
    sys.stdout.write(_ENTER)
    try:
        yield _key_within
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        restore()


def _read_single_keys() -> Callable[[], None]:
    """Keys without Enter, if stdin is a terminal; returns what undoes it."""
    if not sys.stdin.isatty():
        return lambda: None
    import termios  # noqa: PLC0415 (only where there is a terminal)
    import tty  # noqa: PLC0415

    before: list[Any] = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    return lambda: termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key_within(timeout_s: float) -> str:
    """The key that is pressed within this time; empty if none is."""
    if not sys.stdin.isatty():
        time.sleep(timeout_s)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "ignore") if ready else ""


def _draw(lines: list[str]) -> None:
    body = "\n".join(line + _REST_OF_LINE for line in lines)
    sys.stdout.write(_HOME + body + _REST_OF_SCREEN)
    sys.stdout.flush()
