"""Shared by `replay` and `learn`: the options that describe a recording, and what was refused."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.duration import seconds
from edge_agent.config import safe_name
from edge_agent.errors import EdgeAgentError, UsageError
from edge_agent.findings import first_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from edge_agent.config.schema import Config
    from edge_agent.config.types import Cycle
    from edge_agent.sources.replay import Playback, ReplayConfig, Report

RECORDING: Final = "recording"  # the template of an asset without a config
NOTABLE: Final = 0.01  # of all rows: if more are refused, the options are probably wrong
MANY_EMPTY: Final = 0.1  # of a column: if more cells are empty, it is said
MAX_LINES: Final = 20
_TEXTS: Final = {
    "separator": "one character; default: detected",
    "time": "time column, or DATE+TIME for two; default: detected",
    "time_format": "iso, dmy, mdy, ymd, excel, excel1904, s, ms, us, ns, or as %%d.%%m.%%Y %%H:%%M",
    "timezone": "for times without a time zone: Europe/Berlin, +01:00; default: UTC",
    "decimal": "'.' or ','; default: detected",
    "asset_column": "column with the asset of each row",
    "quality": "column with the quality of each row; {column}_q: of each value, beside its column",
}


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the format of the recording; what is not given is detected."""
    group = parser.add_argument_group("the recording")
    group.add_argument("--source", default="", metavar="NAME", help="use the keys of this source")
    for name, text in _TEXTS.items():
        group.add_argument(f"--{name.replace('_', '-')}", default="", help=text)
    group.add_argument(
        "--columns", default="", metavar="SIGNAL=COLUMN,...", help="columns by name or number"
    )
    group.add_argument(
        "--long",
        default="",
        metavar="TAG,VALUE[,QUALITY]",
        help="columns of a file with one value per row; default: detected by name",
    )
    group.add_argument(
        "--quality-codes",
        choices=["opcua", "classic"],
        help="of numbers in a quality column; classic: 192 is good",
    )
    group.add_argument("--no-header", action="store_true", help="the first row is data")
    _add_wave_arguments(group)


def _add_wave_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--waves",
        choices=["rows", "columns"],
        help="a CSV of waveforms: a block of samples in each row, or a signal in each column",
    )
    group.add_argument(
        "--rate", type=float, metavar="HZ", help="of NPY and CSV waveforms; default: the signal's"
    )
    group.add_argument(
        "--start", default="", help="time of the first waveform; default: from the files' names"
    )
    group.add_argument(
        "--interval",
        type=seconds,
        metavar="DURATION",
        help="from waveform to waveform: 10m; default: no time between them",
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the config, or what a recording needs without one."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-c",
        "--config",
        type=Path,
        help="the config (YAML); without one, the columns of the recording are the signals",
    )
    where.add_argument(
        "--models-dir", type=Path, metavar="DIR", help="without a config; default: models"
    )
    parser.add_argument(
        "--template",
        default="",
        help=f"of an asset that is not in the config; without a config: {RECORDING}",
    )


def add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the conditions and the cycle of the machine."""
    parser.add_argument(
        "--mode",
        action="append",
        default=[],
        metavar="NAME",
        help="an input that is a condition (set point, state), not a symptom; may be repeated",
    )
    parser.add_argument(
        "--cycle",
        type=_cycle,
        metavar="60s",
        help="the machine's cycle: a period, none, or the signal that rises at its start",
    )


def add_labelled_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the labelled set that learning reads."""
    parser.add_argument(
        "--labelled",
        metavar="DIR",
        help="the labelled set: false alarms are healthy, true ones and planned work are left out; "
        "default: the config's, if there is one; none: do not read it",
    )


def labelled_set(args: argparse.Namespace, config: Config) -> Path | None:
    """The labelled set to read, None if none is; UsageError if it cannot be read."""
    from edge_agent.labelled import (  # noqa: PLC0415 (help must not wait for it)
        expect_installed,
        is_installed,
    )

    if args.labelled == "none":
        return None
    if args.labelled:
        if not Path(args.labelled).is_dir():
            raise UsageError("there is no such folder", where=f"--labelled {args.labelled}")
        expect_installed("--labelled")
        return Path(args.labelled)
    folder = config.labelled_folder if args.config is not None else None
    if folder is None or not folder.is_dir():
        return None
    if not is_installed():
        print(f"{folder} is not read: the extra `parquet` is not installed", file=sys.stderr)
        return None
    return folder


def _cycle(text: str) -> Cycle:
    from edge_agent.config import parse_cycle  # noqa: PLC0415 (help must not wait for it)

    try:
        return parse_cycle(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def with_conditions(config: Config, args: argparse.Namespace) -> Config:
    """The config with the conditions and the cycle of the command, which override it."""
    from edge_agent.config.schema import Learn  # noqa: PLC0415

    if not args.mode and args.cycle is None:
        return config
    templates = {}
    for name, template in config.templates.items():
        learn = template.learn or Learn()
        mode, cycle = tuple(args.mode) or learn.mode, args.cycle or learn.cycle
        templates[name] = replace(template, learn=replace(learn, mode=mode, cycle=cycle))
    return replace(config, templates=templates)


def config_of_recording(args: argparse.Namespace, *, files: bool) -> Config:
    """A config for recordings: of `-c`, else of one asset whose signals are the columns.

    files: as for `load_config`.
    """
    from edge_agent.config.schema import Asset, Config, Learn, Template  # noqa: PLC0415
    from edge_agent.config.types import Name  # noqa: PLC0415
    from edge_agent.daemon import load_config  # noqa: PLC0415
    from edge_agent.sources.replay import find_signals  # noqa: PLC0415

    if args.config is not None:
        return load_config(args.config, files=files, live=False)
    asset, template = args.asset, args.template or RECORDING
    for option, name in (("--asset", asset), ("--template", template)):
        if name != safe_name(name):
            what = "is no name, and patterns need a config (-c)" if name else "is missing"
            raise UsageError(f"{option} {name!r} {what}")
    signals = find_signals(recording_config(args, Config(), args.input, asset))
    return Config(
        templates={Name(template): Template(signals, learn=Learn())},
        assets={asset: Asset(Name(template))},
        models_dir=args.models_dir or Path("models"),
    )


def recording_config(
    args: argparse.Namespace, config: Config, path: Path, asset: str, template: str = ""
) -> ReplayConfig:
    """The recording as the options describe it, based on `--source`; or UsageError."""
    from edge_agent.sources.replay import (  # noqa: PLC0415 (help must not wait for numpy)
        QualityCodes,
        ReplayConfig,
    )

    base = _base(args.source, config, ReplayConfig)
    given = {name: getattr(args, name) for name in _TEXTS if getattr(args, name)}
    if given.get("separator") in {"\\t", "tab"}:
        given["separator"] = "\t"
    found = replace(base or ReplayConfig(path), path=path, **given, **_wave_keys(args))
    if args.quality_codes:
        found = replace(found, quality_codes=QualityCodes(args.quality_codes))
    if (asset or template) and not found.asset_column:
        found = replace(found, asset=asset or found.asset)
    found = replace(found, template=template or found.template)
    found = _with_columns(found, args, config)
    for key, problem in found.problems():
        raise UsageError(f"{key}: {problem}", where="the recording")
    return found


def _with_columns(found: ReplayConfig, args: argparse.Namespace, config: Config) -> ReplayConfig:
    if args.columns:
        found = replace(found, columns=_columns(args.columns))
        _check_signals(config, found.columns)
    if args.no_header:
        found = replace(found, header=False)
    return _long(found, args.long) if args.long else found


def _base(name: str, config: Config, kind: type[ReplayConfig]) -> ReplayConfig | None:
    if not name:
        return None
    known = {key: struct for key, struct in config.sources.items() if isinstance(struct, kind)}
    found = next((struct for key, struct in known.items() if key == name), None)
    if found is None:
        names = ", ".join(known) or "there is none"
        raise UsageError(f"no source of type replay is called {name!r}", hint=f"known: {names}")
    return found


def _wave_keys(args: argparse.Namespace) -> dict[str, Any]:
    """The keys for waveforms that the options set."""
    from edge_agent.sources.replay import Waves  # noqa: PLC0415

    given = {"rate_hz": args.rate, "start": args.start, "interval": args.interval}
    found: dict[str, Any] = {key: value for key, value in given.items() if value}
    if args.waves:
        found["waves"] = Waves(args.waves)
    return found


def _columns(text: str) -> dict:  # type: ignore[type-arg]
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(signal.strip() and column.strip() for signal, _, column in pairs):
        raise UsageError(f"--columns {text!r}", hint="write SIGNAL=COLUMN,SIGNAL=COLUMN")
    return {signal.strip(): column.strip() for signal, _, column in pairs}


def _check_signals(config: Config, named: Iterable[str]) -> None:
    """UsageError if no asset of the config has a signal of that name."""
    known = {str(name) for template in config.templates.values() for name in template.signals}
    known |= {str(name) for asset in config.assets.values() for name in asset.signals}
    unknown = [name for name in named if known and name not in known]
    if unknown:
        hint = f"known: {first_of(sorted(known), 20)}"
        raise UsageError(f"--columns: no signal is called {unknown[0]!r}", hint=hint)


def _long(found: ReplayConfig, text: str) -> ReplayConfig:
    label, _, rest = text.partition(",")
    value, _, quality = rest.partition(",")
    if not label.strip() or not value.strip():
        raise UsageError(f"--long {text!r}", hint="write TAG,VALUE or TAG,VALUE,QUALITY")
    quality = quality.strip() or found.quality
    return replace(found, signal_column=label.strip(), value_column=value.strip(), quality=quality)


def report_recording(recording: Playback, *, as_json: bool = False) -> None:
    """Print what the columns hold that is no data, to stderr; EdgeAgentError if nothing is."""
    report, lacking = recording.report, recording.without_column()
    if as_json:
        print(_as_json(recording, lacking), file=sys.stderr)
    else:
        for line in _lines(report, lacking):
            print(line, file=sys.stderr)
        _warn(recording)
    lost = report.count("equal_time")
    if 2 * lost > recording.n_rows:
        raise EdgeAgentError(
            f"{lost} of {recording.n_rows} rows have the time of another row",
            hint="export times with seconds or milliseconds, or set another column: --time",
        )
    if not recording.n_values:
        first = next(iter(report.refused()), None)
        raise EdgeAgentError(
            "no value of the recording was accepted",
            hint=str(first) if first else "no row has a value of a signal",
        )


def _lines(report: Report, lacking: list[str]) -> Iterator[str]:
    """One line a column and cause; empty cells only if they are many."""
    yield from (f"read as: {text}" for text in report.read_as)
    found = [one for one in report.findings() if one.cause != "empty" or one.share >= MANY_EMPTY]
    yield from map(str, found[:MAX_LINES])
    if len(found) > MAX_LINES:
        yield f"and {len(found) - MAX_LINES} columns more"
    if report.unused:
        yield f"columns that are no signal, not used: {first_of(report.unused)}"
    if qualities := report.unused_qualities():
        yield f"may be qualities, not used: {first_of(qualities)} (--quality NAME or {{column}}_q)"
    if lacking:
        yield f"signals without a column: {first_of(lacking)} (--columns SIGNAL=COLUMN)"


def _warn(recording: Playback) -> None:
    refused = sum(one.n for one in recording.report.refused())
    if recording.n_values and refused > NOTABLE * (refused + recording.n_values):
        share = refused / (refused + recording.n_values)
        print(f"warning: {share:.0%} of the recording was refused", file=sys.stderr)


def _as_json(recording: Playback, lacking: list[str]) -> str:
    """One object with the key `recording`."""
    import orjson  # noqa: PLC0415 (help must not wait for it)

    report = recording.report
    found = {
        "rows": recording.n_rows,
        "values": recording.n_values,
        "read_as": report.read_as,
        "columns": [one.as_dict() for one in report.findings()],
        "unused": report.unused,
        "without_column": lacking,
    }
    return orjson.dumps({"recording": found}).decode()
