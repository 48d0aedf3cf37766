"""`edge-agent quality`: control charts and capability, of the daemon or of a recording."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edge_agent.cli.alarms import login
from edge_agent.cli.api_client import add_url, query_rows, request, shown
from edge_agent.cli.recordings import (
    add_config_arguments,
    add_recording_arguments,
    config_of_recording,
    recording_config,
)
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config

    Row = dict[str, Any]

HELP = """\
Control charts and capability (docs/process-quality.md). Without --input: of the running daemon;
--parts lists its last parts, --reset and --learn tell a chart of a tool change. With --input: of a
recording, by the charts of the config (-c), or by one chart of --signal; no daemon is needed."""
EXAMPLE = "edge-agent quality --input bores.csv --asset P-1 --signal bore --low 9.95 --high 10.05"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_url(parser)
    parser.add_argument("--asset", default="", help="of this asset only; of a recording, its asset")
    parser.add_argument("--parts", type=int, default=0, metavar="N", help="the last N parts")
    parser.add_argument("--reset", default="", metavar="CHART", help="its tool was changed")
    parser.add_argument("--learn", default="", metavar="CHART", help="learn its limits anew")
    parser.add_argument("--by", default="", metavar="NAME", help="who says so; default: you")
    parser.add_argument("--comment", default="", metavar="TEXT")
    parser.add_argument("--input", type=Path, help="a recording: CSV, .gz, .zip, .xlsx")
    add_config_arguments(parser)
    add_recording_arguments(parser)
    group = parser.add_argument_group("one chart of a recording")
    group.add_argument("--signal", default="", help="the measurement")
    group.add_argument("--chart", default="individuals", metavar="KIND", help="xbar_r, ewma, ...")
    group.add_argument("--subgroup", type=int, metavar="N", help="parts; default: by the kind")
    group.add_argument("--rules", default="shewhart", help="names, with commas")
    group.add_argument("--low", type=float, help="lower specification limit")
    group.add_argument("--high", type=float, help="upper specification limit")
    group.add_argument("--target", type=float, help="the best value")
    parser.add_argument("--json", action="store_true", help="one JSON list")


def run(args: argparse.Namespace) -> int:
    """Print charts or parts, or command a chart."""
    if args.reset or args.learn:
        rows = [_commanded(args)]
    elif args.input is not None:
        rows = asyncio.run(_of_recording(args))
    elif args.parts:
        query = {"asset": args.asset or None, "limit": args.parts}
        rows = query_rows(args.url, "/api/quality/parts", query)
    else:
        rows = query_rows(args.url, "/api/quality", {"asset": args.asset or None})
    if args.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(_line(row))
    if not rows:
        print("no charts: write control_charts in the config (docs/process-quality.md)")
    return 0


def _commanded(args: argparse.Namespace) -> Row:
    if not args.asset:
        raise UsageError("which asset?", hint="--asset P-1 --reset bore")
    kind, chart = ("learn", args.learn) if args.learn else ("reset", args.reset)
    path = f"/api/quality/{quote(args.asset, safe='')}/{quote(chart, safe='')}/{kind}"
    body = {"by": args.by or login(), "comment": args.comment}
    answer: Row = request(args.url, path, body)
    return answer


async def _of_recording(args: argparse.Namespace) -> list[Row]:
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.daemon import Replay  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415
    from edge_agent.sources.replay import Playback  # noqa: PLC0415

    config = _with_chart(config_of_recording(args, files=False), args)
    logs.setup("warning")
    source = recording_config(args, config, args.input, args.asset, args.template)
    templates = {
        name: replace(one, models=(), learn=None) for name, one in config.templates.items()
    }
    replay = await Replay.load(replace(config, templates=templates))
    recording = Playback(source, replay.runtime.plant, quiet=True, sources=config.sources)
    for _ in replay.walk(recording.readings()):
        pass
    charts = replay.runtime.pipeline.charts
    rows = [] if charts is None else charts.shown()
    replay.close()
    return rows


def _with_chart(config: Config, args: argparse.Namespace) -> Config:
    """The config, with the chart that the options describe."""
    from edge_agent.config.control_charts import (  # noqa: PLC0415 (as above)
        ChartKind,
        ControlChart,
        Specification,
    )
    from edge_agent.config.types import Name  # noqa: PLC0415

    if not args.signal:
        if not config.control_charts:
            raise UsageError("which chart?", hint="--signal NAME, or control_charts in the config")
        return config
    if args.chart not in [str(one) for one in ChartKind]:
        raise UsageError(f"--chart {args.chart!r}", hint=f"one of: {', '.join(ChartKind)}")
    is_limited = args.low is not None or args.high is not None
    chart = ControlChart(
        args.asset or "*",
        Name(args.signal),
        chart=ChartKind(args.chart),
        subgroup=args.subgroup,
        rules=tuple(args.rules.split(",")),
        specification=Specification(args.low, args.high, args.target) if is_limited else None,
    )
    specified = () if chart.specification is None else chart.specification.problems()
    for key, problem in (*chart.problems(), *specified):
        raise UsageError(f"{key}: {problem}")
    return replace(config, control_charts={Name(args.signal): chart})


def _line(row: Row) -> str:
    if "action" in row:
        return f"{shown(row['asset'])}.{shown(row['chart'])}: {row['action'].replace('_', ' ')}"
    return _part_line(row) if "verdict" in row else _chart_line(row)


def _part_line(row: Row) -> str:
    measured = ", ".join(f"{name} {_figure(one)}" for name, one in row["measurements"].items())
    rules = " ".join(rule for one in row["charts"].values() for rule in one)
    words = (row["asset"], row["part"] or f"at {row['at_ms']}", row["verdict"], measured, rules)
    return shown("  ".join(str(one) for one in words if one))


def _chart_line(row: Row) -> str:
    product = f" [{row['product']}]" if row["product"] else ""
    head = f"{row['asset']}.{row['chart']}{product} ({row['kind']}, {row['subgroup']})"
    return shown(f"{head}: {'; '.join(_facts(row))}")


def _facts(row: Row) -> list[str]:
    baseline, found = row["baseline"], row["capability"]
    if baseline is None:
        why = f", {row['trouble']}" if row["trouble"] else ""
        return [f"learning, {row['learned']} of {row['wanted']} subgroups{why}"]
    facts = [
        row["state"].replace("_", " "),
        f"centre {_figure(baseline['center'])}, sigma {_figure(baseline['sigma'])}",
        f"{row['counts']['points']} points, {row['counts']['violations']} out of control",
    ]
    facts += [", ".join(baseline["notes"])] if baseline["notes"] else []
    if found is not None:
        names = ("cp", "cpk", "pp", "ppk")
        facts.append(", ".join(f"{n.title()} {_index(found[n])}" for n in names if found[n]))
        facts.append(f"{found['outside']:.2%} of {found['n']} outside of the specification")
    return facts


def _index(one: Row) -> str:
    return f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"  # noqa: RUF001 (a dash)
