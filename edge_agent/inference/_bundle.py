"""A bundle on disk: reading it with suspicion, writing it in one piece.

A bundle is a folder with exactly three plain files. Whatever needs the model to be parsed or run
happens in a child process with little memory and time (`_probe`); nothing here parses it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import ModelError
from edge_agent.inference._golden import dump_golden
from edge_agent.inference._guard import probe
from edge_agent.inference._manifest import (
    GOLDEN,
    MANIFEST,
    MODEL,
    Manifest,
    dump_manifest,
    parse_manifest,
)

if TYPE_CHECKING:
    from edge_agent.inference._golden import Tensors

MAX_BYTES: Final = {MANIFEST: 4 << 20, MODEL: 512 << 20, GOLDEN: 64 << 20}


class Problem(NamedTuple):
    """Why a bundle is refused.

    reason: a bounded label for metrics (files, manifest, checksum, graph, golden, limits).
    """

    reason: str
    text: str

    def __str__(self) -> str:
        return self.text


def load_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`; ModelError where it is not there or not valid."""
    return parse_manifest(read_file(folder, MANIFEST), folder / MANIFEST)


def read_file(folder: Path, name: str) -> bytes:
    """One file of a bundle, whole; ModelError for anything but a plain file of a sane size.

    A model with a second name on disk (a hard link) is refused: it may not be this bundle's own.
    """
    path = folder / name
    try:
        # NOFOLLOW: a link leads out of the folder. NONBLOCK: a pipe would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("is not a plain file", where=str(path))
        if name == MODEL and status.st_nlink > 1:
            raise ModelError("is a hard link", where=str(path), hint="copy the file")
        _refuse_larger(status.st_size, path)
        with open(handle, "rb", closefd=False) as file:
            raw = file.read(MAX_BYTES[name] + 1)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    finally:
        os.close(handle)
    _refuse_larger(len(raw), path)
    return raw


def read_checked(folder: Path, manifest: Manifest, name: str) -> bytes:
    """One file of a bundle, which must have the checksum that its manifest states."""
    raw = read_file(folder, name)
    if sha256(raw).hexdigest() != manifest.sha256.get(name):
        raise ModelError("does not have the checksum in model.yaml", where=str(folder / name))
    return raw


def verify_bundle(folder: Path) -> list[Problem]:
    """Everything that is wrong with a bundle; an empty list means that it may be loaded.

    Files and checksums here; the graph (operators, inputs, outputs, no external data) and the
    golden vectors in a child process with bounded memory and time.
    """
    try:
        problems = _extra_files(folder)
        manifest = load_manifest(folder)
    except ModelError as error:
        return [Problem("manifest", str(error))]
    for name in (MODEL, GOLDEN):
        try:
            read_checked(folder, manifest, name)
        except ModelError as error:
            problems.append(Problem("checksum", str(error)))
    return problems or [Problem(*found) for found in probe(folder)]


def write_bundle(
    folder: Path, manifest: Manifest, onnx_bytes: bytes, golden: tuple[Tensors, Tensors]
) -> Manifest:
    """Write a bundle so that `folder` is never seen half written; gives it with its checksums.

    golden: inputs and outputs by tensor. An earlier bundle of that name is replaced.
    """
    files = {MODEL: onnx_bytes, GOLDEN: dump_golden(*golden)}
    sums = {name: sha256(raw).hexdigest() for name, raw in files.items()}
    manifest = replace(manifest, sha256=sums)
    files[MANIFEST] = dump_manifest(manifest)
    parse_manifest(files[MANIFEST], folder / MANIFEST)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
            new = Path(scratch) / "bundle"
            new.mkdir(mode=0o755)
            for name, raw in files.items():
                _write_durably(new / name, raw)
            _replace(folder, new, Path(scratch))
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    return manifest


def _extra_files(folder: Path) -> list[Problem]:
    try:
        found = sorted(os.listdir(folder))  # noqa: PTH208 (names, not paths)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(folder)) from error
    extra = [name for name in found if name not in MAX_BYTES]
    return [Problem("files", f"{folder}: {name!r} does not belong into a bundle") for name in extra]


def _refuse_larger(size: int, path: Path) -> None:
    most = MAX_BYTES[path.name]
    if size > most:
        raise ModelError(f"is larger than {most >> 20} MiB", where=str(path))


def _write_durably(path: Path, raw: bytes) -> None:
    with path.open("xb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _replace(folder: Path, new: Path, scratch: Path) -> None:
    """Put `new` in the place of `folder`.

    No folder can be renamed over one that has files, so for an instant there is none: who loads
    just then is told so and keeps the model it has.
    """
    old = scratch / "old"
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
