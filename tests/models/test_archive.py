"""A bundle as one file: the same bytes each time, and read with no trust at all."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import write_mean_bundle

from edge_agent.errors import ModelError
from edge_agent.models.bundle import archive as archive_module
from edge_agent.models.bundle.archive import pack, unpack
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_mean_bundle(tmp_path / "mean", version="1.2")
    return tmp_path / "mean"


@pytest.fixture(scope="module")
def packed() -> bytes:
    """The bytes of a good archive."""
    with tempfile.TemporaryDirectory() as folder:
        write_mean_bundle(Path(folder) / "mean")
        return pack(Path(folder) / "mean", Path(folder)).read_bytes()


def there(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def remade(packed: bytes, change: object = None, **extra: bytes) -> bytes:
    """The archive with files added or replaced, otherwise as it was."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(packed)) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new,
    ):
        for info in old.infolist():
            if info.filename != change:
                new.writestr(info, extra.get(info.filename, old.read(info)))
        for name, raw in extra.items():
            if name not in old.namelist():
                new.writestr(name, raw)
    return target.getvalue()


def test_what_is_packed_comes_out_as_it_was(bundle: Path, tmp_path: Path) -> None:
    file = pack(bundle, tmp_path)
    assert file == tmp_path / "mean-1.2.eab"
    assert unpack(file, tmp_path / "out" / "mean").version == "1.2"
    assert verify_bundle(tmp_path / "out" / "mean") == []
    for path in bundle.iterdir():
        assert (tmp_path / "out" / "mean" / path.name).read_bytes() == path.read_bytes()


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    """Whenever it is packed, and whatever the times of its files are."""
    first = pack(bundle, tmp_path / "a.eab").read_bytes()
    for path in bundle.iterdir():
        os.utime(path, (1, 1))
    assert pack(bundle, tmp_path / "b.eab").read_bytes() == first


def test_a_bundle_whose_checksums_do_not_hold_is_not_packed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match="does not have the checksum"):
        pack(bundle, tmp_path)
    assert there(tmp_path) == {"mean", *(f"mean/{name}" for name in os.listdir(bundle))}  # noqa: PTH208


def _member(name: str, raw: bytes = b"x", **changes: Any) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        info = zipfile.ZipInfo(name)
        for key, value in changes.items():
            setattr(info, key, value)
        archive.writestr(info, raw)
        archive.writestr("model.yaml", "x")
    return target.getvalue()


def _twice() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model.yaml", "a")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("model.yaml", "b")
    return target.getvalue()


def _many() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(33):
            archive.writestr(f"p{number}.png", b"")
    return target.getvalue()


def _overlapping() -> bytes:
    """Two names for the same bytes: more comes out than is in."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model.onnx", bytes(1 << 20))
        archive.writestr("model.yaml", "x")
        archive.getinfo("model.yaml").header_offset = 0
        archive.getinfo("model.yaml").file_size = 1 << 20
        archive.getinfo("model.yaml").compress_size = 1 << 20
    return target.getvalue()


def _shifted(before: bytes, raw: bytes) -> bytes:
    """Bytes before an archive whose offsets know of them."""
    target = io.BytesIO(before)
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(target, "a") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target.getvalue()


def _commented(comment: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model.yaml", "x")
        archive.comment = comment
    return target.getvalue()


def _with_gap() -> bytes:
    """A member that the index does not list any more lies between two others."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model.onnx", "x")
        archive.writestr("evil.sh", "id")
        archive.writestr("model.yaml", "x")
        archive.filelist = [one for one in archive.filelist if one.filename != "evil.sh"]
    return target.getvalue()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "not a bundle's archive"),
        (b"PK\x05\x06" + bytes(18), "contains no model.yaml"),
        (b"\x1f\x8b\x08" + bytes(100), "not a bundle's archive"),
        (_member("../model.onnx"), "'../model.onnx' does not belong"),
        (_member("/etc/passwd"), "'/etc/passwd' does not belong"),
        (_member("sub/model.onnx"), "does not belong"),
        (_member("setup.py"), "'setup.py' does not belong"),
        (_member("model.onnxX.py").replace(b"onnxX.py", b"onnx\0.py"), "does not belong"),
        (_member("model.onnx", external_attr=(stat.S_IFLNK | 0o777) << 16), "not a plain file"),
        (_member("model.onnx", external_attr=(stat.S_IFIFO | 0o644) << 16), "not a plain file"),
        (_member("golden.npz", bytes(1 << 20), compress_type=zipfile.ZIP_DEFLATED), "compressed"),
        (_member("golden.npz", bytes(1 << 20), compress_type=zipfile.ZIP_BZIP2), "compressed"),
        (_member("model.sig", bytes(5000)), "model.sig is larger than 0.00391 MiB"),
        (_member("loss.png", bytes(3 << 20)), "loss.png is larger than 2 MiB"),
        (_twice(), "or one twice"),
        (_many(), "holds more than 32 files"),
        (_overlapping(), "larger than itself"),
        (b"#!/bin/sh\nid\n" + _member("model.onnx"), "belong to no file"),
        (_shifted(b"#!/bin/sh\nid\n", _member("model.onnx")), "belong to no file"),
        (_member("model.onnx") + b"trailer", "belong to no file"),
        (_commented(b"<script>"), "belong to no file"),
        (_member("model.onnx", comment=b"MZ"), "belong to no file"),
        (_with_gap(), "belong to no file"),
    ],
)
def test_an_archive_that_is_not_a_bundles_is_refused(raw: bytes, told: str, tmp_path: Path) -> None:
    """One readable error, and nothing is written anywhere."""
    (tmp_path / "evil.eab").write_bytes(raw)
    with pytest.raises(ModelError, match=r"evil\.eab") as refused:
        unpack(tmp_path / "evil.eab", tmp_path / "out")
    assert told in str(refused.value)
    assert there(tmp_path) == {"evil.eab"}


def test_encrypted_members_are_refused(packed: bytes, tmp_path: Path) -> None:
    raw = bytearray(packed)
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 8] |= 1
    (tmp_path / "evil.eab").write_bytes(raw)
    with pytest.raises(ModelError, match="encrypted"):
        unpack(tmp_path / "evil.eab", tmp_path / "out")


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.mkdir(), lambda _: None])
def test_what_is_no_file_is_refused_at_once(make: object, tmp_path: Path) -> None:
    """A pipe would wait for ever."""
    make(tmp_path / "evil.eab")  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"evil\.eab"):
        unpack(tmp_path / "evil.eab", tmp_path / "out")


def test_an_archive_that_is_too_large_is_not_even_opened(tmp_path: Path) -> None:
    with (tmp_path / "big.eab").open("wb") as file:
        file.truncate(archive_module.MAX_BYTES + 1)
    with pytest.raises(ModelError, match="larger than 1024 MiB"):
        unpack(tmp_path / "big.eab", tmp_path / "out")


def test_what_is_refused_leaves_the_folder_that_was_there(packed: bytes, tmp_path: Path) -> None:
    """The last member is damaged: those before it were written, and are gone again."""
    write_mean_bundle(tmp_path / "out", version="old")
    raw = bytearray(packed)
    raw[raw.index(b"PK\x01\x02") - 5] ^= 1
    (tmp_path / "evil.eab").write_bytes(raw)
    with pytest.raises(ModelError, match="CRC"):
        unpack(tmp_path / "evil.eab", tmp_path / "out")
    assert load_manifest(tmp_path / "out").version == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"evil.eab", "out"}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_unpacked_or_refused(packed: bytes, data: st.DataObject) -> None:
    """Bytes changed, inserted or cut anywhere: an error of ours, or a bundle of the same bytes."""
    raw = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        near_end = data.draw(st.booleans())
        at = data.draw(st.integers(max(0, len(raw) - 400) if near_end else 0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "damaged.eab"
        file.write_bytes(raw)
        with suppress(ModelError):
            unpack(file, Path(folder) / "out")
        assert {path.name for path in Path(folder).iterdir()} <= {"damaged.eab", "out"}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_no_archive(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "garbage.eab"
        file.write_bytes(raw)
        with pytest.raises(ModelError):
            unpack(file, Path(folder) / "out")


def test_an_archive_with_another_manifest_does_not_verify(packed: bytes, tmp_path: Path) -> None:
    """Unpacking is no judgement: whoever unpacks must verify."""
    swapped = remade(packed, **{"model.onnx": b"other"})
    (tmp_path / "x.eab").write_bytes(swapped)
    unpack(tmp_path / "x.eab", tmp_path / "out")
    assert [problem.reason for problem in verify_bundle(tmp_path / "out")] == ["checksum"]
