"""The bundle that the demo's plant comes with."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Final

from edge_agent.errors import EdgeAgentError

BUNDLE: Final = "demo-pump"

# A checkout has its models beside the package; pip puts them where data of programs goes.
_PLACES: Final = (
    Path(__file__).resolve().parents[2] / "models",
    Path(sysconfig.get_path("data")) / "share" / "edge-agent" / "models",
)


def copy_shipped(models_dir: Path, places: tuple[Path, ...] = _PLACES) -> None:
    """Put the bundle into `models_dir`, unless there is one; EdgeAgentError if it is nowhere."""
    if (models_dir / BUNDLE).exists():
        return
    for place in places:
        if (place / BUNDLE).is_dir():
            shutil.copytree(place / BUNDLE, models_dir / BUNDLE)
            return
    searched = ", ".join(map(str, places))
    raise EdgeAgentError(
        f"the demo's model {BUNDLE!r} is missing",
        where=searched,
        hint="install edge-agent from its wheel, or start it in a checkout",
    )
