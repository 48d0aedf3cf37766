"""What is installed of a model, for the command line, the API and the page: versions and card.

Also the checks of a version before somebody activates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ModelError, NotFoundError
from edge_agent.models.bundle.bundle import load_manifest, try_bundle
from edge_agent.models.bundle.trust import UNSIGNED, Keyring, checked_signer, signer_shown
from edge_agent.models.repository import parse_ref

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.manifest import InputSpec, Manifest
    from edge_agent.models.bundle.variants import Trial
    from edge_agent.models.repository import ModelRepository

MAX_NAMED: Final = 50  # assets that a card names; it counts the others
# The free maps of a manifest, as the card shows them.
_TOLD: Final = (
    "calibration",
    "training",
    "teacher",
    "distillation",
    "pruning",
    "quantization",
    "benchmarks",
)


def choose_version(repository: ModelRepository, text: str) -> tuple[str, str]:
    """Name and version of `NAME[@VERSION]`; default: the one installed last that is not active.

    NotFoundError if there is none; UsageError if the text is no such reference.
    """
    name, version = parse_ref(text)
    known = repository.names()
    if name not in known:
        there = ", ".join(known) or "none"
        raise NotFoundError("no such model", where=f"model {name}", hint=f"installed: {there}")
    if version is None:
        active = repository.active(name)
        versions = [one for one in repository.versions(name) if one != active]
        if not versions:
            raise NotFoundError("no other version is installed", where=f"model {name}")
        version = versions[-1]
    return name, version


def check_version(folder: Path, keys: Keyring) -> tuple[str, Trial]:
    """The signer of a version and its trial in a child; ModelError if it may not be activated.

    It takes seconds. Without any key, all versions may be activated.
    """
    signer = checked_signer(folder, keys) if keys.keys else UNSIGNED
    return signer, expect_sound(folder)


def expect_sound(folder: Path) -> Trial:
    """The trial of a bundle in a child; ModelError with its first problem."""
    problems, trial = try_bundle(folder)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ModelError(f"{problems[0].text}{more}")
    return trial


def version_row(folder: Path, state: str, keys: Keyring) -> dict[str, Any]:
    """A version in a few figures; ModelError if its manifest cannot be read.

    state: active, previous, shadow, or shelf for any other installed one.
    """
    manifest = load_manifest(folder)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "state": state,
        "task": str(manifest.task),
        "inputs": [spec.name for spec in manifest.inputs],
        "assets": list(manifest.units),
        "threshold": manifest.threshold,
        "false_alarms_per_day": manifest.false_alarms_per_day,
        "window": _window_shown(manifest),
        "variants": "+".join(("fp32", *manifest.variants)),
        "signer": signer_shown(folder, keys),
    }


def _window_shown(manifest: Manifest) -> str:
    """What one answer is of: rows and the step between them, or pixels of a picture."""
    if manifest.side:
        return f"{manifest.side} x {manifest.side} pixels"
    window = manifest.window
    step = f"{window.step_s:g} s" if window.step_s else "each time stamp"
    return f"{window.length} x {step}"


def card_of(folder: Path) -> dict[str, Any]:
    """What a bundle says of itself: inputs, limits, data, figures; ModelError if unreadable."""
    manifest = load_manifest(folder)
    return {
        "version": manifest.version,
        "task": str(manifest.task),
        "kind": manifest.kind,
        "threshold": manifest.threshold,
        "false_alarms_per_day": manifest.false_alarms_per_day,
        "inputs": [_input_row(spec) for spec in manifest.inputs],
        "classes": list(manifest.classes),
        "assets": len(manifest.units),
        "asset_names": list(manifest.units[:MAX_NAMED]),
        "learned_rows": manifest.learned_rows,
        "provisional_s": manifest.provisional_s,
        "season_zone": manifest.season_zone,
        "told": {name: dict(told) for name in _TOLD if (told := getattr(manifest, name))},
        "sha256": dict(manifest.sha256),
    }


def _input_row(spec: InputSpec) -> dict[str, Any]:
    return {"name": spec.name, "unit": spec.unit, "kind": str(spec.kind), "valid": spec.valid}
