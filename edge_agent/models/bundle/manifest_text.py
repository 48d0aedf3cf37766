"""A manifest as the text of `model.yaml`: read by the kind of its bundle, and written."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_agent.config.structs import parse_struct
from edge_agent.errors import ConfigError, ModelError
from edge_agent.models.bundle.kinds import PICTURE, WINDOW
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.picture_manifest import PictureManifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# By `kind:` of model.yaml; the first one if it has none.
KINDS: Final[Mapping[str, type[Manifest]]] = {
    WINDOW.name: Manifest,
    PICTURE.name: PictureManifest,
}

# Not written if they have this value.
_LEFT_OUT: Final = {"provisional_s": 0, "learned_rows": 0, "kind": WINDOW.name}


def parse_manifest(raw: bytes, file: Path, kinds: Mapping[str, type[Manifest]] = KINDS) -> Manifest:
    """The manifest in `raw`; ModelError lists all its problems."""
    try:
        return parse_struct(raw.decode("utf-8"), file, kinds)
    except UnicodeDecodeError as error:
        raise ModelError("not UTF-8 text", where=str(file)) from error
    except ConfigError as error:
        raise ModelError(error.message, hint="see docs/models.md for the keys") from error


def read_manifest(file: Path) -> Manifest:
    """The manifest in a trusted file; ModelError if it is missing or not valid."""
    try:
        return parse_manifest(file.read_bytes(), file)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error


def dump_manifest(manifest: Manifest) -> bytes:
    """The YAML text of a manifest; empty fields are left out."""
    text: str = yaml.safe_dump(
        _plain(manifest), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    return text.encode()


def _plain(value: Any) -> Any:  # noqa: ANN401 (any field of a struct)
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        pairs = ((spec, getattr(value, spec.name)) for spec in fields(value))
        return {
            spec.name: _plain(item)
            for spec, item in pairs
            if item not in ({}, (), None, "")
            and not (spec.name in _LEFT_OUT and item == _LEFT_OUT[spec.name])
            and not (isinstance(value, InputSpec) and item == spec.default)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
