"""Over a hundred dialects of CSV: read right or refused with the cause, never silently wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from csv_dialects import NAMES, Dialect, make_dialects

from edge_agent.config.plant import Plant
from edge_agent.config.schema import Asset, Config, Signal, Template
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay import Recording, ReplayConfig

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.records import Columns

DIALECTS = make_dialects()


def plant_of(*signals: str) -> Plant:
    template = Template(signals={Name(name): Signal() for name in signals})
    config = Config(
        sources={Name("rec"): None},
        templates={Name("pump"): template},
        assets={"P1": Asset("pump")},
    )
    return Plant(config)


def read(folder: Path, dialect: Dialect) -> tuple[Recording, list[Columns], Plant]:
    path = folder / dialect.name
    path.write_bytes(dialect.data)
    plant = plant_of(*NAMES)
    recording = Recording(ReplayConfig(path, asset="P1", **dialect.options), plant, quiet=True)
    return recording, list(recording.blocks()), plant


def found_in(blocks: list[Columns], plant: Plant) -> dict[tuple[int, str], float]:
    """Value by (second since the epoch, signal)."""
    return {
        (int(time_us) // 1_000_000, plant.signals[index].name): round(float(value), 6)
        for block in blocks
        for index, time_us, value in zip(block.signal, block.time_us, block.value, strict=True)
    }


def truth_of(dialect: Dialect) -> dict[tuple[int, str], float]:
    return {
        (int(moment.timestamp()), signal): round(value, 6)
        for moment, values in dialect.rows
        for signal, value in zip(NAMES, values, strict=True)
    }


@pytest.mark.parametrize("name", [name for name, one in DIALECTS.items() if not one.refused])
def test_a_dialect_is_read_right(tmp_path: Path, name: str) -> None:
    """Every value at its time; nothing is refused and nothing is missing."""
    recording, blocks, plant = read(tmp_path, DIALECTS[name])
    assert found_in(blocks, plant) == truth_of(DIALECTS[name])
    assert recording.rejected == {}


@pytest.mark.parametrize("name", [name for name, one in DIALECTS.items() if one.refused])
def test_what_may_mean_several_things_is_refused_with_its_cause(tmp_path: Path, name: str) -> None:
    """By an error, or row by row with an example; no value comes out of it."""
    dialect = DIALECTS[name]
    try:
        recording, blocks, _ = read(tmp_path, dialect)
    except EdgeAgentError as error:
        said = str(error)
    else:
        said = " ".join(map(str, recording.refused.values()))
        assert blocks == [], "not one value"
    assert dialect.refused in said
    assert said.isprintable(), "no binary garbage"


def test_there_are_more_than_a_hundred() -> None:
    assert len(DIALECTS) > 100
