"""The folder of thumbnails: bounded in number, bytes and age, and kept over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.clock import US_PER_S
from edge_agent.store import KeptPicture, PictureFolder

if TYPE_CHECKING:
    from pathlib import Path

DAY_US = 86_400 * US_PER_S


def folder_of(path: Path, *, pictures: int = 10, size: int = 100_000) -> PictureFolder:
    return PictureFolder(path / "pictures", pictures, size, 30 * DAY_US)


def kept(name: str, at_us: int, size: int = 100) -> KeptPicture:
    return KeptPicture(name, at_us, b"\xff" * size, {"camera": name.partition("-")[0]})


def test_a_picture_is_found_again_after_a_restart(tmp_path: Path) -> None:
    """With its facts."""
    assert folder_of(tmp_path).add(kept("seam-1", 5), 10)
    again = folder_of(tmp_path)
    assert again.thumbnail("seam-1") == b"\xff" * 100
    assert again.facts("seam-1") == {"camera": "seam", "at_us": 5}
    assert again.newest("seam-", 5) == ["seam-1"]
    assert again.size == sum(path.stat().st_size for path in (tmp_path / "pictures").iterdir())


def test_the_oldest_give_way_by_number_and_by_bytes(tmp_path: Path) -> None:
    few = folder_of(tmp_path, pictures=3, size=4000)
    for n in range(5):
        assert few.add(kept(f"seam-{n}", n), 10)
    assert few.newest("seam-", 9) == ["seam-4", "seam-3", "seam-2"]
    assert few.add(kept("seam-9", 9, size=3500), 10)
    assert few.newest("", 9) == ["seam-9", "seam-4", "seam-3"]
    assert not few.add(kept("seam-10", 10, size=5000), 10)
    assert len(list((tmp_path / "pictures").iterdir())) == 6


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    kept_here = folder_of(tmp_path)
    kept_here.add(kept("a-1", 0), 0)
    kept_here.add(kept("a-2", 20 * DAY_US), 20 * DAY_US)
    assert kept_here.prune(31 * DAY_US) == 1
    assert kept_here.newest("a-", 9) == ["a-2"]


def test_only_ids_of_kept_pictures_are_read(tmp_path: Path) -> None:
    """No path leads out of the folder, and no other file in it is served."""
    mine = folder_of(tmp_path)
    mine.add(kept("a-1", 0), 0)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "pictures" / "alien.jpg").write_bytes(b"without facts")
    again = folder_of(tmp_path)
    for name in ("../secret", "alien", "a-1/../a-1", "", "a-1.jpg", "."):
        assert again.thumbnail(name) is None


def test_a_write_that_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    mine = folder_of(tmp_path)
    mine.add(kept("a-1", 0), 0)
    (tmp_path / "pictures" / "a-2.jpg.half").write_bytes(b"half")
    (tmp_path / "pictures" / "a-3.json").write_bytes(b"{}")
    again = folder_of(tmp_path)
    assert again.newest("", 9) == ["a-1"]
    assert not (tmp_path / "pictures" / "a-2.jpg.half").exists()
