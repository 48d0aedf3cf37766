"""PDF files, good and evil, written byte by byte."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = tuple[str, float, bool]  # text, size, True if it is white


def pdf(objects: Sequence[bytes]) -> bytes:
    """A file of the objects 1, 2, ...; the first is the catalogue."""
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )


def stream(data: bytes, extra: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), extra, data)


def written(lines: Sequence[Line]) -> bytes:
    """The content of a page: lines from the top."""
    parts, y = [b"BT"], 780.0
    for text, size, white in lines:
        colour = b"1 1 1 rg" if white else b"0 0 0 rg"
        shown = text.encode("latin-1").replace(b"(", b"\\(").replace(b")", b"\\)")
        parts.append(b"%s /F1 %g Tf 1 0 0 1 50 %g Tm (%s) Tj" % (colour, size, y, shown))
        y -= size * 1.4
    return b"\n".join([*parts, b"ET"])


FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def manual(pages: Sequence[Sequence[Line]]) -> bytes:
    """A document of pages with lines."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        FONT,
    ]
    for number, lines in enumerate(pages):
        objects.append(page(5 + 2 * number))
        objects.append(stream(written(lines)))
    return pdf(objects)


def page(content: int) -> bytes:
    return (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842]"
        b" /Resources << /Font << /F1 3 0 R >> >> /Contents %d 0 R >>" % content
    )


def endless(count: int) -> bytes:
    """Thousands of pages in a small file: all of them are one object."""
    kids = b"4 0 R " * count
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
            FONT,
            page(5),
            stream(written([("acknowledge all alarms", 12, False)])),
        ]
    )


def cyclic() -> bytes:
    """A page tree, an outline and a drawing that contain themselves."""
    outline = b"<< /Title (around) /Parent 6 0 R /Next 7 0 R /First 7 0 R /Dest [4 0 R /Fit] >>"
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 8 0 R >> >>"
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>",
            b"<< /Type /Pages /Kids [2 0 R 4 0 R 2 0 R] /Count 100000 >>",
            FONT,
            page(5).replace(b"/Font", b"/XObject << /X 8 0 R >> /Font"),
            stream(b"/X Do " + written([("a page among circles", 12, False)])),
            b"<< /Type /Outlines /First 7 0 R /Last 7 0 R /Count 9 >>",
            outline,
            stream(b"/X Do", form),
        ]
    )


def bomb(size: int = 1 << 28) -> bytes:
    """A page whose content unpacks to `size` bytes, packed twice."""
    packer = zlib.compressobj(9)
    piece = b"( ) Tj " * (1 << 17)
    once = b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()
    twice = zlib.compress(once, 9)
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
            FONT,
            page(5),
            stream(twice, b"/Filter [/FlateDecode /FlateDecode]"),
        ]
    )


def encrypted() -> bytes:
    """A document that needs a password, by the standard security handler."""
    raw = manual([[("secret", 12.0, False)]])
    odd = b"<%s>" % (b"5a" * 32)
    entry = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -44 /O %s /U %s >> /ID [<00><00>] " % (
        odd,
        odd,
    )
    return raw.replace(b"trailer << ", b"trailer << " + entry)
