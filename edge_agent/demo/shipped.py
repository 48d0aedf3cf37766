"""The bundle that is shipped for the demo's plant."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Final

from edge_agent.errors import EdgeAgentError

BUNDLE: Final = "demo-pump"

# In a checkout, the models are next to the package; pip installs them as program data.
_PLACES: Final = (
    Path(__file__).resolve().parents[2] / "models",
    Path(sysconfig.get_path("data")) / "share" / "edge-agent" / "models",
)


def copy_shipped(models_dir: Path, places: tuple[Path, ...] = _PLACES) -> None:
    """Copy the bundle into `models_dir`, if it has none; EdgeAgentError if it is not found."""
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
