"""Card and pictures of a bundle: text and plots of a sane size, and nothing that hides in them."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import golden_x, manifest, mean_model

from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle, write_bundle
from edge_agent.models.bundle.card import card_problems

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + body).to_bytes(4, "big")
    return struct.pack(">I", len(body)) + kind + body + checksum


def header(width: int = 2, height: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


PIXELS = chunk(b"IDAT", zlib.compress(b"\0ab\0cd"))
END = chunk(b"IEND")
PNG = MAGIC + header() + PIXELS + END


def write(folder: Path, extras: Mapping[str, bytes]) -> None:
    x = golden_x()
    golden = ({"x": x}, {"score": x.mean(axis=(1, 2))})
    write_bundle(folder, manifest(), mean_model(), golden, extras=extras)


def test_a_card_with_a_picture_is_part_of_the_bundle(tmp_path: Path) -> None:
    write(tmp_path / "mean", {"card.md": "# Größe\n![](loss.png)".encode(), "loss.png": PNG})
    assert verify_bundle(tmp_path / "mean") == []
    assert {"card.md", "loss.png"} < set(load_manifest(tmp_path / "mean").sha256)


@pytest.mark.parametrize(
    "name", ["setup.py", "card.MD", "../card.md", "sub/loss.png", "LOSS.png", ".png", "a.png.exe"]
)
def test_no_other_file_can_be_added(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not belong"):
        write(tmp_path / "mean", {name: PNG})
    assert list(tmp_path.iterdir()) == []


def test_a_changed_picture_breaks_the_checksum(tmp_path: Path) -> None:
    write(tmp_path / "mean", {"loss.png": PNG})
    (tmp_path / "mean" / "loss.png").write_bytes(MAGIC + header(3, 3) + PIXELS + END)
    assert [problem.reason for problem in verify_bundle(tmp_path / "mean")] == ["checksum"]


def test_a_picture_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mean", {})
    (tmp_path / "mean" / "loss.png").write_bytes(PNG)
    assert "does not belong" in verify_bundle(tmp_path / "mean")[0].text


def test_too_many_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="at most 8 variants and 16 pictures"):
        write(tmp_path / "mean", {f"p{number}.png": PNG for number in range(17)})


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"<script>alert(1)</script>", "not a PNG picture"),
        (b"GIF89a", "not a PNG picture"),
        (b"\xff\xd8\xff\xe0JFIF", "not a PNG picture"),
        (MAGIC, "not a complete PNG"),
        (MAGIC + END, "not a complete PNG"),
        (MAGIC + PIXELS + END, "not a complete PNG"),
        (PNG[:-1], "not a complete PNG"),
        (PNG[:20], "not a complete PNG"),
        (PNG + b"<script>", "not a complete PNG"),
        (PNG + PNG, "not a complete PNG"),
        (MAGIC + header() + header() + END, "not a complete PNG"),
        (MAGIC + header() + 4094 * chunk(b"tEXt") + END + b"<script>", "not a complete PNG"),
        (MAGIC + header(0, 5) + PIXELS + END, "without size"),
        (MAGIC + header(65535, 65535) + PIXELS + END, "more than 4096 pixels"),
        (MAGIC + header() + chunk(b"zTXt", zlib.compress(bytes(1 << 20))) + END, "no plot needs"),
        (MAGIC + header() + chunk(b"iCCP", b"x") + END, "no plot needs"),
        (MAGIC + chunk(b"IHDR", b"short") + END, "without size"),
        (MAGIC + header() + struct.pack(">I", 1 << 31) + b"IDAT" + END, "not a complete PNG"),
    ],
)
def test_what_only_calls_itself_a_picture_is_refused(raw: bytes, told: str, tmp_path: Path) -> None:
    """Its checksum is right: only the look into it can tell."""
    write(tmp_path / "mean", {"loss.png": raw})
    (problem,) = verify_bundle(tmp_path / "mean")
    assert problem.reason == "files"
    assert "loss.png" in problem.text
    assert told in problem.text


def test_a_card_is_text(tmp_path: Path) -> None:
    write(tmp_path / "mean", {"card.md": b"\xff\xfe\x00"})
    assert "card.md: not UTF-8 text" in verify_bundle(tmp_path / "mean")[0].text


def test_a_picture_of_too_many_bytes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mean", {"loss.png": PNG + bytes(2 << 20)})
    assert "larger than 2 MiB" in verify_bundle(tmp_path / "mean")[0].text


@given(st.data())
def test_any_damage_to_a_picture_is_seen(data: st.DataObject) -> None:
    """Every byte of a PNG lies under a checksum, a length or the signature."""
    raw = bytearray(PNG)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert list(card_problems("loss.png", bytes(raw)))


@given(st.binary(max_size=300))
def test_garbage_is_no_picture_and_never_an_error_of_ours(raw: bytes) -> None:
    assert list(card_problems("loss.png", raw))
    assert list(card_problems("loss.png", MAGIC + raw))
    with suppress(StopIteration):
        next(card_problems("card.md", raw))
