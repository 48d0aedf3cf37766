"""What several tests need: the checkout, its bundles, node-opcua, the place of the data."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEARNED = "learned-"  # what somebody learned in his checkout
CACHE = Path.home() / ".cache"


def shipped_bundles() -> list[Path]:
    """The folders in `models/` that belong to the project."""
    found = (file.parent for file in (ROOT / "models").glob("*/model.yaml"))
    return sorted(folder for folder in found if not folder.name.startswith(LEARNED))


def node_modules_dir() -> Path | None:
    """The `node_modules` that holds node-opcua, or None."""
    named = os.environ.get("EDGE_AGENT_NODE_MODULES")
    places = [Path(named)] if named else []
    places += [
        CACHE / "edge-agent" / "node" / "node_modules",
        CACHE / "plant-peers" / "node" / "node_modules",
    ]
    return next((place for place in places if (place / "node-opcua").is_dir()), None)


def find_data_dir() -> Path | None:
    """The folder of real recordings: EDGE_AGENT_DATA, else ../shared/data; None if absent."""
    named = os.environ.get("EDGE_AGENT_DATA")
    place = Path(named) if named else ROOT.parent / "shared" / "data"
    return place if place.is_dir() else None
