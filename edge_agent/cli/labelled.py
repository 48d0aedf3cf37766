"""`edge-agent labelled`: the rows around alarms, with what people said the alarms were."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.alarms import aligned, since_ms
from edge_agent.errors import StoreError, UsageError
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from edge_agent.labelled import Entry, LabelledWindow

HELP = """\
List and export the labelled set: the rows around alarms of models as Parquet files, and pictures
that raised alarms of cameras, by what people said the alarm was (`edge-agent alarms feedback`). It
reads the files; no daemon is needed. `export` is of rows; `edge-agent train` reads pictures where
they are."""
EXAMPLE = "edge-agent labelled export -c edge-agent.yaml --output labelled.parquet"

_VERDICTS: Final = ("true", "false", "planned", "none")
_US_PER_MS: Final = 1000
_OWN: Final = ("_time", "_active", "_asset", "_alarm", "_model", "_verdict", "_part")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(
        actions, "list", "show the windows and pictures that are kept, the oldest first"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    export = _action(actions, "export", "write all windows into one file: Parquet, or CSV")
    export.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ends in .parquet or .csv"
    )
    export.add_argument("--json", action="store_true", help="one JSON object: what was written")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-c", "--config", type=Path, help="the config of the daemon")
    where.add_argument("--folder", type=Path, help="the folder of the set")
    parser.add_argument("--asset", default="", help="only of this machine")
    parser.add_argument(
        "--verdict", action="append", choices=_VERDICTS, help="only these; may be repeated"
    )
    parser.add_argument(
        "--since", type=since_ms, default=0, metavar="TIME", help="24h or 7d ago, or ISO 8601"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """List or export the set."""
    from edge_agent import labelled  # noqa: PLC0415 (help must not wait for numpy)

    folder = _folder(args)
    chosen = list(_chosen(args, labelled.entries_of(folder)))
    if args.action == "list":
        pictures = _chosen(args, labelled.entries_of(folder / labelled.PICTURES))
        _list(sorted([*chosen, *pictures], key=lambda one: one.raised_us), as_json=args.json)
        return 0
    labelled.expect_installed("labelled export")
    if not chosen:
        raise UsageError("there is no such window", hint="edge-agent labelled list")
    return _export(chosen, args.output, as_json=args.json)


def _folder(args: argparse.Namespace) -> Path:
    if args.folder is not None:
        folder: Path = args.folder
    else:
        from edge_agent.daemon import load_config  # noqa: PLC0415 (as above)

        folder = load_config(args.config, files=False).labelled_folder
    if not folder.is_dir():
        hint = "the daemon makes it with the first alarm of a model; it needs the extra `parquet`"
        raise UsageError("there is no labelled set", where=str(folder), hint=hint)
    return folder


def _chosen(args: argparse.Namespace, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        is_right = not args.asset or entry.asset == args.asset
        is_right &= not args.verdict or entry.verdict in args.verdict
        if is_right and entry.raised_us >= args.since * _US_PER_MS:
            yield entry


def _list(entries: list[Entry], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            row = {
                "raised_ms": entry.raised_us // _US_PER_MS,
                "asset": entry.asset,
                "verdict": entry.verdict,
                "part": entry.part,
                "bytes": entry.size,
                "path": str(entry.path),
            }
            print(json.dumps(row, ensure_ascii=False))
        return
    head = ["RAISED", "ASSET", "VERDICT", "PART", "BYTES", "FILE"]
    cells = [
        [_time(one), one.asset, one.verdict, one.part or "-", str(one.size), one.path.name]
        for one in entries
    ]
    for line in aligned([head, *cells]) if cells else ["nothing is kept"]:
        print(line)


def _time(entry: Entry) -> str:
    moment = datetime.fromtimestamp(entry.raised_us / 1e6, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _export(entries: list[Entry], output: Path, *, as_json: bool) -> int:
    """Write the windows into one file; 1 if one of them is damaged."""
    from edge_agent.labelled import read_window  # noqa: PLC0415 (as above)

    if output.suffix not in {".parquet", ".csv"}:
        raise UsageError("neither .parquet nor .csv", where=f"--output {output}")
    windows, damaged = [], 0
    for entry in entries:
        try:
            windows.append((entry, read_window(entry)))
        except StoreError as error:
            damaged += 1
            print(f"left out: {error}", file=sys.stderr)
    columns = _columns(windows)
    with as_owner_of(output.parent):
        _write(columns, output)
    rows = len(columns["_time"])
    row = {"file": str(output), "windows": len(windows), "rows": rows, "damaged": damaged}
    print(json.dumps(row) if as_json else f"{output}: {len(windows)} windows, {rows} rows")
    return 1 if damaged else 0


def _columns(windows: list[tuple[Entry, LabelledWindow]]) -> dict[str, Any]:
    """All windows below each other; an input that a window lacks is NaN."""
    import numpy as np  # noqa: PLC0415 (help must not wait for it)

    names = list(dict.fromkeys(name for _, one in windows for name in one.inputs))
    found: dict[str, list[Any]] = {name: [] for name in (*_OWN, *names)}
    for entry, window in windows:
        rows = len(window.times_us)
        texts = (window.asset, window.alarm_id, window.model, entry.verdict, entry.part)
        for name, value in zip(_OWN, (window.times_us, window.active, *texts), strict=True):
            found[name].append([value] * rows if isinstance(value, str) else value)
        for name in names:
            there = name in window.inputs
            missing = np.full(rows, np.nan)
            found[name].append(window.rows[:, window.inputs.index(name)] if there else missing)
    return {
        name: [text for part in parts for text in part]
        if parts and isinstance(parts[0], list)
        else np.concatenate(parts or [np.empty(0)])
        for name, parts in found.items()
    }


def _write(columns: dict[str, Any], output: Path) -> None:
    if output.suffix == ".csv":
        _write_csv(columns, output)
    else:
        from edge_agent.labelled import encode_columns  # noqa: PLC0415 (as above)

        output.write_bytes(encode_columns(columns))


def _write_csv(columns: dict[str, Any], output: Path) -> None:
    """As `edge-agent replay` and `train history` read it; empty where a value is not known."""
    import csv  # noqa: PLC0415 (only here)

    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for cells in zip(*columns.values(), strict=True):
            moment = datetime.fromtimestamp(int(cells[0]) / 1e6, UTC)
            shown = ["" if cell != cell else cell for cell in cells[1:]]  # noqa: PLR0124 (NaN)
            writer.writerow([moment.isoformat(), *shown])
