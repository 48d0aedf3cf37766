"""`models keygen`, `sign`, `pack` and `inspect`: commands for the maker of a model."""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.cli.models.verb import Verb, add_json, private_copy, say
from edge_agent.cli.waiting import waiting
from edge_agent.errors import EdgeAgentError, ModelError, UsageError
from edge_agent.models import (
    SUFFIX,
    allowed_operators,
    bundle_from_onnx,
    claimed_signer,
    generate_keys,
    inspect_onnx,
    key_id,
    load_manifest,
    pack,
    packed_file,
    read_manifest,
    read_public_key,
    sign_bundle,
    try_bundle,
    unpacked,
    write_file,
)
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSPECT_HINT: Final = (
    "`edge-agent models inspect` shows the graph, `--operators` the allowed operators"
)


def _declare_keygen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="writes FILE.key and FILE.pub")
    add_json(parser)


def _declare_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="PATH", help=f"a bundle's folder or {SUFFIX}")
    parser.add_argument("--key", type=Path, required=True, help="the private key (PEM)")
    add_json(parser)


def _declare_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="FOLDER|ONNX", help="a bundle, or a model")
    parser.add_argument(
        "--manifest", type=Path, help="model.yaml of an ONNX; default: in the same folder"
    )
    parser.add_argument("--golden", type=Path, help="NPZ of golden inputs; default: random ones")
    parser.add_argument(
        "--variant",
        type=_variant,
        action="append",
        default=[],
        metavar="NAME=ONNX",
        help="another file of the same model, such as int8=small.onnx",
    )
    parser.add_argument(
        "--negate-score",
        action="store_true",
        help="the graph's score is low for anomalies, as in scikit-learn",
    )
    parser.add_argument("--key", type=Path, help="sign it with this private key")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="file or folder")
    parser.add_argument(
        "--force", action="store_true", help="replace an existing file of the same version"
    )
    add_json(parser)


def _declare_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="ONNX", help="a model")
    parser.add_argument(
        "--operators", action="store_true", help="list all operators that are allowed in a bundle"
    )
    add_json(parser)


def _keygen(args: argparse.Namespace) -> int:
    private, public = (Path(f"{args.file}.{end}") for end in ("key", "pub"))
    private_pem, public_pem = generate_keys()
    with as_owner_of(private.parent):
        _write_new(private, private_pem, 0o600)
        _write_new(public, public_pem, 0o644)
    name = key_id(read_public_key(public))
    text = f"{private} (keep it secret)\n{public}: key {name}, for trust.keys of the gateways"
    say(args, {"private": str(private), "public": str(public), "key_id": name}, text)
    return 0


def _write_new(file: Path, raw: bytes, mode: int) -> None:
    """Write a new file. An overwritten key would be lost, and all its signatures with it."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
    except FileExistsError:
        hint = "choose another name"
        raise UsageError("already exists", where=str(file), hint=hint) from None
    except OSError as error:
        raise EdgeAgentError(f"cannot be written: {error.strerror}", where=str(file)) from error


def _sign(args: argparse.Namespace) -> int:
    if args.bundle.is_dir():
        signer = sign_bundle(args.bundle, args.key)
    else:
        with unpacked(args.bundle) as folder:
            signer = sign_bundle(folder, args.key)
            _write(args.bundle, _packed(folder))
    row = {"bundle": str(args.bundle), "key_id": signer}
    say(args, row, f"{args.bundle}: signed with key {signer}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    with _source(args) as (folder, changes):
        manifest = load_manifest(folder)
        signer = sign_bundle(folder, args.key) if args.key else claimed_signer(folder)
        _refuse_unsound(folder, str(args.source))
        file = packed_file(manifest, args.output)
        _write_once(folder, file, force=args.force)
        size = file.stat().st_size
        row = {"file": str(file), "name": manifest.name, "version": manifest.version}
        signed = f"signed with key {signer}" if signer else "not signed"
        lines = [f"adapted: {one}" for one in changes]
        lines.append(f"{file}: {manifest.name} {manifest.version}, {size} bytes, {signed}")
        extra = {"bytes": size, "key_id": signer, "adapted": changes}
        say(args, row | extra, "\n".join(lines))
    return 0


def _refuse_unsound(folder: Path, shown: str) -> None:
    """ModelError with all problems that `verify` would report; nothing is written then."""
    with waiting(f"trying {shown}"):
        problems, _ = try_bundle(folder)
    if problems:
        texts = [str(one).replace(f"{folder}: ", "") for one in problems]
        raise ModelError("; ".join(texts), where=shown, hint=_INSPECT_HINT)


def _write_once(folder: Path, file: Path, *, force: bool) -> None:
    """Write the file; a version never changes, because gateways may already have it."""
    raw = _packed(folder)
    if file.exists() and not force and file.read_bytes() != raw:
        hint = "set another version in model.yaml, or use --force"
        raise UsageError("another bundle of this version exists", where=str(file), hint=hint)
    _write(file, raw)


def _packed(folder: Path) -> bytes:
    """The bundle as the bytes of one file."""
    with tempfile.TemporaryDirectory() as scratch:
        return pack(folder, Path(scratch) / "packed").read_bytes()


def _write(file: Path, raw: bytes) -> None:
    with as_owner_of(file.parent):
        write_file(file, raw)


@contextmanager
def _source(args: argparse.Namespace) -> Iterator[tuple[Path, list[str]]]:
    """The bundle to pack (made from an ONNX, or a copy of a folder), and how it was adapted."""
    if args.source.is_dir():
        if args.manifest or args.golden or args.variant or args.negate_score:
            hint = "leave out --manifest, --golden, --variant and --negate-score"
            raise UsageError("a folder is packed as it is", where=str(args.source), hint=hint)
        with private_copy(args.source) if args.key else nullcontext(args.source) as folder:
            yield folder, []
        return
    manifest = read_manifest(args.manifest or args.source.parent / "model.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / manifest.name
        _, changes = bundle_from_onnx(
            args.source,
            folder,
            manifest,
            golden=args.golden,
            variants=dict(args.variant),
            negate_score=args.negate_score,
        )
        yield folder, changes


def _inspect(args: argparse.Namespace) -> int:
    if args.operators:
        names = allowed_operators()
        say(args, {"operators": names}, "\n".join(names))
        return 0
    if args.file is None:
        raise UsageError("nothing to inspect", hint="name an ONNX file, or use --operators")
    found = inspect_onnx(args.file)
    refused = [name for name, allowed in found.operators.items() if not allowed]
    lines = [f"input   {one}" for one in found.inputs]
    lines += [f"output  {one}" for one in found.outputs]
    lines += [f"classes {name}: {', '.join(names)}" for name, names in found.classes.items()]
    lines.append("opsets  " + ", ".join(f"{d} {v}" for d, v in found.opsets.items()))
    lines.append("operators " + ", ".join(found.operators))
    lines += [f"not allowed in a bundle: {name}{_why(name)}" for name in refused]
    say(args, asdict(found), "\n".join(lines))
    return 0


def _why(operator: str) -> str:
    return " (pack leaves it out)" if operator == "ai.onnx.ml:ZipMap" else ""


def _variant(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=ONNX, such as int8=small.onnx")
    return name, Path(path)


VERBS: Final = {
    "pack": Verb(
        "write a bundle, or an ONNX with its model.yaml, as one file",
        "edge-agent models pack pump.onnx --golden inputs.npz --key plant.key",
        _declare_pack,
        _pack,
    ),
    "inspect": Verb(
        "show the inputs, outputs and operators of an ONNX, to write its model.yaml",
        "edge-agent models inspect pump.onnx",
        _declare_inspect,
        _inspect,
    ),
    "sign": Verb(
        "sign a bundle, so that gateways that trust the key accept it",
        "edge-agent models sign pump-1.2.eab --key plant.key",
        _declare_sign,
        _sign,
    ),
    "keygen": Verb(
        "create a pair of keys for signing bundles",
        "edge-agent models keygen plant",
        _declare_keygen,
        _keygen,
    ),
}
