"""The benchmark's own arithmetic: what a table shows, and the figures it computes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from scripts.model_bench.docs import write_docs
from scripts.model_bench.shipped import life_figures
from scripts.model_bench.table import Column, Table, Value, shown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([0.5, 0.75, 1.0], "75.0 (50.0 to 100.0)"),
        ([0.5], "50.0"),
        ([0.5, 0.5], "50.0"),
        (0.25, "25.0"),
        (None, "-"),
        (float("nan"), "-"),
        ("none", "none"),
        ([], "-"),
    ],
    ids=[
        "seeds",
        "one seed",
        "seeds that agree",
        "a figure",
        "not measured",
        "no number",
        "words",
        "no seeds",
    ],
)
def test_a_cell_shows_the_mean_and_the_range_of_its_seeds(value: Value, text: str) -> None:
    assert shown(value, Column("x", "x %", 1, 100)) == text


def test_a_table_says_why_it_is_empty_and_what_fills_it() -> None:
    text = Table("T", "scripts/x", absent="no data").as_markdown()
    assert "Not measured here: no data" in text
    assert "`scripts/x`" in text


def test_life_figures_are_nasas() -> None:
    """Saxena et al. 2008: exp(-d/13) - 1 early, exp(d/10) - 1 late; d is told minus true."""
    told = np.array([[90.0, 113.0, 120.0], [10.0, 20.0, 30.0]], np.float32)
    found = life_figures(told, np.array([126.0, 10.0]))
    early_capped, early, late = 125 - 113, 126 - 113, 10
    assert found["rmse"] == pytest.approx(np.sqrt((early**2 + late**2) / 2))
    assert found["rmse_capped"] == pytest.approx(np.sqrt((early_capped**2 + late**2) / 2))
    assert found["score"] == pytest.approx(np.exp(early / 13) + np.exp(late / 10) - 2)
    assert found["coverage"] == 0.5
    assert found["width"] == 25.0


def test_a_section_that_was_not_measured_again_stays_in_the_docs(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    first = Table("A", "x", (Column("v", "v"),), ({"name": "old", "v": 1.0},))
    write_docs(file, {"a": [first], "b": [Table("B", "y", absent="so")]}, ["a", "b"])
    again = Table("B", "y", (Column("v", "v"),), ({"name": "new", "v": 2.0},))
    write_docs(file, {"b": [again]}, ["a", "b"])
    text = file.read_text()
    assert "| old | 1.00 |" in text
    assert "| new | 2.00 |" in text
    assert "Not measured" not in text
