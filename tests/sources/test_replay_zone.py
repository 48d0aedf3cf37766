"""Local times over the ends of summer time: each hour in its place, or said to be unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.moments import iso_moment
from edge_agent.sources.replay.times import TimeReader
from edge_agent.sources.replay.zone import find_zone

if TYPE_CHECKING:
    from collections.abc import Sequence

BERLIN = ZoneInfo("Europe/Berlin")
BEFORE_AUTUMN = datetime(2025, 10, 25, 22, tzinfo=UTC)
BEFORE_SPRING = datetime(2026, 3, 28, 22, tzinfo=UTC)


def truth(begin: datetime, step_min: int, n: int) -> list[datetime]:
    return [begin + timedelta(minutes=step_min * k) for k in range(n)]


def written(moments: Sequence[datetime], zone: str = "Europe/Berlin") -> list[str]:
    """As a logger writes them that knows summer time and no offset."""
    return [f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" for moment in moments]


def read(
    cells: list[str], zone: str = "Europe/Berlin", chunk: int = 1000
) -> tuple[list[int], int, TimeReader]:
    """Seconds since the epoch, the times that do not exist, and the reader."""
    reader = TimeReader(iso_moment, find_zone(zone), cells[:2000])
    parts = [reader.read(cells[start : start + chunk]) for start in range(0, len(cells), chunk)]
    seconds = np.concatenate([us for us, _, _ in parts]) // 1_000_000
    return seconds.tolist(), sum(int(missing.sum()) for _, _, missing in parts), reader


@pytest.mark.parametrize("step_min", [1, 7, 15, 30, 45, 60])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("begin", [BEFORE_AUTUMN, BEFORE_SPRING], ids=["autumn", "spring"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "newest first"])
def test_a_night_of_the_change_is_read_as_it_was(
    step_min: int, chunk: int, begin: datetime, *, backward: bool
) -> None:
    """Whatever the step, in pieces of any size, and whichever end of the file is the newest."""
    moments = truth(begin, step_min, 8 * 60 // step_min)
    moments = moments[::-1] if backward else moments
    seconds, missing, reader = read(written(moments), chunk=chunk)
    assert seconds == [int(moment.timestamp()) for moment in moments]
    assert (missing, reader.doubtful()) == (0, 0)


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "America/St_Johns"])
def test_other_zones_change_at_other_hours(zone: str) -> None:
    """Lord Howe by half an hour only, Newfoundland at half an hour past that of its neighbours."""
    year = truth(datetime(2026, 1, 1, tzinfo=UTC), 5, 365 * 24 * 12)
    seconds, missing, reader = read(written(year, zone), zone)
    assert seconds == [int(moment.timestamp()) for moment in year]
    assert (missing, reader.doubtful()) == (0, 0)


def test_a_file_that_shows_one_pass_alone_says_that_it_is_not_known_which() -> None:
    cells = written(truth(datetime(2025, 10, 26, 1, 10, tzinfo=UTC), 1, 30))
    seconds, _, reader = read(cells)
    assert reader.doubtful() == 30
    assert seconds[0] == datetime(2025, 10, 26, 0, 10, tzinfo=UTC).timestamp(), "the first of both"


def test_small_disorder_is_no_second_pass() -> None:
    """Rows that are some seconds out of order within the doubled hour."""
    cells = ["02:00:00", "02:00:10", "02:00:05", "02:10:00", "02:50:00", "02:00:00", "02:30:00"]
    seconds, _, _ = read([f"2025-10-26 {cell}" for cell in cells])
    offsets = [
        (datetime.fromisoformat(f"2025-10-26 {cell}+00:00").timestamp() - at) / 3600
        for cell, at in zip(cells, seconds, strict=True)
    ]
    assert offsets == [2, 2, 2, 2, 2, 1, 1]


def test_an_hour_that_never_came_is_no_time() -> None:
    """A logger without summer time writes it; which hours are meant from then on is not known."""
    cells = [f"2026-03-29 {clock}" for clock in ("01:59:00", "02:00:00", "02:30:00", "03:00:00")]
    _, missing, _ = read(cells)
    assert missing == 2


@pytest.mark.parametrize(
    ("name", "hours"), [("UTC", 0), ("+01:00", 1), ("-0530", -5.5), ("UTC+8", 8), ("GMT-3", -3)]
)
def test_a_zone_may_be_an_offset(name: str, hours: float) -> None:
    assert find_zone(name).utcoffset(None) == timedelta(hours=hours)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "+25:00", "CEST+", "/"])
def test_no_zone_is_an_error_with_a_hint(name: str) -> None:
    with pytest.raises(EdgeAgentError, match="unknown time zone"):
        find_zone(name)
