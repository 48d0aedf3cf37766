"""After a change on the shelf: what the running daemon makes of it, where one runs."""

from __future__ import annotations

from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.cli.api_client import add_url, ask, not_ours, shown, url_of
from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from edge_agent.config.schema import Config

_WAIT_S = 60.0
_POLL_S = 0.5


class Wish(NamedTuple):
    """What the daemon should say: this version in that mode (active or shadow)."""

    name: str
    version: str
    mode: str
    since_ms: float


class Outcome(NamedTuple):
    """What became of a wish.

    state: active, running (a shadow), warming, on disk (no daemon), refused or pending.
    """

    state: str
    detail: str = ""
    failed: bool = False

    def text(self, wish: Wish) -> str:
        """A line for a terminal."""
        what = f"{wish.name} {wish.version}"
        words = {
            "active": "at work",
            "running": "scores beside the one at work",
            "warming": "loaded; takes over when its windows are full",
            "on disk": "chosen",
            "refused": "refused, the version before stays at work",
            "pending": "not taken up yet",
        }
        return f"{what}: {words[self.state]}" + (f": {self.detail}" if self.detail else "")


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Declare where the daemon is, and for how long to wait for it."""
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument(
        "--wait",
        type=float,
        default=_WAIT_S,
        metavar="SECONDS",
        help=f"for the running daemon to take it up; default: {_WAIT_S:g}",
    )


def wish(name: str, version: str, mode: str) -> Wish:
    """A wish of now: what the daemon refused earlier is no answer to it."""
    return Wish(name, version, mode, time() * 1000)


def outcome(args: argparse.Namespace, config: Config | None, wished: Wish) -> Outcome:
    """Wait until the daemon has decided; at once where none runs."""
    url = args.url or url_of(config)
    if url is None:
        return Outcome("on disk", "http is off in the config, so nobody can be asked")
    return awaited(lambda: ask(url, "/api/models", {}), wished, args.wait, url)


def awaited(
    rows: Callable[[], Sequence[dict[str, Any]]], wished: Wish, wait_s: float, url: str
) -> Outcome:
    """Ask again and again until the rows say what became of the wish, or the time is over."""
    give_up = monotonic() + wait_s
    found: Outcome | None = None
    while True:
        try:
            found = judged(rows(), wished)
        except ConnectError:
            if found is None:
                text = f"no daemon answers at {url}, it will take it up when it starts"
                return Outcome("on disk", text)
        except (KeyError, TypeError, AttributeError):
            raise not_ours(url) from None
        if found is not None and found.state not in {"pending", "warming"}:
            return found
        if monotonic() >= give_up:
            return found or Outcome("pending", failed=True)
        sleep(_POLL_S)


def judged(rows: Sequence[dict[str, Any]], wished: Wish) -> Outcome:
    """What the daemon's rows (as in docs/http.md) say of a wish now."""
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
    """That this version was refused, and not before it was wished for."""
    if row.get("refused_version") != wished.version or row["refused_ms"] < wished.since_ms:
        return None
    return Outcome("refused", shown(row["refused"]), failed=True)
