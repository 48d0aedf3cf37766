"""Any table that a logger or spreadsheet may write: its true values, or a report of the cause.

A truth is written in random ways and damaged in random cells. Whatever comes out is the truth at
its time; what does not come out is in the report with its column, or the file is refused.
"""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import NO_SOURCE

from edge_agent.config.schema import Asset, Config, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.replay import Recording, ReplayConfig

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("flow", "temp", "pressure")
FIRST = datetime(2026, 11, 20, 8, 0, 13, tzinfo=UTC)
US = 1_000_000

TIMES: dict[str, Callable[[datetime], str]] = {
    "iso": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "naive": lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
    "offset": lambda t: (t + timedelta(hours=5.5)).strftime("%Y-%m-%d %H:%M:%S+0530"),
    "german": lambda t: t.strftime("%d.%m.%Y %H:%M:%S"),
    "american": lambda t: t.strftime("%m/%d/%Y %I:%M:%S %p"),
    "british": lambda t: t.strftime("%d/%m/%Y %H:%M:%S"),
    "s": lambda t: f"{t.timestamp():.0f}",
    "ms": lambda t: f"{t.timestamp() * 1e3:.0f}",
    "us": lambda t: f"{t.timestamp() * 1e6:.0f}",
    "excel": lambda t: f"{(t - datetime(1899, 12, 30, tzinfo=UTC)).total_seconds() / 86400:.9f}",
}
DAMAGES = ("RUN", "", "NaN", "#N/A", "null", "-", "1.2.3", "<5", "inf", "1e999", "12 kPa?", "0x1F")


HARMS = ("short", "long", "never", "12:00", "-", "2026-13-45 99:00:00", "99999999999999999999")


@dataclass(frozen=True)
class Style:
    """How a program writes a table."""

    time: str
    separator: str
    decimal: str
    grouped: bool
    digits: int
    quote_all: bool
    eol: str
    encoding: str
    units: bool
    title: bool
    order: str
    long: bool

    def number(self, value: float) -> str:
        text = f"{value:,.{self.digits}f}" if self.grouped else f"{value:.{self.digits}f}"
        if self.decimal == ",":
            text = text.translate(str.maketrans(",.", ".,"))
        return text


styles = st.builds(
    Style,
    time=st.sampled_from(sorted(TIMES)),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    grouped=st.booleans(),
    digits=st.integers(0, 4),
    quote_all=st.booleans(),
    eol=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    units=st.booleans(),
    title=st.booleans(),
    order=st.sampled_from(["forward", "backward", "shuffled"]),
    long=st.booleans(),
)
columns = st.sampled_from(
    [(970.25, 1.5), (20.5, -0.25), (4.2085, 0.0011), (0.0, 1.0), (8e4, 137.5)]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Style, list[tuple[datetime, list[str | float]]]]:
    """A style, and rows of a time and three cells: a number, or the text of a damage."""
    style, n = draw(styles), draw(st.integers(3, 40))
    slopes = [draw(columns) for _ in NAMES]
    step = timedelta(seconds=draw(st.sampled_from([1, 60, 3600, 86_400])))
    damaged = draw(
        st.dictionaries(
            st.tuples(st.integers(0, n), st.integers(0, 2)), st.sampled_from(DAMAGES), max_size=8
        )
    )
    rows = [
        (
            FIRST + k * step,
            [
                damaged.get((k, c), round(a + b * k, style.digits))
                for c, (a, b) in enumerate(slopes)
            ],
        )
        for k in range(n)
    ]
    if style.order == "backward":
        rows.reverse()
    if style.order == "shuffled":
        rows = draw(st.permutations(rows))
    return style, rows


def written(
    style: Style, rows: list[tuple[datetime, list[str | float]]], harm: dict[int, str]
) -> bytes:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if style.quote_all else csv.QUOTE_MINIMAL
    form: dict[str, Any] = {"quoting": quoting, "lineterminator": style.eol}
    writer = csv.writer(out, delimiter=style.separator, **form)
    cells = [_row(style, t, values, harm.get(k, "")) for k, (t, values) in enumerate(rows)]
    if style.long:
        writer.writerow(["time", "tag", "value"])
        for t, *values in cells:
            writer.writerows(
                [t, name, value] for name, value in zip(NAMES, [*values, ""], strict=False)
            )
    else:
        if style.title:
            writer.writerow(["Pump house, line 2", *[""] * len(NAMES)])
        writer.writerow(["time", *NAMES])
        if style.units:
            writer.writerow(["", "m3/h", "C", "bar"])
        writer.writerows(cells)
    return out.getvalue().encode(style.encoding)


def _row(style: Style, t: datetime, values: list[str | float], harm: str) -> list[str]:
    cells = [one if isinstance(one, str) else style.number(one) for one in values]
    row = [TIMES[style.time](t), *cells]
    if harm == "short":
        return row[:-1]
    if harm == "long":
        return [*row, "7"]
    return [harm, *cells] if harm else row


def read(data: bytes) -> tuple[Recording, dict[tuple[int, str], float]]:
    signals = {Name(name): Signal() for name in NAMES}
    plant = Plant(
        Config(
            sources={Name("rec"): NO_SOURCE},
            templates={Name("pump"): Template(signals)},
            assets={"P1": Asset(Name("pump"))},
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.csv")
        path.write_bytes(data)
        recording = Recording(ReplayConfig(path, asset="P1"), plant, quiet=True)
        found = {
            (int(us), plant.signals[index].name): float(value)
            for block in recording.blocks()
            for index, us, value in zip(block.signal, block.time_us, block.value, strict=True)
        }
    return recording, found


@settings(max_examples=300, deadline=None)
@given(tables(), st.dictionaries(st.integers(0, 40), st.sampled_from(HARMS), max_size=3))
def test_what_comes_out_is_true_and_what_does_not_is_in_the_report(table: Any, harm: Any) -> None:
    """No other exception than ours, no value from nowhere, nothing lost in silence."""
    style, rows = table
    truth = {
        (round(t.timestamp()) * US, name): value
        for t, values in rows
        for name, value in zip(NAMES, values, strict=True)
    }
    try:
        recording, found = read(written(style, rows, harm))
    except EdgeAgentError:
        return
    if any("1.234 as a decimal" in text for text in recording.report.read_as):
        return  # it may be wrong, and says so
    for key, value in found.items():
        assert isinstance(truth.get(key), float), f"{key}: {value} from nowhere or from a damage"
        assert math.isclose(value, truth[key], abs_tol=1e-9), (key, value, truth[key])
    lost = Counter(name for key, name in truth if (key, name) not in found)
    told: Counter[str] = Counter()
    whole = 0
    for one in recording.report.findings():
        if one.column in {"time", "", "tag"}:
            whole += one.n
        else:
            told[one.column] += one.n
    for name, n in lost.items():
        column = "value" if style.long else name
        total = sum(lost.values()) if style.long else n
        assert told[column] + whole * (3 if style.long else 1) >= total, (name, n, told, whole)
