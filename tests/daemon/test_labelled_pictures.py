"""Pictures of cameras' alarms: kept within a bound, labelled by a rename, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plants import S

from edge_agent.alarms import Judgement
from edge_agent.clock import FakeClock
from edge_agent.daemon.labelled_writer import LabelledWriter
from edge_agent.labelled import LabelledPicture, LabelledSet, entries_of
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

JPEG = b"\xff\xd8\xff" + bytes(97)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(92)
DAY_US = 86_400 * S


def picture(raised_s: int, data: bytes = JPEG) -> LabelledPicture:
    return LabelledPicture("LID.picture", "LID", raised_s * S, data)


class Kept:
    """A writer of pictures, and what it counted."""

    def __init__(self, folder: Path, most: int = 250) -> None:
        self.metrics = Metrics()
        self.folder = folder
        counter, gauge = self.metrics.labelled_pictures, self.metrics.labelled_picture_bytes
        self.clock = FakeClock(1000 * S)
        kept = LabelledSet(folder, most, DAY_US)
        self.writer = LabelledWriter(kept, counter, gauge, self.clock)

    def outcomes(self) -> dict[str, float]:
        (family,) = self.metrics.labelled_pictures.collect()
        return {one.labels["outcome"]: one.value for one in family.samples if one.labels}


async def test_a_verdict_moves_the_picture_into_the_folder_of_its_kind(tmp_path: Path) -> None:
    """As the camera sent it, bit for bit; the ending says what it is."""
    kept = Kept(tmp_path)
    kept.writer.keep(picture(1))
    kept.writer.keep(picture(2, PNG))
    assert await kept.writer.label(picture(1).key, Judgement("true", "scratch"))
    assert await kept.writer.label(picture(2).key, Judgement("false"))
    assert not await kept.writer.label(picture(3).key, Judgement("false"))
    await kept.writer.close()
    true, false = entries_of(tmp_path)
    assert (true.verdict, true.part, true.path.suffix) == ("true", "scratch", ".jpg")
    assert (false.verdict, false.part, false.path.suffix) == ("false", "", ".png")
    assert (true.path.read_bytes(), false.path.read_bytes()) == (JPEG, PNG)
    assert true.asset == "LID"
    assert kept.outcomes() == {"written": 2, "labelled": 2, "dropped": 1}


async def test_unjudged_pictures_go_first_when_the_set_is_full(tmp_path: Path) -> None:
    """Two of 100 bytes fit; what nobody judged makes room, whatever its age."""
    kept = Kept(tmp_path)
    kept.writer.keep(picture(1))
    await kept.writer.label(picture(1).key, Judgement("true", "dent"))
    for raised_s in (2, 3, 4):
        kept.writer.keep(picture(raised_s))
    kept.writer.keep(picture(5, JPEG * 3))  # larger than the whole set
    await kept.writer.close()
    assert [one.raised_us // S for one in entries_of(tmp_path)] == [1, 4]
    assert kept.outcomes()["dropped"] == 1


async def test_old_pictures_are_removed_once_an_hour(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.writer.keep(picture(999))
    kept.clock.advance(90_000)
    kept.writer.prune()
    await kept.writer.close()
    assert entries_of(tmp_path) == []


async def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path) -> None:
    """A flood of alarms costs pictures, never memory."""
    kept = Kept(tmp_path, 1 << 20)
    for raised_s in range(60):
        kept.writer.keep(picture(raised_s))
    await kept.writer.close()
    assert kept.outcomes() == {"written": 50, "dropped": 10}
