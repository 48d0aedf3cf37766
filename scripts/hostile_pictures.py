"""Send hostile pictures through the process that decodes them: none may crash it, nothing may grow.

    ./scripts/hostile-pictures               # 10,000
    ./scripts/hostile-pictures --pictures 300 --seed 7

Truncated at every place, bombs, huge dimensions, tricks with ICC and EXIF, other forms (SVG, GIF,
WebP, TIFF), animated, CMYK, 16 bits, polyglots, random flips. What must be refused is refused with
a reason and one readable line; what may be seen gives a thumbnail without metadata.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from edge_agent.config.cameras import View
from edge_agent.models.runtime.picture_child import THUMBNAIL_BYTES, PictureQuestion
from edge_agent.models.runtime.picture_decode import PictureLimits
from edge_agent.models.runtime.picture_process import Inspected, PictureProcess
from edge_agent.signals import EncodedPicture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REFUSED: Final = "refused"  # it must be
SEEN: Final = "seen"  # it must not be: it is a picture, whatever is around it
EITHER: Final = "either"  # damage that nobody can tell from a picture
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_LIMITS: Final = PictureLimits(1 << 20, 4_000_000)
_MAX_TEXT: Final = 300
_GROWTH: Final = 48 << 20  # bytes of memory, after the first tenth
_METADATA: Final = (b"Exif", b"ICC_PROFILE", b"http://", b"secret", b"<script")


@dataclass(frozen=True, slots=True)
class Hostile:
    """A picture, what it is, and what must become of it."""

    kind: str
    data: bytes
    wanted: str


def hostile_pictures(seed: int = 1) -> Iterator[Hostile]:
    """All kinds in turns, without end; the same for the same seed."""
    rng = np.random.default_rng(seed)
    kinds = {make: make(rng) for make in _KINDS}
    for make in cycle(_KINDS):
        yield next(kinds[make])


# -- good pictures, and how to break them ----------------------------------------------------------


def scene(rng: np.random.Generator, side: int = 48) -> Image.Image:
    """Blocks of colours with noise: it has edges, and is no solid colour."""
    blocks = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    noise = rng.integers(-20, 20, blocks.shape)
    return Image.fromarray((blocks + noise).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:  # noqa: ANN401 (Pillow's)
    """An encoded picture."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    crc = zlib.crc32(name + data)
    return struct.pack("!I", len(data)) + name + data + struct.pack("!I", crc)


def png(width: int, height: int, data: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG with this header and these deflated bytes."""
    head = struct.pack("!IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return _PNG + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_chunk(image: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return image[:33] + chunk(name, data) + image[33:]


def with_segment(image: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return image[:2] + struct.pack("!BBH", 0xFF, marker, len(data) + 2) + data + image[2:]


def with_size(image: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header names another size."""
    at = next(at for at in range(len(image)) if image[at : at + 2] in {b"\xff\xc0", b"\xff\xc2"})
    return image[: at + 5] + struct.pack("!HH", height, width) + image[at + 9 :]


def exif(*entries: tuple[int, int, int, int], beyond: int = 0) -> bytes:
    """EXIF with entries (tag, type, count, value); beyond: where the next directory is."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return b"Exif\0\0" + head + rows + struct.pack("<I", beyond)


# -- the kinds ------------------------------------------------------------------------------------


def originals(rng: np.random.Generator) -> list[bytes]:
    """Good pictures of every accepted form."""
    one = scene(rng)
    return [
        saved(one),
        saved(one, progressive=True),
        saved(one.convert("L")),
        saved(one, "PNG"),
        saved(one.convert("P"), "PNG"),
        saved(one.convert("LA"), "PNG"),
        saved(one.convert("1"), "PNG"),
    ]


def truncated(rng: np.random.Generator) -> Iterator[Hostile]:
    """At every place, one after the other."""
    while True:
        for one in originals(rng):
            for end in rng.permutation(len(one)).tolist():
                yield Hostile("truncated", one[:end], REFUSED)


def flipped(rng: np.random.Generator) -> Iterator[Hostile]:
    """Some bits or bytes of a good picture are others."""
    while True:
        for one in originals(rng):
            data = np.frombuffer(one, np.uint8).copy()
            places = rng.integers(0, len(data), rng.integers(1, 24))
            data[places] ^= rng.integers(1, 256, len(places), np.uint8)
            yield Hostile("flipped", data.tobytes(), EITHER)


def spliced(rng: np.random.Generator) -> Iterator[Hostile]:
    """The beginning of a picture with the end of another, a piece twice, or random bytes in it."""
    while True:
        one, other = rng.choice(np.array(originals(rng), object), 2)
        cut, again = rng.integers(8, len(one)), rng.integers(0, len(other))
        yield Hostile("spliced", one[:cut] + other[again:], EITHER)
        yield Hostile("spliced", one[:cut] + rng.bytes(200) + one[cut:], EITHER)


def sized(rng: np.random.Generator) -> Iterator[Hostile]:
    """Headers with dimensions that are huge, empty or not those of the data."""
    jpeg, deflated = saved(scene(rng)), zlib.compress(bytes(1000))
    while True:
        big = int(rng.integers(2001, 65_535))
        yield Hostile("dimensions", with_size(jpeg, big, 65_535), REFUSED)
        yield Hostile("dimensions", with_size(jpeg, 0, 0), REFUSED)
        yield Hostile("dimensions", png(big, 1 << 31, deflated), REFUSED)
        yield Hostile("dimensions", png(0xFFFF_FFFF, 0xFFFF_FFFF, deflated), REFUSED)
        yield Hostile("dimensions", png(1, 3_000_000, deflated), REFUSED)
        yield Hostile("dimensions", png(1900, 2000, deflated), REFUSED)
        yield Hostile("dimensions", with_size(jpeg, 1900, 2000), EITHER)


def headed(rng: np.random.Generator) -> Iterator[Hostile]:
    """Random bytes behind the first bytes of every form, good and bad."""
    while True:
        for magic in (
            b"\xff\xd8\xff",
            _PNG,
            b"GIF89a",
            b"RIFF\0\0\0\0WEBP",
            b"",
            b"\xff\xd8\xff\xe1",
        ):
            yield Hostile("random", magic + rng.bytes(int(rng.integers(0, 2000))), REFUSED)


def tagged(rng: np.random.Generator) -> Iterator[Hostile]:
    """EXIF and ICC of all sorts around a good picture, which is seen."""
    while True:
        jpeg, image = saved(scene(rng)), saved(scene(rng), "PNG")
        value = int(rng.integers(0, 1 << 32))
        entries = [tuple(rng.integers(0, 1 << 16, 4).tolist()) for _ in range(5)]
        tricks = (
            exif((0x0112, 3, 1, value & 0xFFFF)),
            exif((0x0112, 2, 0xFFFF_FFFF, value)),
            exif((0x8769, 4, 1, 8), beyond=8),  # directories that lead back to themselves
            exif(*entries, beyond=value),
            exif((0x8825, 4, 1, 8), (0x0201, 4, 1, 0), (0x0202, 4, 1, value)),
            b"Exif\0\0" + rng.bytes(300),
            b"Exif\0\0secret",
            b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + b"<" * 3000,
        )
        for one in tricks:
            yield Hostile("exif", with_segment(jpeg, 0xE1, one), SEEN)
        yield Hostile("exif", with_chunk(image, b"eXIf", tricks[2][6:]), SEEN)
        icc = b"ICC_PROFILE\0\1\1" + rng.bytes(500)
        yield Hostile("icc", with_segment(jpeg, 0xE2, icc), SEEN)
        yield Hostile("icc", with_segment(jpeg, 0xE2, b"ICC_PROFILE\0\xff\xff"), SEEN)
        yield Hostile("icc", with_chunk(image, b"iCCP", b"x\0\0" + zlib.compress(bytes(500))), SEEN)


def bombs(rng: np.random.Generator) -> Iterator[Hostile]:
    """Little data that becomes much."""
    jpeg, image = saved(scene(rng)), saved(scene(rng), "PNG")
    zeros = zlib.compress(bytes(64 << 20), 9)
    slow = saved(scene(rng), progressive=True)
    scan = slow[slow.find(b"\xff\xda") : slow.find(b"\xff\xc4", slow.find(b"\xff\xda"))]
    while True:
        yield Hostile("bomb", png(20_000, 20_000, zeros), REFUSED)
        yield Hostile("bomb", with_chunk(image, b"zTXt", b"x\0\0" + zeros), EITHER)
        yield Hostile("bomb", with_chunk(image, b"iTXt", b"x\0\1\0\0\0" + zeros), EITHER)
        yield Hostile("bomb", with_chunk(image, b"iCCP", b"x\0\0" + zeros), EITHER)
        yield Hostile("bomb", png(1900, 2000, zeros), EITHER)
        yield Hostile("bomb", slow[:-2] + scan * 3000 + slow[-2:], REFUSED)
        yield Hostile("bomb", jpeg + bytes(2 << 20), REFUSED)
        yield Hostile("bomb", image[:33] + chunk(b"teXt", b"") * 80_000 + image[33:], EITHER)


def others(rng: np.random.Generator) -> Iterator[Hostile]:
    """Other forms, animated ones, and colours and depths that are not accepted."""
    one = scene(rng)
    frames = {"save_all": True, "append_images": [scene(rng), scene(rng)]}
    deep = np.asarray(one.convert("L")).astype(np.uint16) << 8
    jpeg = saved(one)
    at = jpeg.find(b"\xff\xc0")
    refused = {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "svg with a head": b'<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg/>',
        "html": b"<html><img src=x onerror=alert(1)></html>",
        "json": b'{"image": "x"}',
        "empty": b"",
        "zip": b"PK\3\4" + bytes(100),
        "pdf": b"%PDF-1.7\n",
        "gif": saved(one, "GIF"),
        "animated gif": saved(one, "GIF", **frames),
        "animated png": saved(one, "PNG", **frames),
        "webp": saved(one, "WEBP"),
        "animated webp": saved(one, "WEBP", **frames),
        "tiff": saved(one, "TIFF"),
        "bmp": saved(one, "BMP"),
        "cmyk": saved(one.convert("CMYK")),
        "16 bits": saved(Image.fromarray(deep), "PNG"),
        "16 bits in colour": png(48, 48, zlib.compress(bytes(48 * (1 + 48 * 6))), bits=16),
        "12 bits": jpeg[: at + 4] + b"\x0c" + jpeg[at + 5 :],
        "lossless": jpeg[:at] + b"\xff\xc3" + jpeg[at + 2 :],
        "arithmetic": jpeg[:at] + b"\xff\xc9" + jpeg[at + 2 :],
        "tiny": saved(one.resize((4, 4)), "PNG"),
        "gif as jpeg": b"\xff\xd8\xff" + saved(one, "GIF"),
    }
    while True:
        for kind, data in refused.items():
            yield Hostile(kind, data, REFUSED)


def polyglots(rng: np.random.Generator) -> Iterator[Hostile]:
    """Good pictures that are something else, too: only their pixels go on."""
    while True:
        jpeg, image = saved(scene(rng)), saved(scene(rng), "PNG")
        yield Hostile("polyglot", with_segment(jpeg, 0xFE, b"<script>alert(1)</script>"), SEEN)
        yield Hostile("polyglot", jpeg + b"PK\3\4 secret", SEEN)
        yield Hostile("polyglot", image + b"<script>secret</script>", SEEN)
        yield Hostile("polyglot", with_chunk(image, b"tEXt", b"x\0<script>"), SEEN)


_EACH: Final = (
    truncated,
    flipped,
    truncated,
    spliced,
    sized,
    others,
    headed,
    tagged,
    truncated,
    polyglots,
    others,
    flipped,
)

# Bombs cost a hundred times the others, so they come less often.
_KINDS = (*(_EACH * 4), bombs)


# -- what becomes of them -------------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """What became of all pictures. wrong: one line for each that was not treated as it must be."""

    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown: dict[str, int] = field(default_factory=dict)


def judged(one: Hostile, found: Inspected) -> str:
    """What is wrong with the treatment of a picture; empty if nothing is."""
    if found.error:
        if one.wanted == SEEN:
            return f"{one.kind}: refused ({found.error})"
        if (
            not found.error.isprintable()
            or len(found.error) > _MAX_TEXT
            or "object at" in found.error
        ):
            return f"{one.kind}: the error cannot be read: {found.error!r}"
        return "" if found.reason and found.status >> 31 else f"{one.kind}: no reason or status"
    if one.wanted == REFUSED:
        return f"{one.kind}: not refused"
    if not found.thumbnail or len(found.thumbnail) > THUMBNAIL_BYTES:
        return f"{one.kind}: a thumbnail of {len(found.thumbnail)} bytes"
    kept = [mark for mark in _METADATA if mark in found.thumbnail]
    return f"{one.kind}: {kept} in the thumbnail" if kept else ""


def inspect_all(
    pictures: Iterable[Hostile],
    process: PictureProcess,
    show: bool = False,  # noqa: FBT001, FBT002
) -> Outcome:
    """Send them through the process; `grown` compares the end with the first tenth."""
    asked = PictureQuestion("hostile", View(frozen_after=0), 64, limits=_LIMITS)
    outcome, before, waiting = Outcome(), dict[str, int](), list(pictures)
    begin_s = time.monotonic()
    for number, one in enumerate(waiting):
        since_s = time.monotonic()
        found = process.inspect(EncodedPicture("hostile", one.data, 0, 0), asked)
        outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - since_s)
        said = "refused" if found.error else "seen"
        outcome.kinds.setdefault(one.kind, Counter())[said] += 1
        if problem := judged(one, found):
            outcome.wrong.append(problem)
        if number == len(waiting) // 10:
            before = sizes(process)
        if show and number % 500 == 0:
            print(f"{number} of {len(waiting)}", file=sys.stderr, flush=True)
    after = sizes(process)
    outcome.grown = {name: after[name] - before[name] for name in after}
    outcome.starts, outcome.seconds = process.starts, time.monotonic() - begin_s
    return outcome


def sizes(process: PictureProcess) -> dict[str, int]:
    """Memory and open files of this process and of the one that decodes."""
    found = {}
    for name, pid in (("daemon", os.getpid()), ("child", process.pid)):
        pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
        found[f"{name}_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        found[f"{name}_files"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return found


def main() -> int:
    """Print a table of kinds; 1 if a picture was not treated as it must be, or something grew."""
    parser = argparse.ArgumentParser(
        prog="scripts/hostile-pictures", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--pictures", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    process = PictureProcess()
    try:
        pictures = islice(hostile_pictures(args.seed), args.pictures)
        outcome = inspect_all(pictures, process, show=True)
    finally:
        process.stop()
    print("| kind | pictures | refused | seen |\n| --- | --- | --- | --- |")
    for kind, counts in sorted(outcome.kinds.items()):
        print(f"| {kind} | {counts.total()} | {counts['refused']} | {counts['seen']} |")
    facts = {"pictures": args.pictures, "wrong": len(outcome.wrong), "starts": outcome.starts}
    facts |= {"seconds": round(outcome.seconds), **outcome.grown}
    print(json.dumps(facts | {"slowest_ms": round(outcome.slowest_s * 1000)}))
    for line in outcome.wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if outcome.wrong or grew(outcome) else 0


def grew(outcome: Outcome) -> bool:
    """True if memory or open files have grown."""
    files = outcome.grown["daemon_files"] + outcome.grown["child_files"]
    return files > 0 or max(outcome.grown["daemon_bytes"], outcome.grown["child_bytes"]) > _GROWTH


if __name__ == "__main__":
    sys.exit(main())
