"""A manifest as the text of `model.yaml`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_agent.models.bundle.kinds import WINDOW
from edge_agent.models.bundle.manifest import InputSpec

if TYPE_CHECKING:
    from edge_agent.models.bundle.manifest import Manifest

# Not written if they have this value.
_LEFT_OUT: Final = {"provisional_s": 0, "learned_rows": 0, "kind": WINDOW.name}


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
