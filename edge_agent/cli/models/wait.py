"""After a change in the models folder: wait for the result in the running daemon, if any."""

from __future__ import annotations

from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.cli.api_client import add_url, not_ours, query_rows, shown, url_of
from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from edge_agent.config.schema import Config

_WAIT_S = 60.0
_POLL_S = 0.5


class Wish(NamedTuple):
    """What the daemon should report: this version in that mode (active or shadow)."""

    name: str
    version: str
    mode: str
    since_ms: float


class Outcome(NamedTuple):
    """The outcome of a wish.

    state: active, running (a shadow), warming, on disk (no daemon), refused or pending.
    """

    state: str
    detail: str = ""
    failed: bool = False

    def text(self, wish: Wish) -> str:
        """A line for a terminal."""
        what = f"{wish.name} {wish.version}"
        words = {
            "active": "active",
            "running": "scores in parallel with the active version",
            "warming": "loaded; becomes active when its windows are full",
            "on disk": "chosen",
            "refused": "refused, the previous version stays active",
            "pending": "not loaded yet",
        }
        return f"{what}: {words[self.state]}" + (f": {self.detail}" if self.detail else "")


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Declare the address of the daemon, and how long to wait for it."""
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument(
        "--wait",
        type=float,
        default=_WAIT_S,
        metavar="SECONDS",
        help=f"how long to wait for the running daemon; default: {_WAIT_S:g}",
    )


def wish(name: str, version: str, mode: str) -> Wish:
    """A wish as of now: earlier refusals of the daemon do not count."""
    return Wish(name, version, mode, time() * 1000)


def outcome(args: argparse.Namespace, config: Config | None, wished: Wish) -> Outcome:
    """Wait until the daemon has decided; at once if no daemon runs."""
    url = args.url or url_of(config)
    if url is None:
        return Outcome("on disk", "http is off in the config, so the daemon cannot be asked")
    return awaited(lambda: query_rows(url, "/api/models", {}), wished, args.wait, url)


def awaited(
    rows: Callable[[], Sequence[dict[str, Any]]], wished: Wish, wait_s: float, url: str
) -> Outcome:
    """Ask repeatedly until the rows show the outcome of the wish, or the time is over."""
    give_up = monotonic() + wait_s
    found: Outcome | None = None
    while True:
        try:
            found = judged(rows(), wished)
        except ConnectError:
            if found is None:
                text = f"no daemon answers at {url}; it loads the version when it starts"
                return Outcome("on disk", text)
        except (KeyError, TypeError, AttributeError):
            raise not_ours(url) from None
        if found is not None and found.state not in {"pending", "warming"}:
            return found
        if monotonic() >= give_up:
            return found or Outcome("pending", failed=True)
        sleep(_POLL_S)


def judged(rows: Sequence[dict[str, Any]], wished: Wish) -> Outcome:
    """The outcome of a wish according to the daemon's rows (see docs/http.md)."""
    mine = [row for row in rows if row["name"] == wished.name]
    if not mine:
        return Outcome("pending", "the daemon uses no model of that name", failed=True)
    for row in mine:
        refusal = _refusal(row, wished)
        if refusal is not None:
            return refusal
        if row["mode"] != wished.mode:
            continue
        reason = shown(row.get("reason") or "")
        if row["version"] == wished.version and row["state"] in {"active", "running"}:
            return Outcome(row["state"])
        if row["version"] == wished.version and row["state"] in {"failing", "dropped"}:
            return Outcome("refused", reason, failed=True)
        if row.get("next") == wished.version:
            return Outcome("warming")
    return Outcome("pending", failed=True)


def _refusal(row: dict[str, Any], wished: Wish) -> Outcome | None:
    """The refusal of this version, unless it is older than the wish."""
    if row.get("refused_version") != wished.version or row["refused_ms"] < wished.since_ms:
        return None
    return Outcome("refused", shown(row["refused"]), failed=True)
