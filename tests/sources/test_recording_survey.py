"""The signals of a recording, found from its columns or labels without a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import NO_SOURCE

from edge_agent.config.schema import Asset, Config, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from edge_agent.sources.replay import Recording, ReplayConfig, find_signals

if TYPE_CHECKING:
    from pathlib import Path

T = "2026-01-01T12:00:00Z"
WINCC = """VarName;TimeString;VarValue;Validity
flow;26.11.2026 12:00:00;1,5;1
temp;26.11.2026 12:00:00;2,5;1
"""


def found_in(path: Path, text: str, **options: Any) -> dict[str, float]:
    """The values by signal that are read by the signals that were found."""
    path.write_text(text)
    config = ReplayConfig(path, asset="P-1", **options)
    template = Template(find_signals(config))
    plant = Plant(
        Config(
            sources={Name("rec"): NO_SOURCE},
            templates={Name("t"): template},
            assets={"P-1": Asset(Name("t"))},
        )
    )
    blocks = list(Recording(config, plant, quiet=True).blocks())
    return {
        plant.signals[index].name: float(value)
        for block in blocks
        for index, value in zip(block.signal, block.value, strict=True)
    }


@pytest.mark.parametrize(
    ("text", "options", "signals"),
    [
        (f"time,flow,temp\n{T},1,2\n", {}, {"flow": 1, "temp": 2}),
        (f"time,Flow [m3/h],Öl °C\n{T},1,2\n", {}, {"Flow": 1, "Oel_C": 2}),
        (f"Zeit;P-1.flow;P-1.temp\n{T};1,5;2,5\n", {}, {"flow": 1.5, "temp": 2.5}),
        (f"time,温度,圧力\n{T},1,2\n", {}, {"column": 1, "column_2": 2}),
        (f",time,flow\n0,{T},1\n", {}, {"flow": 1}),
        (f",flow,temp\n{T},1,2\n", {}, {"flow": 1, "temp": 2}),  # an index of pandas
        (
            WINCC,
            {},
            {"flow": 1.5, "temp": 2.5},
        ),
        (
            f"time,Flow Value,Temp Value,Tag\n{T},1,2,9\n",
            {},
            {"Flow_Value": 1, "Temp_Value": 2, "Tag": 9},
        ),
        (f"Unnamed: 0,time,flow\n0,{T},1\n", {}, {"flow": 1}),
        ("Datum;Uhrzeit;flow\n26.11.2026;12:00:00;1\n", {}, {"flow": 1}),
        (f"time,tag,value\n{T},flow,1\n{T},temp,2\n", {}, {"flow": 1, "temp": 2}),
        (
            f"a,b,c\n{T},flow,1\n{T},temp,2\n",
            {"signal_column": "b", "value_column": "c", "time": "a"},
            {"flow": 1, "temp": 2},
        ),
        (f"time,machine,flow\n{T},P-1,1\n{T},P-2,2\n", {}, {"flow": 1}),
        (f"time,machine,flow\n{T},5,1\n", {}, {"machine": 5, "flow": 1}),
        (f"time,flow,quality\n{T},1,Good\n", {"quality": "quality"}, {"flow": 1}),
        (f"{T},1,2\n", {"header": False}, {"2": 1, "3": 2}),
        (f"time,a,b\n{T},1,2\n", {"columns": {"flow": "3"}}, {"flow": 2}),
        (f"time,flow,flow\n{T},1,2\n", {"columns": {"flow": "3"}}, {"flow": 2}),
        (f"time,flow,3\n{T},1,2\n", {"columns": {"temp": "3"}}, {"temp": 2}),
    ],
)
def test_each_column_that_is_no_time_is_a_signal(
    tmp_path: Path, text: str, options: dict[str, Any], signals: dict[str, float]
) -> None:
    """By the name of the column as a name of the config, or the label of its rows."""
    assert found_in(tmp_path / "run.csv", text, **options) == signals


def test_all_files_of_a_pattern_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"time,flow\n{T},1\n")
    (tmp_path / "b.csv").write_text(f"time,flow,temp\n{T},1,2\n")
    assert list(find_signals(ReplayConfig(tmp_path / "*.csv"))) == ["flow", "temp"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"time\n{T}\n", "0 columns that may be signals"),
        ("time," + ",".join(f"c{n}" for n in range(1001)) + f"\n{T}" + ",1" * 1001, "1001 columns"),
        (f"time,flow,flow\n{T},1,2\n", "may be one signal"),
        ("", "empty"),
    ],
)
def test_what_has_no_clear_signals_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(EdgeAgentError, match=says):
        found_in(tmp_path / "run.csv", text)
