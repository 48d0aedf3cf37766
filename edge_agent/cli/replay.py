"""`edge-agent replay`: the daemon's pipeline over recorded data."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.recordings import (
    add_config_arguments,
    add_recording_arguments,
    config_of_recording,
    recording_config,
    report_recording,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edge_agent.daemon import Replay
    from edge_agent.messages import Transition
    from edge_agent.sources.replay import Playback
    from edge_agent.values import Columns, TensorBlock

HELP = "run recorded data through the daemon's pipeline, as fast as possible"
EXAMPLE = "edge-agent replay -c edge-agent.yaml --input 'runs/*.csv' --asset P-101 --json"
_BAR = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config_arguments(parser)
    parser.add_argument(
        "--input", required=True, type=Path, help="CSV, .gz, .zip, .xlsx, WAV or NPY, or a pattern"
    )
    parser.add_argument("--asset", default="", help="the asset of the columns; {stem} = file name")
    add_recording_arguments(parser)
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME[@VERSION]",
        help="compare this version with the active one; default: the version installed last",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line: each transition"
    )


def run(args: argparse.Namespace) -> int:
    """Replay, print transitions to stdout and progress to stderr."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.daemon import Replay  # noqa: PLC0415
    from edge_agent.models import parse_ref  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415
    from edge_agent.sources.replay import Playback  # noqa: PLC0415

    config = config_of_recording(args, files=True)
    logs.setup("warning")
    source = recording_config(args, config, args.input, args.asset, args.template)
    candidate = parse_ref(args.model) if args.model else None
    replay = await Replay.load(config, candidate, remote=True)
    recording = Playback(source, replay.runtime.plant, quiet=True, sources=config.sources)
    begin = time.monotonic()
    windows = transitions = 0
    for step in replay.walk(_with_progress(recording)):
        windows += step.windows
        transitions += len(step.transitions)
        for transition in (*step.transitions, *step.shadow):
            print(_line(replay, transition, args))
    if args.model:
        _report(replay, as_json=args.json)
    replay.close()
    seconds = time.monotonic() - begin
    line = f"{windows} windows, {transitions} transitions in {seconds:.2f} s"
    _summary(recording, replay, line, as_json=args.json)
    return 0


def _with_progress(recording: Playback) -> Iterator[Columns | TensorBlock]:
    shown = -1
    tty = sys.stderr.isatty()
    for one in recording.readings():
        share = recording.position / max(1, recording.total_bytes)
        if tty and int(share * 100) != shown:
            shown = int(share * 100)
            bar = "#" * int(share * _BAR)
            print(f"\r[{bar:<{_BAR}}] {shown:3d} %", end="", file=sys.stderr, flush=True)
        yield one
    if tty:
        print("\r" + " " * (_BAR + 10) + "\r", end="", file=sys.stderr)


def _line(replay: Replay, transition: Transition, args: argparse.Namespace) -> str:
    import orjson  # noqa: PLC0415

    from edge_agent.alarms import rfc3339, transition_json  # noqa: PLC0415

    if args.json:
        return orjson.dumps(transition_json(transition)).decode()
    alarm = transition.alarm
    texts = replay.texts.render(alarm, replay.runtime.catalogue.rule(alarm.alarm_id))["message"]
    text = texts.get("en") or next(iter(texts.values()))
    model = alarm.detail.model if alarm.detail else None
    mode = f"{model.mode if model else '':<7} " if args.model else ""
    return f"{rfc3339(transition.at_us)} {mode}{transition.kind:<7} {alarm.priority:<8} {text}"


def _report(replay: Replay, *, as_json: bool) -> None:
    """Print the comparison with the candidate; as JSON the last line, an object with one key."""
    import orjson  # noqa: PLC0415

    from edge_agent.cli.models.report import report_lines  # noqa: PLC0415

    report = replay.report()
    if as_json:
        print(orjson.dumps({"report": report}).decode())
    elif report is not None:
        print("", *report_lines(report), sep="\n")


def _summary(recording: Playback, replay: Replay, line: str, *, as_json: bool) -> None:
    for asset, why in sorted(replay.runtime.models.without.items()):
        print(f"{asset}: no model scored it: {why}", file=sys.stderr)
    report_recording(recording, as_json=as_json)
    print(line, file=sys.stderr)
