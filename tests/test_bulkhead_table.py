"""The table in docs/reliability.md: what a part that hangs, dies, lies or floods does to others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
_TITLE: Final = "## One bad part stops nothing else"
_TEST: Final = re.compile(r"`((?:\w+/)?test_\w+)`")
_KINDS: Final = 4
# What does not apply, or is the case of a cell beside or above, whose test is named there.
_WITHOUT: Final = ("-", "the same", "as above", "as the active one")


def rows() -> list[list[str]]:
    """Part and its four cells, of each row."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8").split(_TITLE)[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_part_has_a_test_for_each_kind_of_failure(row: list[str]) -> None:
    """A promise without a test is a hope."""
    assert len(row) == 1 + _KINDS
    for cell in row[1:]:
        names = _TEST.findall(cell)
        assert names or cell.startswith(_WITHOUT), cell
        for name in names:
            assert (ROOT / "tests" / f"{name}.py").exists(), name
