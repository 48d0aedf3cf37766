"""`models list` and `models verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.cli.api_client import add_url, not_ours, query_rows, shown, url_of
from edge_agent.cli.models.verb import (
    Verb,
    add_where,
    bundle_folder,
    complain,
    config_of,
    existing_dir,
    models_dir_of,
    table,
    trust_of,
)
from edge_agent.cli.waiting import waiting
from edge_agent.errors import ConnectError, EdgeAgentError, ModelError
from edge_agent.models import (
    SUFFIX,
    ModelRepository,
    checked_signer,
    keyring,
    load_manifest,
    parse_ref,
    probe_remote,
    signer_shown,
    try_bundle,
    unpacked,
    version_row,
)

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config
    from edge_agent.models import Keyring, ProbedServer, Trial

_COLUMNS: Final = (
    "NAME",
    "VERSION",
    "STATE",
    "TASK",
    "INPUTS",
    "ASSETS",
    "THRESHOLD",
    "FALSE_ALARMS_PER_DAY",
    "WINDOW",
    "VARIANTS",
    "SIGNER",
)


def _declare_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundles",
        nargs="+",
        metavar="NAME[@VERSION]|PATH",
        help=f"a bundle's name, its folder or {SUFFIX} file; one or more",
    )
    add_where(parser)


def _declare_list(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    add_url(parser)
    parser.set_defaults(url=None)


def _list(args: argparse.Namespace) -> int:
    config = config_of(args)
    models_dir = existing_dir(models_dir_of(args, config))
    keys = keyring(trust_of(config))
    refused = _refused(args.url or (url_of(config) if config else None))
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    repository = ModelRepository(models_dir)
    for name in repository.names():
        for state, folder in repository.installed(name):
            try:
                row = version_row(folder, state, keys)
            except ModelError as error:
                problems.append(str(error))
                continue
            reason = refused.get((row["name"], row["version"]), "")
            rows.append(row | {"state": "refused" if reason else state, "reason": reason})
    if args.json:
        print(json.dumps({"bundles": rows, "unreadable": problems}))
    elif rows:
        print(table([_COLUMNS, *([_cell(row[c.lower()]) for c in _COLUMNS] for row in rows)]))
        for row in [row for row in rows if row["reason"]]:
            print(f"{row['name']} {row['version']}: refused: {row['reason']}")
    else:
        print(f"no bundles in {models_dir}")
    complain(problems if not args.json else ())
    return 1 if problems else 0


def _refused(url: str | None) -> dict[tuple[str, str], str]:
    """By name and version, why the running daemon refused it or rolled it back.

    Empty if no daemon is known or answers: the list shows the disk, only the daemon knows this.
    """
    if not url:
        return {}
    try:
        rows = query_rows(url, "/api/models", {})
        return {
            (str(row["name"]), str(row["refused_version"])): shown(row["refused"])
            for row in rows
            if "refused_version" in row
        }
    except ConnectError:
        return {}
    except EdgeAgentError as error:
        complain([error])
    except (KeyError, TypeError):
        complain([not_ours(url)])
    return {}


def _verify(args: argparse.Namespace) -> int:
    config = config_of(args)
    look = _Look(args, keyring(trust_of(config)), config)
    models_dir = models_dir_of(args, config)
    codes = [_verify_one(look, text, models_dir) for text in args.bundles]
    return max(codes)


class _Look(NamedTuple):
    """How bundles are verified."""

    args: argparse.Namespace
    keys: Keyring
    config: Config | None


def _verify_one(look: _Look, text: str, models_dir: Path) -> int:
    """Verify one bundle and print the result; 1 if it is refused or missing."""
    args, given = look.args, Path(text)
    try:
        if given.suffix == SUFFIX or given.is_file():
            with unpacked(given) as folder:
                return _report(look, folder, str(given))
        folder = _version_folder(text, models_dir)
        return _report(look, folder, str(folder))
    except EdgeAgentError as error:
        if len(args.bundles) == 1:
            raise
        complain([error])
        return 1


def _version_folder(text: str, models_dir: Path) -> Path:
    name, at, _ = text.partition("@")
    if at and "/" not in name:
        ref = parse_ref(text)
        return ModelRepository(models_dir).folder(ref.name, ref.version or "")
    return bundle_folder(text, models_dir)


def _report(look: _Look, folder: Path, shown: str) -> int:
    args, keys = look.args, look.keys
    with waiting(f"trying {shown}"):
        found, trial = try_bundle(folder)
    signer = "" if found else signer_shown(folder, keys)
    told = [str(problem) for problem in found] or _refusal(folder, keys)
    is_valid = not told
    servers = _servers(folder, look.config) if is_valid else []
    told += [f"{one.url}: {one.problem}" for one in servers if one.problem]
    problems = [text.replace(str(folder), shown) for text in told]
    if args.json:
        row = {"bundle": shown, "ok": not problems, "problems": problems, "signer": signer}
        row |= {"servers": [one._asdict() for one in servers]}
        print(json.dumps(row | {"variants": trial.as_json()}))
        return 1 if problems else 0
    if is_valid:
        manifest = load_manifest(folder)
        print(f"{manifest.name} {manifest.version}: ok (checksums, graph, golden vectors)")
        print(f"signer: {signer}")
        print(_variants(trial), end="")
        for one in servers:
            print("" if one.problem else f"{one.url}: ok, {one.latency_ms:.1f} ms\n", end="")
    complain(problems)
    return 1 if problems else 0


def _servers(folder: Path, config: Config | None) -> list[ProbedServer]:
    """The bundle at the servers that may run it; without a config none may."""
    if config is None:
        return []
    return probe_remote(folder, tuple(config.remote.values()), config.runtime.max_batch)


def _refusal(folder: Path, keys: Keyring) -> list[str]:
    """Why the daemon would refuse its signature; without a key it accepts all."""
    if not keys.keys:
        return []
    try:
        checked_signer(folder, keys)
    except ModelError as error:
        return [str(error)]
    return []


def _variants(trial: Trial) -> str:
    """The variants as measured on this device, one line each."""
    lines = []
    for row in trial.figures:
        times = ", ".join(f"batch {batch}: {us:.0f} us" for batch, us in row.p50_us)
        why = "chosen" if row.variant == trial.chosen else row.refused or "slower"
        off = f", off by {row.difference:.2%}" if row.difference else ""
        times += (
            f", {row.relative:.0%} of fp32's time" if row.relative < 1 and not row.refused else ""
        )
        lines.append(f"{row.variant}: {why} ({times or 'not measured'}{off})\n")
    return "".join(lines)


def _cell(value: object) -> str:
    """Text of a cell; a list as its length (`--json` has the names)."""
    if isinstance(value, list):
        return str(len(value)) if value else "any"
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


VERBS: Final = {
    "list": Verb(
        "list all bundles: active, previous, shadow, refused and other installed ones",
        "edge-agent models list -c /etc/edge-agent/edge-agent.yaml",
        _declare_list,
        _list,
    ),
    "verify": Verb(
        "verify bundles and measure their variants; exit code 1 if one is refused",
        "edge-agent models verify pump-baseline -c /etc/edge-agent/edge-agent.yaml",
        _declare_verify,
        _verify,
    ),
}
