"""Decodes JPEG and PNG pictures of strangers within limits. Runs in children only: needs Pillow.

The header is read here first, so that Pillow, with its two decoders alone, never sees anything that
is too large or of another form. Colour profiles are ignored: cameras of a plant have none that
matters, and what learning and operation see is the same.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

    Pixels = NDArray[np.uint8]

_GREY: Final = 128  # of what is transparent, as of what is masked
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_MAX_SCANS: Final = 100  # of a progressive JPEG: each costs a whole pass
_MAX_CHUNKS: Final = 100_000
_LEAST_SIDE: Final = 16
_ORIENTATION: Final = 0x0112  # of EXIF
# What the first bytes of other forms are, by what people send by mistake.
_OTHERS: Final = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
)
_IHDR: Final = struct.Struct("!IIBBBBB")
_CHUNK: Final = struct.Struct("!I4s")
_CRC: Final = 4
_FRAME: Final = struct.Struct("!BHHB")
_MARK: Final = 0xFF
_SOS: Final = 0xDA
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
_SOF_OTHERS: Final = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_BITS: Final = 8
_CMYK: Final = 4
# Quality, and share of the side: the first that is small enough is taken.
_QUALITIES: Final = ((85, 1.0), (70, 1.0), (50, 1.0), (50, 0.7), (40, 0.5), (30, 0.25))
_HINT: Final = "let the camera send JPEG or PNG"


# The StatusCode of a picture by the reason for which it was refused; else BadDecodingError.
_STATUSES: Final = {
    "too_large": 0x8008_0000,  # BadEncodingLimitsExceeded
    "form": 0x8039_0000,  # BadDataEncodingUnsupported
    "depth": 0x8039_0000,
    "colours": 0x8039_0000,
    "animated": 0x8039_0000,
    "memory": 0x8003_0000,  # BadOutOfMemory
    "timeout": 0x800A_0000,  # BadTimeout
    "no_picture": 0x809B_0000,  # BadNoData
    "mask": 0x8089_0000,  # BadConfigurationError
}
_BAD_DECODING: Final = 0x8007_0000


def status_of(reason: str) -> int:
    """The OPC UA StatusCode of a picture that was refused for this reason."""
    return _STATUSES.get(reason, _BAD_DECODING)


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a picture may be at most: encoded bytes, and pixels."""

    max_bytes: int = 8 << 20
    max_pixels: int = 25_000_000


def decode(data: bytes, limits: PictureLimits = PictureLimits()) -> Pixels:
    """The picture as uint8 [height, width, 3], upright by its EXIF; grey and palette as RGB.

    DecodeError says why it is refused; its reason is a word for metrics.
    """
    size = check_header(data, limits)
    kind = "PNG" if data.startswith(_PNG) else "JPEG"
    try:
        from PIL import Image  # noqa: PLC0415 (an extra; the daemon never gets here)
    except ImportError as error:
        hint = "pip install 'edge-agent-pdm[pictures]'"
        raise DecodeError("decoder", f"Pillow is not installed: {hint}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                return _upright(image, size)
        except DecodeError:
            raise
        except MemoryError as error:
            raise DecodeError("too_large", "it needs more memory than is allowed") from error
        except Exception as error:  # (Pillow raises a dozen kinds for damaged data)
            raise DecodeError("damaged", f"a damaged {kind}: {_line(error)}") from error


def decode_mask(data: bytes, limits: PictureLimits = PictureLimits()) -> NDArray[np.bool_]:
    """A mask from a PNG: True where it is black, which is not looked at."""
    hidden: NDArray[np.bool_] = decode(data, limits).max(axis=2) < _GREY
    return hidden


def encode_jpeg(picture: Pixels, side: int, most_bytes: int) -> bytes:
    """A small JPEG without any metadata: its longer side at most `side` pixels."""
    from PIL import Image  # noqa: PLC0415 (an extra; the daemon never gets here)

    image = Image.fromarray(picture)
    for quality, part in _QUALITIES:
        small = image.copy()
        small.thumbnail((round(side * part),) * 2)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=quality)
        if out.tell() <= most_bytes:
            break
    return out.getvalue() if out.tell() <= most_bytes else b""


# -- the header -----------------------------------------------------------------------------------


def check_header(data: bytes, limits: PictureLimits = PictureLimits()) -> tuple[int, int]:
    """Width and height by the header; DecodeError if the form or the size is refused."""
    if len(data) > limits.max_bytes:
        text = f"{len(data)} bytes, more than max_bytes ({limits.max_bytes})"
        raise DecodeError("too_large", text)
    if data.startswith(_PNG):
        width, height = _png_size(data)
    elif data.startswith(_JPEG):
        width, height = _jpeg_size(data)
    else:
        raise DecodeError("form", f"{_form(data)}: {_HINT}")
    if width * height > limits.max_pixels:
        text = f"{width} x {height} pixels, more than max_pixels ({limits.max_pixels})"
        raise DecodeError("too_large", text)
    if min(width, height) < _LEAST_SIDE:
        text = f"{width} x {height} pixels: each side has at least {_LEAST_SIDE}"
        raise DecodeError("too_small", text)
    return width, height


def _form(data: bytes) -> str:
    """What data is that is neither JPEG nor PNG."""
    if not data:
        return "empty"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return "an AVIF or HEIC picture, or a video"
    start = data[:1024].lstrip().lower()
    if b"<svg" in start:
        return "an SVG"
    return "text, no picture" if start[:1] in {b"<", b"{", b"["} else "neither JPEG nor PNG"


def _png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG that is whole, not animated, and of 8 bits at most."""
    chunks = _png_chunks(data)
    name, start, length = next(chunks, (b"", 0, 0))
    if name != b"IHDR" or length != _IHDR.size:
        raise DecodeError("damaged", "a damaged PNG: it has no header")
    width, height, bits, *_ = _IHDR.unpack_from(data, start)
    if bits > _BITS:
        raise DecodeError("depth", f"a PNG of {bits} bits a colour: send 8 bits")
    for name, _, _ in chunks:
        if name == b"acTL":
            raise DecodeError("animated", f"an animated PNG: {_HINT} of one picture")
        if name == b"IEND":
            return width, height
    raise DecodeError("truncated", "a truncated PNG: it has no end")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each whole chunk."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if at + _CHUNK.size + _CRC > len(data):
            return
        length, name = _CHUNK.unpack_from(data, at)
        start = at + _CHUNK.size
        at = start + length + _CRC
        if at <= len(data):
            yield name, start, length


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that is whole, of 8 bits, grey or in colour."""
    size: tuple[int, int] | None = None
    for marker, start in _jpeg_segments(data):
        if marker == _SOS and size is not None:
            break
        if marker in _SOF_OTHERS:
            raise DecodeError(
                "form", "a JPEG without loss or with arithmetic coding: send baseline"
            )
        if marker in _SOF:
            size = _jpeg_frame(data, start)
    else:
        raise DecodeError("truncated", "a truncated JPEG: it has no picture")
    scans = data.count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise DecodeError("too_large", f"a JPEG of {scans} passes: send baseline")
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise DecodeError("truncated", "a truncated JPEG: it has no end")
    return size


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, until the data of the picture begins."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != _MARK:
            raise DecodeError("damaged", "a damaged JPEG: a segment does not begin where it should")
        marker = data[at + 1]
        if marker == _MARK:  # a fill byte
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        yield marker, at + 4
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))


def _jpeg_frame(data: bytes, at: int) -> tuple[int, int]:
    if at + _FRAME.size > len(data):
        raise DecodeError("truncated", "a truncated JPEG: its header is not whole")
    bits, height, width, colours = _FRAME.unpack_from(data, at)
    if bits != _BITS:
        raise DecodeError("depth", f"a JPEG of {bits} bits a colour: send 8 bits")
    if colours == _CMYK:
        raise DecodeError("colours", "a JPEG in CMYK, which is for print: send RGB or grey")
    if colours not in {1, 3}:
        raise DecodeError("colours", f"a JPEG of {colours} colours: send RGB or grey")
    return width, height


# -- the pixels -----------------------------------------------------------------------------------


def _upright(image: Image.Image, size: tuple[int, int]) -> Pixels:
    if image.size != size:
        raise DecodeError("damaged", "a damaged picture: it names two sizes")
    turn = _TURNS.get(_orientation(image), np.asarray)
    return np.ascontiguousarray(turn(_pixels(image)))


def _pixels(image: Image.Image) -> Pixels:
    """RGB; what is transparent becomes grey, as if it were masked."""
    from PIL import Image  # noqa: PLC0415 (as above)

    if image.mode in {"RGB", "L", "1"}:
        return np.asarray(image.convert("RGB"))
    if image.mode not in {"RGBA", "LA", "P", "PA"}:
        raise DecodeError("colours", f"a picture in {image.mode}: send RGB or grey")
    rgba = image.convert("RGBA")
    ground = Image.new("RGB", rgba.size, (_GREY,) * 3)
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(ground)


def _orientation(image: Image.Image) -> int:
    """How the picture is to be turned, by EXIF; 1, as it is, if that cannot be read."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (damaged EXIF is no damaged picture)
        return 1
    return found if isinstance(found, int) else 1


# EXIF 2.32, 4.6.4.A: what the viewer does with the picture.
_TURNS: Final[dict[int, Callable[[Pixels], Pixels]]] = {
    2: np.fliplr,
    3: lambda one: np.rot90(one, 2),
    4: np.flipud,
    5: lambda one: one.transpose(1, 0, 2),
    6: lambda one: np.rot90(one, -1),
    7: lambda one: np.rot90(one, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def _line(error: Exception) -> str:
    """One short printable line."""
    if type(error).__name__ == "UnidentifiedImageError":  # its text names an object in memory
        return "its header cannot be read"
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(one if one.isprintable() else "?" for one in text)[:200]
