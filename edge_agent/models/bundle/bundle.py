"""A bundle on disk: its files are read as untrusted, and written in one step.

A bundle is a folder of a few plain files, each listed with its checksum. The model is parsed and
run in a child process only, with little memory and time (`probe`); nothing here parses it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import ModelError
from edge_agent.models.bundle.card import card_problems
from edge_agent.models.bundle.folder import write_folder
from edge_agent.models.bundle.golden import Golden, dump_golden
from edge_agent.models.bundle.kinds import (
    GOLDEN,
    MANIFEST,
    MODEL,
    OWN_FILES,
    SIGNATURE,
    variant_file,
    variant_of,
)
from edge_agent.models.bundle.manifest_text import KINDS, dump_manifest, parse_manifest
from edge_agent.models.bundle.sandbox import probe
from edge_agent.models.bundle.variants import Trial, parse_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest

_NO_FILES: Final[Mapping[str, bytes]] = {}


class Problem(NamedTuple):
    """Why a bundle is refused.

    reason: a bounded label for metrics (files, manifest, checksum, signature, graph, golden,
    limits).
    """

    reason: str
    text: str

    def __str__(self) -> str:
        return self.text


def load_manifest(folder: Path, kinds: Mapping[str, type[Manifest]] = KINDS) -> Manifest:
    """The manifest of the bundle in `folder`; ModelError if it is missing or not valid."""
    return parse_manifest(read_file(folder, MANIFEST), folder / MANIFEST, kinds)


def read_file(folder: Path, name: str, max_bytes: int | None = None) -> bytes:
    """One whole file of a bundle; ModelError unless it is a plain file within its size limit.

    A model with a second name on disk (a hard link) is refused: it may not be this bundle's own.
    max_bytes: required for all files except those that any kind of bundle has.
    """
    path = folder / name
    most = OWN_FILES.get(name, 0) if max_bytes is None else max_bytes
    try:
        # NOFOLLOW: a link leads out of the folder. NONBLOCK: a pipe would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("is not a plain file", where=str(path))
        if name.endswith(".onnx") and status.st_nlink > 1:
            raise ModelError("is a hard link", where=str(path), hint="copy the file")
        _refuse_larger(status.st_size, most, path)
        with open(handle, "rb", closefd=False) as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    finally:
        os.close(handle)
    _refuse_larger(len(raw), most, path)
    return raw


def read_checked(folder: Path, manifest: Manifest, name: str) -> bytes:
    """One file of a bundle, which must have the checksum in its manifest."""
    raw = read_file(folder, name, manifest.rules.max_bytes(name) or 0)
    if sha256(raw).hexdigest() != manifest.sha256.get(name):
        raise ModelError("does not have the checksum in model.yaml", where=str(folder / name))
    return raw


def bundle_files(source: Path, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The files that the manifest `raw` lists, each with its checksum, and the signature."""
    manifest = parse_manifest(raw, source / MANIFEST)
    yield MANIFEST, raw
    if (source / SIGNATURE).is_file():
        yield SIGNATURE, read_file(source, SIGNATURE)
    for name in manifest.sha256:
        yield name, read_checked(source, manifest, name)


def verify_bundle(folder: Path, kinds: Mapping[str, type[Manifest]] = KINDS) -> list[Problem]:
    """All problems of a bundle; an empty list means that it may be loaded.

    Files and checksums here; the graph (operators, inputs, outputs, no external data) and the
    golden vectors in a child process with bounded memory and time.
    """
    return try_bundle(folder, kinds)[0]


def try_bundle(
    folder: Path, kinds: Mapping[str, type[Manifest]] = KINDS
) -> tuple[list[Problem], Trial]:
    """Like `verify_bundle`, with the child's measurements of the variants on this device."""
    try:
        raw = read_file(folder, MANIFEST)
        manifest = parse_manifest(raw, folder / MANIFEST, kinds)
    except ModelError as error:
        return [Problem("manifest", str(error))], Trial()
    return try_files(folder, manifest, raw)


def try_files(folder: Path, manifest: Manifest, raw: bytes) -> tuple[list[Problem], Trial]:
    """Like `try_bundle`, only for the files that the manifest in `raw` lists."""
    problems = file_problems(folder, manifest)
    if problems:
        return problems, Trial()
    found = probe(folder, sha256(raw).hexdigest(), manifest.rules)
    trial = parse_trial(found.trial, manifest)
    return [Problem(*each) for each in found.problems], trial


def file_problems(folder: Path, manifest: Manifest) -> list[Problem]:
    """The problems of a bundle's files, before anything of it is run."""
    try:
        found = sorted(os.listdir(folder))  # noqa: PTH208 (names, not paths)
    except OSError as error:
        return [Problem("files", f"{folder}: cannot be read: {error.strerror}")]
    listed = {*manifest.rules.files, *manifest.sha256}
    extra = [name for name in found if name not in {MANIFEST, SIGNATURE, *listed}]
    problems = [
        Problem("files", f"{folder}: {name!r} does not belong in a bundle") for name in extra
    ]
    return problems + [
        found for name in sorted(listed) for found in _listed(folder, manifest, name)
    ]


def write_bundle(  # noqa: PLR0913 (the parts of a bundle)
    folder: Path,
    manifest: Manifest,
    onnx_bytes: bytes | None,
    golden: Golden | tuple[Tensors, Tensors],
    *,
    variants: Mapping[str, bytes] = _NO_FILES,
    extras: Mapping[str, bytes] = _NO_FILES,
) -> Manifest:
    """Write a bundle so that `folder` is never seen half written; returns it with its checksums.

    onnx_bytes: None for a kind without a graph. golden: inputs and outputs by tensor, of fp32.
    variants: ONNX bytes by name (int8). extras: `card.md` and its pictures, and other files that
    bundles of its kind may have. An earlier bundle of that name is replaced. ModelError if it
    cannot be written or its manifest is not valid.
    """
    rules = manifest.rules
    unknown = [name for name in extras if variant_of(name) or not rules.is_listed(name)]
    if unknown:
        raise ModelError(f"{unknown[0]!r} does not belong in a bundle", where=str(folder))
    files = {GOLDEN: dump_golden(*golden), **extras}
    if onnx_bytes is not None:
        files[MODEL] = onnx_bytes
    files |= {variant_file(variant): raw for variant, raw in variants.items()}
    sums = {name: sha256(raw).hexdigest() for name, raw in files.items()}
    manifest = replace(manifest, sha256=sums, variants=tuple(variants))
    files[MANIFEST] = dump_manifest(manifest)
    parse_manifest(files[MANIFEST], folder / MANIFEST, {manifest.kind: type(manifest)})
    write_folder(folder, files.items())
    return manifest


def _listed(folder: Path, manifest: Manifest, name: str) -> Iterator[Problem]:
    try:
        raw = read_checked(folder, manifest, name)
    except ModelError as error:
        yield Problem("checksum", str(error))
        return
    if variant_of(name) is None:
        yield from (
            Problem("files", f"{folder / name}: {text}") for text in card_problems(name, raw)
        )


def _refuse_larger(size: int, most: int, path: Path) -> None:
    if size > most:
        raise ModelError(f"is larger than {most / (1 << 20):.3g} MiB", where=str(path))
