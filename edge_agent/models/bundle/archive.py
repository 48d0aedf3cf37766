"""A bundle as one file, `<name>-<version>.eab`: a ZIP that stores its members uncompressed.

Without compression nothing can unpack to more than the size of the file; the same bundle always
results in the same bytes.
"""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import bundle_files, file_problems, read_file
from edge_agent.models.bundle.folder import durable, write_folder
from edge_agent.models.bundle.kinds import MANIFEST
from edge_agent.models.bundle.manifest_text import KINDS, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from edge_agent.models.bundle.manifest import Manifest

SUFFIX: Final = ".eab"
MAX_BYTES: Final = 1 << 30
_MAX_MEMBERS: Final = 32
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest date in a ZIP
_MODE: Final = (stat.S_IFREG | 0o644) << 16
_UNIX: Final = 3
_FLAGS: Final = 0x800  # names are UTF-8; all other flags mean encryption or patches
_LOCAL: Final = struct.Struct("<4s22sHH")  # a member's head, up to the lengths of name and extra
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_CENTRAL_BYTES: Final = 46  # a member's entry in the index, without its name
_END_BYTES: Final = 22  # the end of the index
_MORE: Final = "holds bytes that belong to no file of it"
# The exceptions of zipfile on invalid data.
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    ValueError,
    EOFError,
    RuntimeError,
    OverflowError,
    MemoryError,
    OSError,
)


def packed_file(manifest: Manifest, target: Path) -> Path:
    """The file that `pack` writes for `target`: that file, or one in that folder."""
    return target / f"{manifest.name}-{manifest.version}{SUFFIX}" if target.is_dir() else target


def pack(folder: Path, target: Path) -> Path:
    """Write the bundle in `folder` as one file; `target` is that file, or a folder for it.

    Its checksums must match; nothing is run. Returns the file. ModelError if it cannot be read or
    written; an existing file is replaced as a whole.
    """
    raw = read_file(folder, MANIFEST)
    manifest = parse_manifest(raw, folder / MANIFEST)
    file = packed_file(manifest, target)
    with durable(file) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in bundle_files(folder, raw):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = _MODE
            info.create_system = _UNIX
            archive.writestr(info, content)
    return file


def unpack(file: Path, folder: Path) -> Manifest:
    """Write the bundle in an archive to `folder`; it is as untrusted as any other bundle.

    ModelError unless the archive has only plain files of a bundle, each within its size limit and
    none twice, and nothing beside them; `folder` is unchanged then.
    """
    with _opened(file) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = _members(archive, os.fstat(stream.fileno()).st_size)
                _refuse_more(stream, archive)
                manifest = parse_manifest(_content(archive, members[MANIFEST]), file / MANIFEST)
                write_folder(folder, ((name, _content(archive, m)) for name, m in members.items()))
        except _UNREADABLE as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"not a bundle's archive: {text}", where=str(file)) from error
        except ModelError as error:
            raise ModelError(error.message, where=error.where or str(file)) from error
    return manifest


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """The bundle in an archive as a private folder, for the duration of a `with`; see `unpack`."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-") as scratch:
        folder = Path(scratch) / "bundle"
        unpack(file, folder)
        yield folder


@contextmanager
def copied(source: Path) -> Iterator[Path]:
    """A private copy of a bundle that no other process can change, for the duration of a `with`.

    ModelError if its files do not match its manifest.
    """
    raw = read_file(source, MANIFEST)
    problems = file_problems(source, parse_manifest(raw, source / MANIFEST))
    if problems:
        raise ModelError(problems[0].text)
    with tempfile.TemporaryDirectory(prefix="edge-agent-") as scratch:
        folder = Path(scratch) / "bundle"
        write_folder(folder, bundle_files(source, raw))
        yield folder


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        # NONBLOCK: a pipe would wait for ever.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("is not a plain file", where=str(file))
        if status.st_size > MAX_BYTES:
            raise ModelError(f"is larger than {MAX_BYTES >> 20} MiB", where=str(file))
        with open(handle, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(handle)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, all of which may be unpacked."""
    infos = archive.infolist()
    members = {info.orig_filename: info for info in infos}
    if len(infos) > _MAX_MEMBERS or len(members) != len(infos):
        raise ModelError(f"holds more than {_MAX_MEMBERS} files, or one twice")
    if MANIFEST not in members:
        raise ModelError(f"contains no {MANIFEST}")
    for name, info in members.items():
        _refuse_odd(name, info)
    if sum(info.file_size for info in infos) > size:
        raise ModelError("its files are larger than itself")
    return members


def _refuse_more(stream: IO[bytes], archive: zipfile.ZipFile) -> None:
    """ModelError for bytes that belong to no member: before, between or after them, or comments.

    Such a file is a bundle to us and may be a program, a picture or another archive to others.
    """
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    end = 0
    for info in infos:
        stream.seek(end)
        local = _LOCAL.unpack(stream.read(_LOCAL.size))
        if local[0] != _LOCAL_MAGIC or info.header_offset != end:
            raise ModelError(_MORE)
        end += _LOCAL.size + sum(local[-2:]) + info.compress_size
    index = sum(_CENTRAL_BYTES + len(info.orig_filename.encode()) for info in infos)
    extra = sum(len(info.extra) for info in infos)
    size = os.fstat(stream.fileno()).st_size
    if archive.start_dir != end or size != end + index + extra + _END_BYTES:
        raise ModelError(_MORE)


def _refuse_odd(name: str, info: zipfile.ZipInfo) -> None:
    """ModelError for files that no kind of bundle has; the manifest determines the kind later."""
    known = [kind.rules.max_bytes(name) for kind in KINDS.values()]
    most = max((size for size in known if size is not None), default=None)
    if most is None:
        raise ModelError(f"{name[:100]!r} does not belong in a bundle")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG} or info.is_dir():
        raise ModelError(f"{name} is not a plain file")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ~_FLAGS:
        raise ModelError(f"{name} is compressed or encrypted", hint="'edge-agent models pack' it")
    if info.file_size > most or info.compress_size != info.file_size:
        raise ModelError(f"{name} is larger than {most / (1 << 20):.3g} MiB, or lies about it")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(info.file_size + 1)
    except _UNREADABLE as error:
        raise ModelError(f"{info.filename}: {' '.join(str(error).split())[:200]}") from error
