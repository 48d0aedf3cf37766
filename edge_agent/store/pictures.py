"""Thumbnails of inspected pictures, with what was found on them, in a folder that is bounded.

Each is two files, ID.jpg and ID.json (the facts). They are written under other names and renamed,
the thumbnail last: a thumbnail without facts does not exist.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PICTURE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,159}")
_THUMBNAIL, _FACTS = ".jpg", ".json"
_HALF: Final = ".half"


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture as it is kept.

    picture_id: matches PICTURE_ID; at_us: its time; thumbnail: JPEG; facts: plain JSON.
    """

    picture_id: str
    at_us: int
    thumbnail: bytes
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    at_us: int
    size: int


@dataclass(slots=True)
class PictureFolder:
    """The kept pictures. Calls block; one thread at a time. OSError if the disk fails.

    max_pictures, max_bytes, max_age_us: the oldest are removed first.
    """

    folder: Path
    max_pictures: int
    max_bytes: int
    max_age_us: int
    size: int = 0
    _known: dict[str, _Entry] | None = field(default=None)

    def add(self, one: KeptPicture, now_us: int) -> bool:
        """Write a picture; False if it is larger than all may be."""
        facts = json.dumps({**one.facts, "at_us": one.at_us}).encode()
        parts = {_FACTS: facts, _THUMBNAIL: one.thumbnail}
        size = sum(map(len, parts.values()))
        if size > self.max_bytes:
            return False
        known = self._entries()
        self._remove(self._surplus(now_us, size))
        for end, raw in parts.items():
            half = self.folder / f"{one.picture_id}{end}{_HALF}"
            half.write_bytes(raw)
            half.replace(self.folder / f"{one.picture_id}{end}")
        known[one.picture_id] = _Entry(one.at_us, size)
        self.size += size
        return True

    def thumbnail(self, picture_id: str) -> bytes | None:
        """The JPEG of a picture; None if it is not kept."""
        return self._read(picture_id, _THUMBNAIL)

    def facts(self, picture_id: str) -> dict[str, Any] | None:
        """What was found on a picture; None if it is not kept."""
        raw = self._read(picture_id, _FACTS)
        with suppress(ValueError):
            found = json.loads(raw or b"")
            return found if isinstance(found, dict) else None
        return None

    def newest(self, prefix: str, count: int) -> list[str]:
        """The ids that begin with `prefix`, the newest first."""
        mine = [
            (one.at_us, name) for name, one in self._entries().items() if name.startswith(prefix)
        ]
        return [name for _, name in sorted(mine, reverse=True)[:count]]

    def prune(self, now_us: int) -> int:
        """Remove what is too old; returns how many pictures that were."""
        surplus = self._surplus(now_us)
        self._remove(surplus)
        return len(surplus)

    def _read(self, picture_id: str, end: str) -> bytes | None:
        if not PICTURE_ID.fullmatch(picture_id) or picture_id not in self._entries():
            return None
        try:
            return (self.folder / f"{picture_id}{end}").read_bytes()
        except FileNotFoundError:  # somebody removed it
            return None

    def _entries(self) -> dict[str, _Entry]:
        if self._known is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            for half in self.folder.glob(f"*{_HALF}"):
                half.unlink(missing_ok=True)
            self._known = dict(self._found())
            self.size = sum(one.size for one in self._known.values())
        return self._known

    def _found(self) -> Iterable[tuple[str, _Entry]]:
        for path in self.folder.glob(f"*{_THUMBNAIL}"):
            name, size = path.name.removesuffix(_THUMBNAIL), 0
            with suppress(OSError, ValueError, KeyError, TypeError):
                at_us = int(json.loads((self.folder / f"{name}{_FACTS}").read_bytes())["at_us"])
                for end in (_THUMBNAIL, _FACTS):
                    with suppress(FileNotFoundError):
                        size += (self.folder / f"{name}{end}").stat().st_size
                yield name, _Entry(at_us, size)

    def _surplus(self, now_us: int, room: int = 0) -> list[str]:
        """The pictures to remove, so that one more of `room` bytes is within the bounds."""
        order = sorted(self._entries().items(), key=lambda each: each[1].at_us)
        size, count, found = self.size, len(order), []
        for name, one in order:
            too_many = size + room > self.max_bytes or count + bool(room) > self.max_pictures
            if not too_many and now_us - one.at_us <= self.max_age_us:
                break
            found.append(name)
            size, count = size - one.size, count - 1
        return found

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            for end in (_THUMBNAIL, _FACTS):
                (self.folder / f"{name}{end}").unlink(missing_ok=True)
            self.size -= self._entries().pop(name).size
