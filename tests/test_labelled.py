"""The labelled set on disk: its bounds hold for any history, and a verdict is one rename."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alarms import MAX_PART
from edge_agent.clock import US_PER_S
from edge_agent.errors import StoreError
from edge_agent.labelled import (
    UNJUDGED,
    LabelledSet,
    LabelledWindow,
    entries_of,
    files,
    read_window,
)

MAX_AGE_US = 1000 * US_PER_S
MAX_BYTES = 8000


def window(raised_s: int = 100, rows: int = 4, asset: str = "P-1") -> LabelledWindow:
    times_us = (np.arange(rows) + raised_s) * US_PER_S
    cells = np.arange(2.0 * rows).reshape(rows, 2)
    cells[0, 1] = np.nan
    active = np.arange(rows) > 1
    raised_us = raised_s * US_PER_S
    names = ("flow", "_time")
    return LabelledWindow(f"{asset}.base", asset, "m@1", raised_us, names, times_us, active, cells)


def test_a_window_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Also an input with a name of ours, and a value that was not usable."""
    LabelledSet(tmp_path, MAX_BYTES, MAX_AGE_US).add(window(), "true", "", 0)
    (entry,) = entries_of(tmp_path)
    found, given_ = read_window(entry), window()
    assert (found.alarm_id, found.asset, found.model) == ("P-1.base", "P-1", "m@1")
    assert found.inputs == ("flow", "__time")
    np.testing.assert_array_equal(found.rows, given_.rows)
    np.testing.assert_array_equal(found.times_us, given_.times_us)
    np.testing.assert_array_equal(found.active, given_.active)
    assert (entry.asset, entry.raised_us, entry.verdict) == ("P-1", 100 * US_PER_S, "true")


@given(part=st.text(max_size=MAX_PART))
def test_a_part_of_any_text_is_read_back(part: str) -> None:
    """A part is typed by people, and becomes the name of a folder."""
    from edge_agent.alarms import clean_part  # noqa: PLC0415

    named = clean_part(part)
    with TemporaryDirectory() as place:
        kept = LabelledSet(Path(place), MAX_BYTES, MAX_AGE_US)
        kept.add(window(), UNJUDGED, "", 0)
        assert kept.label(window().key, "true", named)
        (entry,) = entries_of(Path(place))
        assert (entry.verdict, entry.part) == ("true", named)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 3000),  # when it was raised, in seconds
        st.integers(1, 300),  # rows
        st.sampled_from(["P-1", "P-2"]),
        st.sampled_from([UNJUDGED, "true", "false"]),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_the_set_is_never_larger_or_older_than_its_bounds(
    steps: list[tuple[int, int, str, str]],
) -> None:
    """After each write; and no window that was judged goes before one that was not."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        kept = LabelledSet(folder, MAX_BYTES, MAX_AGE_US)
        now_s = 0
        for raised_s, rows, asset, verdict in steps:
            now_s = max(now_s, raised_s)
            before = {one.key: one for one in entries_of(folder)}
            one = window(raised_s, rows, asset)
            if kept.add(one, UNJUDGED, "", now_s * US_PER_S) and verdict != UNJUDGED:
                kept.label(one.key, verdict, "")
            there = entries_of(folder)
            assert sum(each.path.stat().st_size for each in there) <= MAX_BYTES
            others = [each.raised_us for each in there if each.key != one.key]
            assert all(now_s * US_PER_S - raised_us <= MAX_AGE_US for raised_us in others)
            gone = [before[name] for name in before.keys() - {each.key for each in there}]
            young = [each for each in gone if now_s * US_PER_S - each.raised_us <= MAX_AGE_US]
            if any(each.is_judged for each in young):
                kept_names = {each.key for each in there}
                left = [each for each in before.values() if each.key in kept_names]
                assert all(each.is_judged or each.key == one.key for each in left)
            assert kept.bytes == sum(each.size for each in there)


def test_a_set_that_is_opened_again_knows_its_files(tmp_path: Path) -> None:
    """The halves of files that a kill left are removed; foreign files are left alone."""
    LabelledSet(tmp_path, MAX_BYTES, MAX_AGE_US).add(window(), UNJUDGED, "", 0)
    (tmp_path / "123.half").write_bytes(b"PAR1")
    (tmp_path / "notes.txt").write_text("mine")
    kept = LabelledSet(tmp_path, MAX_BYTES, MAX_AGE_US)
    assert kept.label(window().key, "false", "")
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["notes.txt", "verdict=false", "verdict=none"]
    assert not kept.label("1.x.P-9", "false", "")


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 3)
    kept = LabelledSet(tmp_path, 10**9, MAX_AGE_US)
    for raised_s in range(1, 6):
        kept.add(window(raised_s), UNJUDGED, "", raised_s * US_PER_S)
    assert [one.raised_us // US_PER_S for one in entries_of(tmp_path)] == [3, 4, 5]


@pytest.mark.parametrize("cut", [3, 100, -1, -100])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, cut: int) -> None:
    """The library panics on some of them, with an exception that nobody catches."""
    LabelledSet(tmp_path, MAX_BYTES, MAX_AGE_US).add(window(), "true", "", 0)
    (entry,) = entries_of(tmp_path)
    raw = entry.path.read_bytes()
    entry.path.write_bytes(raw[:cut] + raw[-4:])
    with pytest.raises(StoreError, match="parquet"):
        read_window(entry)


def test_nothing_of_parquet_is_imported_before_a_window_is_written() -> None:
    """A gateway that keeps no windows starts as fast, and is as small, as before."""
    code = (
        "import sys, edge_agent.daemon.build, edge_agent.cli.labelled;"
        "print([one for one in sys.modules if 'arro3' in one or 'labelled_windows' in one])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
