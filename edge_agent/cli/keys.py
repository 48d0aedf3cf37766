"""`edge-agent keys`: make, list and revoke API keys; the daemon sees each change at once."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.alarms import aligned
from edge_agent.cli.duration import seconds
from edge_agent.errors import EdgeAgentError, NotFoundError, UsageError
from edge_agent.ops.key_file import FILE_NAME, changed_keys, new_key, read_keys
from edge_agent.ops.keys import read_last_uses
from edge_agent.ops.owner import as_owner_of
from edge_agent.ops.routes import SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.ops.key_file import Key

HELP = (
    "API keys for other programs and for the status page: each has a name, scopes, an end and "
    "limits, and can be revoked alone. Run it as root or as the service's user."
)
EXAMPLE = "edge-agent keys create mes --scope infer,read --expires 90d"

DEFAULT_CONFIG: Final = Path("/etc/edge-agent/edge-agent.yaml")
NEVER: Final = "never"
_DAY_MS: Final = 86_400_000
_UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_MAX_DAYS: Final = 3650
_SCOPES_HELP: Final = (
    "read: alarms, assets, history, metrics; infer: scores of models for given data; text: "
    "generated text and answers; command: acknowledge, shelve, feedback, and read; models: load "
    "and unload models; admin: everything"
)
_FIRST: Final = (
    "It is the first key: from now on other machines need one also to read, and programs of this "
    "machine need one for infer and text, unless http.local_scopes says otherwise."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done with keys."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_create(actions)
    listing = _action(actions, "list", "show all keys, without their secrets", "list")
    _add_json(listing, "one JSON object a line")
    revoke = _action(actions, "revoke", "end a key now, also its open streams", "revoke mes")
    revoke.add_argument("name", metavar="NAME")
    _add_json(revoke)


def _add_create(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "make a key and print its secret, once: it is stored nowhere"
    create = _action(actions, "create", text, "create panel-3 --scope command --expires 1d")
    create.add_argument("name", metavar="NAME", help="who uses it; the audit records it")
    create.add_argument("--scope", type=scopes, required=True, metavar="A,B", help=_SCOPES_HELP)
    create.add_argument(
        "--expires", type=days, default=90 * _DAY_MS, metavar="90d", help="default: 90d; or never"
    )
    create.add_argument("--rate", type=rate, metavar="N", help="at most N requests a second")
    text = "at most N requests at a time"
    create.add_argument("--concurrency", type=count, metavar="N", help=text)
    text = "largest body of a request; the routes have limits of their own"
    create.add_argument("--max-body", type=size, metavar="1MiB", help=text)
    _add_json(create, "one JSON object: the key, and its secret")


def _add_json(parser: argparse.ArgumentParser, text: str = "one JSON object") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, example: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example:\n  sudo edge-agent keys {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = f"the config of the daemon; default: {DEFAULT_CONFIG}"
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help=text)
    parser.add_argument("--file", type=Path, metavar="FILE", help="the file of the keys itself")
    return parser


def run(args: argparse.Namespace) -> int:
    """Change or show the file of the keys."""
    path = args.file or _file_of(args.config)
    with as_owner_of(path.parent):
        lines = list(_ACTIONS[args.action](path, args))
    for line in lines:
        print(line)
    return 0


def _file_of(config_file: Path | None) -> Path:
    """The file of the keys that a config names, or that is beside its store."""
    from edge_agent.daemon import load_config  # noqa: PLC0415 (help must not wait for it)

    if config_file is None and not DEFAULT_CONFIG.exists():
        hint = "-c FILE names its config, --file FILE the file of the keys"
        raise UsageError(f"which gateway? there is no {DEFAULT_CONFIG}", hint=hint)
    config = load_config(config_file or DEFAULT_CONFIG, files=False, live=False)
    if config.http.keys is None and not config.store.path.exists():
        where = config.store.path.absolute()
        text = f"note: no store at {where}: does the daemon run in this folder?"
        print(text, file=sys.stderr)
    return (config.http.keys or config.store.path.with_name(FILE_NAME)).absolute()


# Actions ------------------------------------------------------------------------------------------


def _create(path: Path, args: argparse.Namespace) -> Iterable[str]:
    now_ms = _now_ms()
    expires_ms = None if args.expires is None else now_ms + args.expires
    limits = {name: getattr(args, name) for name in ("rate", "concurrency", "max_body")}
    is_first = not path.exists()
    key, secret = new_key(args.name, args.scope, now_ms, expires_ms=expires_ms, **limits)
    with changed_keys(path) as keys:
        for old in [one for one in keys.values() if one.name == key.name]:
            if old.is_valid(now_ms):
                hint = f"edge-agent keys revoke {key.name}, or another name"
                raise EdgeAgentError(f"there is a key {key.name}", where=str(path), hint=hint)
            del keys[old.id]
        keys[key.id] = key
    print(f"{path}: {key.name}: {_scopes(key)}, until {_when(key.expires_ms)}", file=sys.stderr)
    if is_first:
        print(_FIRST, file=sys.stderr)
    print("Its secret, shown only now; send it as Authorization: Bearer …", file=sys.stderr)
    return [json.dumps(_row(key, None) | {"secret": secret}) if args.json else secret]


def _list(path: Path, args: argparse.Namespace) -> Iterable[str]:
    try:
        keys = read_keys(path)
    except FileNotFoundError:
        keys = {}
    rows = [_row(key, read_last_uses(path).get(key.id)) for key in keys.values()]
    if args.json:
        return [json.dumps(row) for row in rows]  # none: not even an empty line
    for key in keys.values():
        if key.ends_soon(_now_ms()):
            text = f"{key.name} expires on {_when(key.expires_ms)}; revoke it and make another one:"
            print(f"{text} {key.renewal}", file=sys.stderr)
    cells = [[str(cell(row)) for cell in _COLUMNS.values()] for row in rows]
    return aligned([list(_COLUMNS), *cells]) if rows else [f"no keys in {path}"]


def _revoke(path: Path, args: argparse.Namespace) -> Iterable[str]:
    now_ms = _now_ms()
    with changed_keys(path) as keys:
        found = [one for one in keys.values() if one.name == args.name]
        if not found:
            known = ", ".join(sorted(one.name for one in keys.values())) or "none"
            hint = f"there are: {known}"
            raise NotFoundError(f"no key {args.name!r}", where=str(path), hint=hint)
        revoked = keys[found[0].id] = replace(found[0], revoked_ms=now_ms)
    if args.json:
        return [json.dumps(_row(revoked, None))]
    return [f"{args.name}: revoked; the daemon refuses it from now on"]


_ACTIONS: Final[dict[str, Callable[[Path, argparse.Namespace], Iterable[str]]]] = {
    "create": _create,
    "list": _list,
    "revoke": _revoke,
}


def _row(key: Key, last_used_ms: int | None) -> dict[str, Any]:
    state = "revoked" if key.revoked_ms is not None else "expired"
    return {
        "name": key.name,
        "id": key.id,
        "state": "valid" if key.is_valid(_now_ms()) else state,
        "scopes": list(key.scopes),
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "last_used_ms": last_used_ms,
        "rate": key.rate,
        "concurrency": key.concurrency,
        "max_body": key.max_body,
    }


_COLUMNS: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "NAME": lambda row: row["name"],
    "STATE": lambda row: row["state"],
    "SCOPES": lambda row: ",".join(row["scopes"]),
    "UNTIL": lambda row: _when(row["expires_ms"]),
    "LAST USE": lambda row: _when(row["last_used_ms"], "-"),
    "RATE": lambda row: "-" if row["rate"] is None else f"{row['rate']:g}/s",
    "AT A TIME": lambda row: row["concurrency"] or "-",
    "BODY": lambda row: row["max_body"] or "-",
}


def _scopes(key: Key) -> str:
    return ", ".join(key.scopes)


def _when(ms: int | None, none: str = NEVER) -> str:
    return none if ms is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(ms / 1000))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# Arguments ----------------------------------------------------------------------------------------


def scopes(text: str) -> list[str]:
    """Read `infer,read`."""
    found = [one.strip() for one in text.split(",")]
    for one in found:
        if one not in SCOPES:
            raise argparse.ArgumentTypeError(f"{one!r} is not one of {', '.join(SCOPES)}")
    return [one for one in SCOPES if one in found]


def days(text: str) -> int | None:
    """Read `90d`, `12h` or `never`, in ms."""
    if text == NEVER:
        return None
    span_ms = round(seconds(text) * 1000)
    if not 0 < span_ms <= _MAX_DAYS * _DAY_MS:
        raise argparse.ArgumentTypeError(f"at most {_MAX_DAYS}d, or {NEVER}")
    return span_ms


def rate(text: str) -> float:
    """Read requests a second."""
    return _number(text, float, 1e-3, 1e6)


def count(text: str) -> int:
    """Read a number of requests."""
    return round(_number(text, int, 1, 10_000))


def size(text: str) -> int:
    """Read `65536`, `64KiB` or `1MiB`."""
    unit = next((one for one in ("KiB", "MiB") if text.endswith(one)), "")
    return round(_number(text.removesuffix(unit), int, 1, 1 << 20)) * _UNITS[unit]


def _number(text: str, kind: Callable[[str], float], low: float, high: float) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
    return value
