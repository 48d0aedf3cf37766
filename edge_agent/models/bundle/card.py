"""The card of a bundle and its pictures: text and PNG, checked by content."""

from __future__ import annotations

import struct
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge_agent.models.bundle.kinds import CARD, is_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_MAX_SIDE: Final = 4096  # pixels; a viewer needs 4 bytes for each
_MAX_CHUNKS: Final = 4096
_SIZE: Final = struct.Struct(">II5x")  # width, height, and the pixel format
_CHUNK: Final = struct.Struct(">I4s")
_CHECKSUM: Final = 4  # bytes
# The chunks of a plot. Compressed texts and colour profiles unpack to any size in a viewer.
_KINDS: Final = frozenset(b"IHDR PLTE IDAT IEND tRNS tEXt pHYs gAMA sRGB".split())


def card_problems(name: str, raw: bytes) -> Iterator[str]:
    """The problems of a card or picture; none for all other files."""
    if name == CARD:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            yield "not UTF-8 text"
    elif is_picture(name) and (problem := _picture_problem(raw)):
        yield problem


def _picture_problem(raw: bytes) -> str:
    """Why this is not exactly a PNG (ISO/IEC 15948) within the size limits; empty if it is."""
    if not raw.startswith(_MAGIC):
        return "not a PNG picture"
    chunks = list(islice(_chunks(raw), _MAX_CHUNKS))
    kinds = [kind for kind, _, _ in chunks]
    foreign = next((kind for kind in kinds if kind not in _KINDS), None)
    if foreign is not None:
        return f"a PNG picture with a chunk {foreign!r}, which no plot needs"
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") > 1:
        return "not a complete PNG picture"
    if not _has_sane_size(chunks[0][1]):
        return f"a picture without size, or with more than {_MAX_SIDE} pixels a side"
    if kinds[-1] != b"IEND" or chunks[-1][2] != len(raw):
        return "not a complete PNG picture, or more than that"
    return ""


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind, data and end of each whole chunk, up to the first one with a wrong checksum."""
    at = len(_MAGIC)
    while at + _CHUNK.size <= len(raw):
        length, kind = _CHUNK.unpack_from(raw, at)
        start, end = at + _CHUNK.size, at + _CHUNK.size + length
        checksum = zlib.crc32(raw[at + 4 : end]).to_bytes(_CHECKSUM, "big")
        if raw[end : end + _CHECKSUM] != checksum:
            return
        at = end + _CHECKSUM
        yield kind, raw[start:end], at


def _has_sane_size(header: bytes) -> bool:
    return len(header) == _SIZE.size and all(0 < side <= _MAX_SIDE for side in _SIZE.unpack(header))
