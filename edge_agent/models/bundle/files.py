"""The files that a bundle may hold, each with the most bytes that it may have."""

from __future__ import annotations

import re
from typing import Final

MANIFEST: Final = "model.yaml"
MODEL: Final = "model.onnx"
GOLDEN: Final = "golden.npz"
SIGNATURE: Final = "model.sig"
CARD: Final = "card.md"

VARIANT: Final = re.compile(r"[a-z0-9-]{1,32}")
MAX_VARIANTS: Final = 8
MAX_PICTURES: Final = 16
_PICTURE: Final = re.compile(r"[a-z0-9-]{1,64}\.png")
_MIB: Final = 1 << 20
_SIZES: Final = {
    MANIFEST: 4 * _MIB,
    MODEL: 512 * _MIB,
    GOLDEN: 64 * _MIB,
    SIGNATURE: 4096,
    CARD: _MIB,
}
_PICTURE_BYTES: Final = 2 * _MIB


def variant_file(variant: str) -> str:
    """The file of a variant: int8 is `model.int8.onnx`."""
    return f"model.{variant}.onnx"


def variant_of(name: str) -> str | None:
    """The variant that a file is of; None for all other files."""
    variant = name.removeprefix("model.").removesuffix(".onnx")
    return variant if VARIANT.fullmatch(variant) and name == variant_file(variant) else None


def is_picture(name: str) -> bool:
    """Whether the file is a picture by its name."""
    return _PICTURE.fullmatch(name) is not None


def max_bytes(name: str) -> int | None:
    """The most bytes of a file; None where no bundle has a file of that name."""
    if name in _SIZES:
        return _SIZES[name]
    if is_picture(name):
        return _PICTURE_BYTES
    return None if variant_of(name) is None else _SIZES[MODEL]


def is_listed(name: str) -> bool:
    """Whether `sha256` lists the file: all but the manifest itself and its signature."""
    return name not in {MANIFEST, SIGNATURE} and max_bytes(name) is not None
