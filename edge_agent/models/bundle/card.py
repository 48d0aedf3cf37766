"""The card of a bundle and its pictures: text and PNG, and nothing that only calls itself so."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from edge_agent.models.bundle.files import CARD, is_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_MAX_SIDE: Final = 4096  # pixels; a viewer needs 4 bytes for each
_MAX_CHUNKS: Final = 4096
_HEADER: Final = struct.Struct(">IIBBBBB")
_CHUNK: Final = struct.Struct(">I4s")
# What a plot needs: text and profiles unpack to any size in whoever looks at them.
_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs", b"gAMA", b"sRGB"})
_TEXT: Final = frozenset({b"tEXt"})


def card_problems(name: str, raw: bytes) -> Iterator[str]:
    """What is wrong with a card or picture; nothing for all other files."""
    if name == CARD:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            yield "not UTF-8 text"
    elif is_picture(name):
        yield from _picture_problems(raw)


def _picture_problems(raw: bytes) -> Iterator[str]:
    """A PNG (ISO/IEC 15948) of a sane size: whole chunks, each with its checksum, and no more."""
    if not raw.startswith(_MAGIC):
        yield "not a PNG picture"
        return
    at = len(_MAGIC)
    kinds: list[bytes] = []
    while at < len(raw) and len(kinds) < _MAX_CHUNKS:
        kind, end = _chunk(raw, at)
        if kind is None or (not kinds and kind != b"IHDR"):
            yield "not a whole PNG picture"
            return
        if kind not in _CHUNKS | _TEXT:
            yield f"a PNG picture with a chunk {kind!r}, which no plot needs"
            return
        if kind == b"IHDR" and not _has_sane_size(raw[at + _CHUNK.size : end - 4]):
            yield f"a picture of no size, or of more than {_MAX_SIDE} pixels a side"
            return
        kinds.append(kind)
        at = end
    if at != len(raw) or kinds.count(b"IHDR") != 1 or kinds[-1:] != [b"IEND"]:
        yield "not a whole PNG picture, or more than that"


def _chunk(raw: bytes, at: int) -> tuple[bytes | None, int]:
    """The kind of the chunk that begins there, and where it ends; None where it is broken."""
    if at + _CHUNK.size > len(raw):
        return None, at
    length, kind = _CHUNK.unpack_from(raw, at)
    end = at + _CHUNK.size + length + 4
    if end > len(raw):
        return None, at
    body = raw[at + 4 : end - 4]
    return (kind if zlib.crc32(body).to_bytes(4, "big") == raw[end - 4 : end] else None), end


def _has_sane_size(header: bytes) -> bool:
    if len(header) != _HEADER.size:
        return False
    return all(0 < int(side) <= _MAX_SIDE for side in _HEADER.unpack(header)[:2])
