"""`models keygen`, `models sign` and `models pack`: what the maker of a model does."""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.cli._models_verb import Verb, add_json, private_copy, say
from edge_agent.errors import EdgeAgentError, UsageError
from edge_agent.inference import (
    SUFFIX,
    bundle_from_onnx,
    claimed_signer,
    generate_keys,
    key_id,
    load_manifest,
    pack,
    read_manifest,
    read_public_key,
    sign_bundle,
    unpacked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def _declare_keygen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="writes FILE.key and FILE.pub")
    add_json(parser)


def _declare_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="PATH", help=f"a bundle's folder or {SUFFIX}")
    parser.add_argument("--key", type=Path, required=True, help="the private key (PEM)")
    add_json(parser)


def _declare_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="FOLDER|ONNX", help="a bundle, or a model")
    parser.add_argument("--manifest", type=Path, help="model.yaml of an ONNX; default: beside it")
    parser.add_argument("--golden", type=Path, help="NPZ of golden inputs; default: random ones")
    parser.add_argument(
        "--variant",
        type=_variant,
        action="append",
        default=[],
        metavar="NAME=ONNX",
        help="another file of the same model, such as int8=small.onnx",
    )
    parser.add_argument("--key", type=Path, help="sign it with this private key")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="file or folder")
    add_json(parser)


def _keygen(args: argparse.Namespace) -> int:
    private, public = (Path(f"{args.file}.{end}") for end in ("key", "pub"))
    private_pem, public_pem = generate_keys()
    _write_new(private, private_pem, 0o600)
    _write_new(public, public_pem, 0o644)
    name = key_id(read_public_key(public))
    text = f"{private} (keep it secret)\n{public}: key {name}, for trust.keys of the gateways"
    say(args, {"private": str(private), "public": str(public), "key_id": name}, text)
    return 0


def _write_new(file: Path, raw: bytes, mode: int) -> None:
    """A key that is overwritten is lost, and all it has signed with it."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
    except FileExistsError:
        hint = "choose another name"
        raise UsageError("is there already", where=str(file), hint=hint) from None
    except OSError as error:
        raise EdgeAgentError(f"cannot be written: {error.strerror}", where=str(file)) from error


def _sign(args: argparse.Namespace) -> int:
    if args.bundle.is_dir():
        signer = sign_bundle(args.bundle, args.key)
    else:
        with unpacked(args.bundle) as folder:
            signer = sign_bundle(folder, args.key)
            pack(folder, args.bundle)
    row = {"bundle": str(args.bundle), "key_id": signer}
    say(args, row, f"{args.bundle}: signed with key {signer}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    with _source(args) as folder:
        signer = sign_bundle(folder, args.key) if args.key else claimed_signer(folder)
        file = pack(folder, args.output)
        manifest = load_manifest(folder)
        size = file.stat().st_size
        row = {"file": str(file), "name": manifest.name, "version": manifest.version}
        signed = f"signed with key {signer}" if signer else "not signed"
        text = f"{file}: {manifest.name} {manifest.version}, {size} bytes, {signed}"
        say(args, row | {"bytes": size, "key_id": signer}, text)
    return 0


@contextmanager
def _source(args: argparse.Namespace) -> Iterator[Path]:
    """The bundle to pack: made of an ONNX, or a copy of the folder where it is to be signed."""
    if args.source.is_dir():
        if args.manifest or args.golden or args.variant:
            hint = "leave out --manifest, --golden and --variant"
            raise UsageError("a folder is packed as it is", where=str(args.source), hint=hint)
        with private_copy(args.source) if args.key else nullcontext(args.source) as folder:
            yield folder
        return
    manifest = read_manifest(args.manifest or args.source.parent / "model.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / manifest.name
        variants = dict(args.variant)
        bundle_from_onnx(args.source, folder, manifest, golden=args.golden, variants=variants)
        yield folder


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
    "sign": Verb(
        "sign a bundle, so that gateways that trust the key take it",
        "edge-agent models sign pump-1.2.eab --key plant.key",
        _declare_sign,
        _sign,
    ),
    "keygen": Verb(
        "make a pair of keys to sign bundles with",
        "edge-agent models keygen plant",
        _declare_keygen,
        _keygen,
    ),
}
