"""`edge-agent learn`: a baseline from healthy data, learned on the gateway."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edge_agent.cli.alarms import login
from edge_agent.cli.api_client import add_url, daemon_url, query_rows, request, shown
from edge_agent.cli.duration import duration
from edge_agent.cli.learn_images import learn_images
from edge_agent.cli.progress import clear_progress, show_progress
from edge_agent.cli.recordings import (
    add_condition_arguments,
    add_config_arguments,
    add_labelled_argument,
    add_recording_arguments,
    config_of_recording,
    labelled_set,
    recording_config,
    report_recording,
    with_conditions,
)
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.daemon import BaselineTraining
    from edge_agent.learning import TrainedBaseline

HELP = "learn the healthy state of assets from their data, on the gateway, and write a model bundle"
EXAMPLE = (
    "edge-agent learn -c edge-agent.yaml --asset 'P-*' --hours 24\n"
    "  edge-agent learn --images good-parts/ --asset press-1"
)
_LOADED = "A running daemon activates it within seconds; the previous version stays in models_dir."
_TO_REPLAY = (
    "Score other data with it: edge-agent replay, with the same options and another --input."
)
_PRINT_EVERY_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument("--asset", required=True, help="an asset, or a pattern: 'P-*'")
    parser.add_argument(
        "--again",
        action="store_true",
        help="after an overhaul: the running daemon forgets what it learned and learns again from "
        "now on, or from the data of --hours or --input",
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--hours", type=_hours, help="learn from this many hours of live data")
    data.add_argument(
        "--input", type=Path, help="learn from a recording: CSV, WAV, NPY, or a pattern"
    )
    data.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="learn from a folder of pictures (JPEG, PNG) of good parts: 50 or more, better 200",
    )
    parser.add_argument(
        "--camera", default="", metavar="NAME", help="with --images: if the asset has several"
    )
    parser.add_argument(
        "--false-alarms",
        type=_share,
        metavar="SHARE",
        help="with --images: share of good pictures that may be called defective; default: 0.02",
    )
    add_recording_arguments(parser)
    add_condition_arguments(parser)
    add_labelled_argument(parser)
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument("--by", default="", metavar="NAME", help="default: your login name")
    parser.add_argument("--json", action="store_true", help="one JSON object: what was learned")


def run(args: argparse.Namespace) -> int:
    """Collect, learn, and print the result; or let the daemon learn again."""
    if args.images is not None:
        return learn_images(args)
    if args.false_alarms is not None or args.camera:
        raise UsageError("--false-alarms and --camera are only for --images")
    if args.hours is not None and args.config is None:
        raise UsageError("-c/--config is required with --hours", hint="live data need sources")
    if args.hours is not None or args.input is not None:
        return asyncio.run(_run(args))
    if not args.again:
        raise UsageError(
            "one of the arguments --hours --input --images is required",
            hint="or --again, to let the running daemon learn again from now on",
        )
    return _again(args)


def _again(args: argparse.Namespace) -> int:
    """Tell the daemon to forget the baselines of these assets."""
    url = daemon_url(args)
    known = [str(row["id"]) for row in query_rows(url, "/api/assets", {})]
    chosen = sorted(asset for asset in known if fnmatchcase(asset, args.asset))
    if not chosen:
        raise UsageError(f"the daemon has no asset {args.asset!r}", where=url)
    told = []
    for asset in chosen:
        body = {"by": args.by or login()}
        told.append(request(url, f"/api/assets/{quote(asset, safe='')}/learn", body))
        data = duration(float(told[-1]["duration_s"]))
        if not args.json:
            print(f"{shown(asset)}: learns again from now on, from {data} of good data")
    if args.json:
        print(json.dumps({"again": told}, ensure_ascii=False))
    return 0


async def _run(args: argparse.Namespace) -> int:
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.daemon import BaselineTraining, load_config  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415

    if args.input is None:
        config = load_config(args.config, files=False)
    else:
        config = config_of_recording(args, files=False)
    logs.setup("warning")
    config = with_conditions(config, args)
    training = BaselineTraining(config, args.asset)
    training.labelled = labelled_set(args, config)
    if args.input is None:
        await _listen_live(training, args.hours * 3600)
    else:
        listen_recording(training, config, args)
    clear_progress()
    learned = await training.learn()
    if args.json:
        rows = [baseline_row(trained, config) for trained in learned]
        print(json.dumps({"learned": rows, "refused": training.refused}, ensure_ascii=False))
    else:
        for trained in learned:
            report_baseline(f"{config.models_dir / trained.name}", trained)
        print(_LOADED if args.config is not None else _TO_REPLAY)
    for asset, reason in training.refused.items():
        print(f"{asset}: not learned: {reason}", file=sys.stderr)
    return 0


async def _listen_live(training: BaselineTraining, seconds: float) -> None:
    """Collect for this time; print progress each second on a terminal, else each minute."""
    printed_s = 0.0

    def show(share: float) -> None:
        nonlocal printed_s
        left = duration(max(0.0, (1 - share) * seconds))
        if sys.stderr.isatty():
            show_progress(share, f"{training.state()}, {left} left")
        elif share * seconds - printed_s >= _PRINT_EVERY_S:
            printed_s = share * seconds
            print(f"learning: {training.state()}, {left} left", file=sys.stderr, flush=True)

    await training.listen_live(seconds, show)


def listen_recording(training: BaselineTraining, config: Config, args: argparse.Namespace) -> None:
    """Collect the rows of `--input`, with a progress bar, and say what is no data."""
    from edge_agent.sources.replay import Playback  # noqa: PLC0415

    wide = "" if set(args.asset) & set("*?[") else args.asset
    source = recording_config(args, config, args.input, wide)
    recording = Playback(source, training.plant, quiet=True, sources=config.sources)
    total = max(1, recording.total_bytes)
    training.listen(recording.readings(), lambda: show_progress(recording.position / total))
    report_recording(recording)
    training.causes = recording.causes()


def report_baseline(what: str, trained: TrainedBaseline) -> None:
    """Print what was learned, and what was not."""
    from edge_agent.learning import LABELLED, TIME_SCALE  # noqa: PLC0415 (as above)

    manifest = trained.manifest
    print(
        f"{what}: {len(manifest.units)} assets, "
        f"{len(manifest.inputs)} inputs, version {manifest.version}"
    )
    lengths = {spec.length for spec in manifest.own_tensors}
    window = f"{manifest.window.length} rows in a window"
    if lengths:
        window = f"{' and '.join(map(str, sorted(lengths)))} samples in a window"
    print(f"  step: {manifest.training[TIME_SCALE]}; {window}")
    for key, text in manifest.calibration.items():
        print(f"  {key}: {text}")
    if LABELLED in manifest.training:
        print(f"  labelled: {manifest.training[LABELLED]}")
    for asset, out in trained.left_out.items():
        names = ", ".join(f"{name} ({reason})" for name, reason in out.items())
        print(f"{asset}: learned without {names}", file=sys.stderr)
    for asset, reason in trained.refused.items():
        print(f"{asset}: not learned: {reason}", file=sys.stderr)


def baseline_row(trained: TrainedBaseline, config: Config) -> dict[str, Any]:
    """What was learned, as plain data."""
    manifest = trained.manifest
    return {
        "bundle": str(config.models_dir / trained.name),
        "name": trained.name,
        "version": manifest.version,
        "assets": list(manifest.units),
        "inputs": [one.name for one in manifest.inputs],
        "training": dict(manifest.training),
        "calibration": dict(manifest.calibration),
        "left_out": trained.left_out,
        "refused": trained.refused,
    }


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.001 <= share <= 0.2:  # noqa: PLR2004
        raise argparse.ArgumentTypeError("from 0.001 to 0.2")
    return share


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < hours <= 24 * 365:
        raise argparse.ArgumentTypeError("more than 0 and at most a year")
    return hours
