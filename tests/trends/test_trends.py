"""The store of trends: exact aggregates, several resolutions, a bound, and a file that may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.trends import (
    BAD,
    HELD,
    REPLAYED,
    UNCERTAIN,
    SeriesName,
    Trends,
    grouped,
    joined,
    marks_of,
    means,
    rows_of,
)
from edge_agent.trends.encoding import decode, encode
from edge_agent.trends.levels import base_level, level_for, step_for
from edge_agent.trends.trends import FLUSH_S, OPEN_AGAIN_S

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.trends import Rows

T0 = 1_700_006_400  # a multiple of six hours
TEMP = SeriesName("input", "temp")


def values(series: int, time_s: list[int], value: list[float], mark: int = 0) -> Rows:
    n = len(value)
    marks = np.full(n, mark, np.uint8)
    good = (marks & (BAD | UNCERTAIN)) == 0
    numbers = np.full(n, series, np.int32)
    return rows_of(
        numbers, np.array(time_s, np.int64), np.array(value, float), good=good, marks=marks
    )


class Plant:
    """Trends of P-1's temperature, fed by hand; `now_s` is the gateway's clock."""

    def __init__(self, path: Path, max_bytes: int = 64 << 20) -> None:
        self.path = path
        self.trends = Trends(path, max_bytes)
        self.now_s = T0
        self.trends.tend(self.now_s, 0.0)
        self.number = self.trends.number("P-1", *TEMP)

    def feed(self, seconds: int, *, every_s: int = 1) -> None:
        """A value of 0, 1, 2, ... 9, 0, ... every so many seconds."""
        for start in range(0, seconds, 600):
            times = range(self.now_s + start, self.now_s + min(start + 600, seconds), every_s)
            self.trends.add(values(self.number, list(times), [float(t % 10) for t in times]))
            self.trends.tend(self.now_s + min(start + 600, seconds), 0.0)
        self.now_s += seconds

    def read(self, seconds: int, points: int = 300) -> tuple[int, Rows]:
        """The step and the rows of the last seconds."""
        found = self.trends.read("P-1", [TEMP], self.now_s - seconds, self.now_s, points)
        return found.step_s, found.series[TEMP]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path / "plant.trends")


def test_a_bucket_has_least_most_mean_count_and_the_share_that_is_good() -> None:
    """A bad value counts, but only there; an uncertain one is used and not good."""
    rows = joined(
        [
            values(1, [T0, T0 + 3], [1.0, 5.0]),
            values(1, [T0 + 4], [9.0], UNCERTAIN),
            values(1, [T0 + 5], [1000.0], BAD),
            values(1, [T0 + 6], [float("nan")]),
            values(1, [T0 + 10], [7.0]),
            values(0, [T0], [2.0]),
        ]
    )
    other, first, second = grouped(rows, 10)
    assert (other["series"], other["low"], other["bucket"]) == (0, 2.0, T0)
    assert (first["low"], first["high"], first["total"], first["used"]) == (1.0, 9.0, 15.0, 3)
    assert (first["n"], first["good"]) == (5, 2)
    assert first["marks"] == UNCERTAIN | BAD
    assert (second["bucket"], second["low"]) == (T0 + 10, 7.0)


def test_parts_of_a_bucket_join_to_the_same_as_the_whole() -> None:
    """What is grouped twice, by any steps between, is the same."""
    numbers = np.random.default_rng(1)
    time_s = (T0 + numbers.integers(0, 20_000, 3000)).tolist()
    whole = values(1, time_s, numbers.normal(size=3000).tolist())
    parts = joined([grouped(whole[:1000], 10), grouped(grouped(whole[1000:], 10), 60)])
    one, two = grouped(whole, 900), grouped(parts, 900)
    for name in ("series", "bucket", "low", "high", "used", "n", "good", "marks"):
        assert (one[name] == two[name]).all(), name
    assert np.allclose(one["total"], two["total"])


def test_rows_survive_their_encoding() -> None:
    """With the seven digits of a float32; a bucket without a usable value stays one."""
    rows = grouped(
        joined(
            [
                values(3, [T0, T0 + 60], [1.25, -7.5]),
                values(3, [T0 + 120], [0.0], BAD),
                values(9, [T0 + 30], [1e9], REPLAYED),
            ]
        ),
        10,
    )
    again = decode(encode(rows, T0, 10), T0, 10)
    for name in rows.dtype.names or ():
        assert (rows[name] == again[name]).all(), name
    assert np.isnan(means(again)[2])


@pytest.mark.parametrize(
    ("seconds", "points", "step_s", "resolution"),
    [
        (600, 300, 10, 0),
        (3600, 300, 20, 0),
        (86_400, 300, 300, 1),
        (7 * 86_400, 300, 3600, 2),
        (90 * 86_400, 300, 43_200, 3),
        (10 * 365 * 86_400, 2000, 172_800, 3),
    ],
)
def test_a_question_is_answered_from_the_coarsest_level_that_is_fine_enough(
    seconds: int, points: int, step_s: int, resolution: int
) -> None:
    assert step_for(seconds, points) == step_s
    assert level_for(step_s) == resolution


def test_many_series_are_kept_coarser() -> None:
    """So that a gateway does not write more than twice the size of the file a day."""
    assert base_level(100, 256 << 20) == 0
    assert base_level(30_000, 256 << 20) == 1
    assert base_level(200_000, 64 << 20) == 3


def test_what_is_in_memory_is_read_at_once(plant: Plant) -> None:
    plant.feed(60)
    step_s, rows = plant.read(60)
    assert step_s == 10
    assert rows["bucket"].tolist() == [T0 + 10 * n for n in range(6)]
    assert rows["n"].tolist() == [10] * 6
    assert means(rows).tolist() == [4.5] * 6


def test_a_day_is_the_same_whether_read_from_memory_or_from_any_level(plant: Plant) -> None:
    """Nothing is counted twice or lost while rows move from memory through the levels."""
    plant.feed(26 * 3600, every_s=5)
    for seconds in (1800, 6 * 3600, 20 * 3600, 26 * 3600):
        for points in (20, 300, 2000):
            step_s, rows = plant.read(seconds, points)
            assert rows["n"].sum() * 5 == len(rows) * step_s, (seconds, points)
            assert set(rows["low"]) == {0.0}
            assert set(rows["high"]) == {5.0}
            assert len(rows) <= points + 1


def test_a_restart_continues(plant: Plant) -> None:
    """With the same numbers, and everything of before; a clean stop loses nothing."""
    plant.feed(1234)
    plant.trends.close(plant.now_s)
    again = Plant(plant.path)
    again.now_s = plant.now_s
    assert again.number == plant.number
    assert again.read(1240)[1]["n"].sum() == 1234
    again.feed(100)
    assert again.read(1340)[1]["n"].sum() == 1334


def test_late_values_join_the_buckets_of_their_time(plant: Plant) -> None:
    """After they were written, and summed up: marked as replayed."""
    plant.feed(3600)
    plant.now_s += 1800  # an outage
    plant.feed(7200)
    gap = list(range(T0 + 3600, T0 + 5400))
    plant.trends.add(values(plant.number, gap, [3.0] * len(gap), REPLAYED))
    for _ in range(3):
        plant.feed(2 * FLUSH_S)
        _, rows = plant.read(plant.now_s - T0, 2000)
        inside = (rows["bucket"] >= T0 + 3600) & (rows["bucket"] < T0 + 5400)
        assert rows["n"][inside].sum() == 1800
        assert (rows["marks"][inside] == REPLAYED).all()
        assert not rows["marks"][~inside].any()


def test_the_file_stays_within_its_size(tmp_path: Path) -> None:
    """Old fine rows go first: a week is still there in coarse ones."""
    size = 4 << 20
    trends = Trends(tmp_path / "small.trends", size)
    trends.tend(T0, 0.0)
    numbers = [trends.number(f"P-{n}", *TEMP) for n in range(40)]
    random = np.random.default_rng(0)
    for now_s in range(T0, T0 + 4 * 86_400, 600):
        time_s = np.repeat(np.arange(now_s, now_s + 600, 10), len(numbers))
        series = np.tile(numbers, 60).astype(np.int32)
        value, marks = random.normal(size=len(series)), np.zeros(len(series), np.uint8)
        trends.add(rows_of(series, time_s, value, good=marks == 0, marks=marks))
        trends.tend(now_s + 600, 0.0)
    now_s = T0 + 4 * 86_400
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < size * 1.25
    assert not trends.trouble
    found = trends.read("P-3", [TEMP], T0, now_s, 300)
    assert found.step_s >= 900
    assert found.series[TEMP]["n"].sum() == 4 * 8640
    newest = trends.read("P-3", [TEMP], now_s - 1800, now_s, 300)
    assert newest.step_s == 10
    trends.close(now_s)


def test_a_damaged_file_is_set_aside_and_begun_anew(plant: Plant) -> None:
    """Also while it is in use; the series go on."""
    plant.feed(1200)
    plant.trends.close(plant.now_s)
    plant.path.write_bytes(b"no database" * 1000)
    again = Plant(plant.path)
    again.now_s = plant.now_s
    assert not again.trends.trouble
    assert [one for one in plant.path.parent.iterdir() if ".corrupt-" in one.name]
    again.feed(1000)
    assert again.read(1000)[1]["n"].sum() == 1000


def test_a_file_that_cannot_be_opened_is_a_trouble_and_tried_again(tmp_path: Path) -> None:
    """What is in memory is kept meanwhile, under the numbers that the file has then."""
    path = tmp_path / "folder" / "plant.trends"
    before = Plant(path)
    before.trends.number("P-0", *TEMP)
    before.trends.close(T0)
    path.parent.rename(tmp_path / "away")
    path.parent.write_text("in the way")
    plant = Plant(path)
    plant.trends.number("P-2", *TEMP)
    assert "cannot open" in plant.trends.trouble
    plant.feed(100)
    assert plant.read(100)[1]["n"].sum() == 100
    path.parent.unlink()
    (tmp_path / "away").rename(path.parent)
    plant.trends.tend(plant.now_s, OPEN_AGAIN_S - 1.0)
    assert plant.trends.trouble
    plant.trends.tend(plant.now_s, OPEN_AGAIN_S + 1.0)
    assert not plant.trends.trouble
    assert plant.trends.generation == 1
    assert plant.read(100)[1]["n"].sum() == 100
    assert plant.trends.series_of("P-2") == [TEMP]


def test_a_crash_costs_some_minutes(plant: Plant) -> None:
    """What was flushed is there; the rest was in memory."""
    plant.feed(3 * FLUSH_S)
    again = Plant(plant.path.with_name("copy.trends"))
    del again
    plant.trends._file.close()  # type: ignore[union-attr]
    found = Plant(plant.path)
    found.now_s = plant.now_s
    seen = found.read(3 * FLUSH_S)[1]["n"].sum()
    assert 2 * FLUSH_S - 20 <= seen <= 3 * FLUSH_S


def test_held_and_bad_are_told_apart(plant: Plant) -> None:
    mask = np.array([True, False])
    assert marks_of((mask, HELD), (~mask, BAD)).tolist() == [HELD, BAD]
    plant.trends.add(values(plant.number, [T0], [5.0], HELD))
    plant.trends.add(values(plant.number, [T0 + 10], [5.0], BAD))
    plant.now_s += 20
    rows = plant.read(20)[1]
    assert rows["marks"].tolist() == [HELD, BAD]
    assert rows["used"].tolist() == [1, 0]


def test_without_the_disk_of_the_store_no_file_is_made(tmp_path: Path) -> None:
    """The folder may be an empty mount point: rows wait until the store's file is there."""
    store = tmp_path / "store.db"
    trends = Trends(tmp_path / "store.db.trends", 64 << 20, store)
    trends.tend(0, 0.0)
    assert list(tmp_path.iterdir()) == []
    assert not trends.trouble
    store.touch()
    trends.tend(60, 61.0)
    assert (tmp_path / "store.db.trends").exists()
    trends.close(61)
