"""The files of the labelled set: bounded, written whole, labelled by a rename.

A file is one occurrence of an alarm. Verdict and part are the folder (the hive convention, which
pandas, Polars, DuckDB and Spark read as columns), so that a verdict is one atomic rename and no
file is ever read to label it:

    verdict=false/part=bearing/1795795200000000.3f2a91c4.P-101.parquet
    verdict=true/part=scratch/1795795200000000.08b7c1d2.L1-LID.jpg

Files are written whole, under another name, and renamed; a kill leaves the file before or after.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UNJUDGED: Final = "none"  # the verdict of a window that nobody has judged
MAX_FILES: Final = 10_000
_NO_PART: Final = "__HIVE_DEFAULT_PARTITION__"
_ENDINGS: Final = frozenset({".parquet", ".jpg", ".png"})
_HALF: Final = ".half"  # a file that is being written
_MAX_ASSET: Final = 120  # characters of a file's name


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the set. size: in bytes; verdict: UNJUDGED, or as `alarms.VERDICTS`."""

    path: Path
    verdict: str
    part: str
    size: int

    @property
    def key(self) -> str:
        """The occurrence of the alarm, as `occurrence_key`."""
        return self.path.stem

    @property
    def raised_us(self) -> int:
        """When the alarm was raised."""
        return int(self.path.name.partition(".")[0])

    @property
    def asset(self) -> str:
        """The machine."""
        return unquote(self.key.split(".", 2)[2])

    @property
    def is_judged(self) -> bool:
        """True if somebody said what the alarm was."""
        return self.verdict != UNJUDGED


def occurrence_key(asset: str, alarm_id: str, raised_us: int) -> str:
    """The name, without its ending, of the file of one occurrence of an alarm."""
    digest = blake2b(alarm_id.encode(), digest_size=4).hexdigest()
    return f"{raised_us}.{digest}.{quote(asset, safe='')[:_MAX_ASSET]}"


class Kept(Protocol):
    """What a file of the set holds: a window (`LabelledWindow`), or a picture."""

    @property
    def key(self) -> str:
        """As `occurrence_key`."""

    @property
    def ending(self) -> str:
        """Of its file: `.parquet`, `.jpg` or `.png`."""

    def encoded(self) -> bytes:
        """The content of its file."""


class LabelledSet:
    """The files below `folder`, at most `max_bytes` of them, none older than `max_age_us`.

    Blocking, and for one thread. If a bound is reached, the oldest files that nobody judged are
    removed first, then the oldest of all.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age_us: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._max_age_us = max_age_us
        self._known: dict[str, Entry] | None = None

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(one.size for one in self._entries().values())

    def _entries(self) -> dict[str, Entry]:
        """The files by key, read from the disk once."""
        if self._known is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for half in self.folder.glob(f"*{_HALF}"):
                half.unlink(missing_ok=True)
            self._known = {one.key: one for one in entries_of(self.folder)}
        return self._known

    def add(self, one: Kept, verdict: str, part: str, now_us: int) -> bool:
        """Write a file, or write it again; False if it is larger than the whole set may be."""
        raw = one.encoded()
        if len(raw) > self._max_bytes:
            return False
        entries = self._entries()
        before = entries.get(one.key)
        self._remove(self._surplus(now_us, len(raw), before))
        path = self._folder_of(verdict, part) / f"{one.key}{one.ending}"
        half = self.folder / f"{path.name}{_HALF}"
        with half.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        if before is not None and before.path != path:
            before.path.unlink(missing_ok=True)
        _sync(path.parent)
        entries[one.key] = Entry(path, verdict, part, len(raw))
        return True

    def label(self, key: str, verdict: str, part: str) -> bool:
        """Say what an occurrence was; False if no file of it is kept."""
        found = self._entries().get(key)
        if found is None:
            return False
        path = self._folder_of(verdict, part) / found.path.name
        try:
            found.path.replace(path)
        except FileNotFoundError:  # somebody removed it
            del self._entries()[key]
            return False
        _sync(path.parent)
        self._entries()[key] = replace(found, path=path, verdict=verdict, part=part)
        with suppress(OSError):  # not empty
            found.path.parent.rmdir()
        return True

    def prune(self, now_us: int) -> int:
        """Remove what is too old or too much; returns how many files that were."""
        surplus = self._surplus(now_us)
        self._remove(surplus)
        return len(surplus)

    def _surplus(self, now_us: int, room: int = 0, replaced: Entry | None = None) -> list[Entry]:
        """The files to remove, so that one more of `room` bytes is within the bounds.

        replaced: the file in whose place it comes.
        """
        order = [one for one in self._entries().values() if one is not replaced]
        order.sort(key=lambda one: (one.is_judged, one.raised_us))
        size, files = sum(one.size for one in order), len(order)
        found = []
        for one in order:
            too_much = size + room > self._max_bytes or files + (room > 0) > MAX_FILES
            if too_much or now_us - one.raised_us > self._max_age_us:
                found.append(one)
                size, files = size - one.size, files - 1
        return found

    def _remove(self, surplus: Iterable[Entry]) -> None:
        for one in surplus:
            one.path.unlink(missing_ok=True)
            self._entries().pop(one.key, None)

    def _folder_of(self, verdict: str, part: str) -> Path:
        found = self.folder / f"verdict={verdict}" / f"part={_quoted(part) or _NO_PART}"
        # Not the set's own folder: if it is gone, so is its disk.
        found.parent.mkdir(exist_ok=True)
        found.mkdir(exist_ok=True)
        return found


def entries_of(folder: Path) -> list[Entry]:
    """The files of a set, the oldest first; files that are not its own are left alone."""
    files = (path for path in folder.glob("verdict=*/part=*/*") if path.suffix in _ENDINGS)
    found = [_entry(path) for path in files]
    return sorted((one for one in found if one), key=lambda one: (one.raised_us, one.path.name))


def _entry(path: Path) -> Entry | None:
    number, *rest = path.stem.split(".", 2)
    if not number.isdecimal() or len(rest) != 2:  # noqa: PLR2004 (hash and asset)
        return None
    verdict, part = (one.name.partition("=")[2] for one in (path.parent.parent, path.parent))
    try:
        size = path.stat().st_size
    except OSError:  # removed meanwhile
        return None
    return Entry(path, verdict, "" if part == _NO_PART else unquote(part), size)


def _quoted(part: str) -> str:
    """A part as the name of a folder: other alphabets stay, since names have 255 bytes."""
    return "".join(one if one.isalnum() or ord(one) > ord("~") else quote(one, "") for one in part)


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
