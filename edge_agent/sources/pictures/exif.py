"""The time at which a picture was taken, from its EXIF, read without a decoder of pictures."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

_APP1: Final = 0xE1
_EXIF: Final = b"Exif\0\0"
_DIRECTORY: Final = 0x8769  # of EXIF, in the first directory
_TAKEN: Final = 0x9003  # DateTimeOriginal, and its zone:
_ZONE: Final = 0x9011  # OffsetTimeOriginal
_ASCII: Final = 2
_MAX_ENTRIES: Final = 200
_MAX_HEAD: Final = 256 << 10  # bytes of a picture that are looked at
_ENTRY: Final = 12


def taken_at(data: bytes, zone: str = "UTC") -> int | None:
    """Nanoseconds since the epoch; None if the picture does not say it. zone: if EXIF has none."""
    try:
        block = _block(data[:_MAX_HEAD])
        if block is None:
            return None
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        (first,) = struct.unpack_from(order + "I", block, 4)
        (inner,) = struct.unpack(order + "I", _entries(block, order, first)[_DIRECTORY][1])
        found = _entries(block, order, inner)
        return _nanoseconds(_text(block, order, found[_TAKEN]), found, block, order, zone)
    except (struct.error, KeyError, ValueError, IndexError, OverflowError):
        return None


def _block(data: bytes) -> bytes | None:
    """The TIFF block of the EXIF of a JPEG or PNG."""
    if data.startswith(b"\x89PNG"):
        at = data.find(b"eXIf")
        return None if at < 0 else data[at + 4 :]
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 (a marker)
        length = int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == _APP1 and data[at + 4 : at + 10] == _EXIF:
            return data[at + 10 : at + 2 + length]
        at += 2 + max(2, length)
    return None


def _entries(block: bytes, order: str, at: int) -> dict[int, tuple[int, bytes]]:
    """By tag of a directory: the number of values, and their four bytes."""
    (count,) = struct.unpack_from(order + "H", block, at)
    found = {}
    for number in range(min(count, _MAX_ENTRIES)):
        tag, _, n, value = struct.unpack_from(order + "HHI4s", block, at + 2 + _ENTRY * number)
        found[tag] = (n, value)
    return found


def _text(block: bytes, order: str, entry: tuple[int, bytes]) -> str:
    (at,) = struct.unpack(order + "I", entry[1])
    return block[at : at + min(entry[0], 32)].split(b"\0")[0].decode("ascii").strip()


def _nanoseconds(
    text: str, found: dict[int, tuple[int, bytes]], block: bytes, order: str, zone: str
) -> int:
    moment = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 (the zone follows)
    told = _text(block, order, found[_ZONE]) if _ZONE in found else ""
    where: timezone | ZoneInfo = UTC if zone == "UTC" else ZoneInfo(zone)
    if len(told) == len("+01:00"):
        sign = -1 if told[0] == "-" else 1
        where = timezone(sign * timedelta(hours=int(told[1:3]), minutes=int(told[4:6])))
    return round(moment.replace(tzinfo=where).timestamp()) * 1_000_000_000
