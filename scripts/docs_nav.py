"""The navigation of the site: a hook of mkdocs. A page that no group names comes under «More»."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Begin": ("index", "quickstart", "concepts", "tools", "what-is-missing"),
    "For you": (
        "for-controls-engineers",
        "for-reliability-engineers",
        "for-it",
        "for-data-scientists",
    ),
    "Connect": ("connections", "recipes", "topics", "time", "recordings", "opcua-server"),
    "Alarms": ("alarms", "limits", "notifications", "labelled", "page", "trends", "language"),
    "Lines": ("lines", "process-quality", "maintenance-plan"),
    "Models": (
        "models",
        "learning",
        "cameras",
        "diagnostics",
        "own-models",
        "factory",
        "remote",
        "benchmarks",
        "skab-live",
    ),
    "Operate": (
        "operations",
        "install",
        "kubernetes",
        "jetson",
        "fleet",
        "monitoring",
        "security",
        "reliability",
        "performance",
    ),
    "Reference": ("configuration", "metrics", "http", "service", "client"),
    "Inside": ("architecture", "testing"),
}


def pages() -> list[str]:
    """Every page of docs/, without the decisions."""
    return sorted(path.stem for path in DOCS.glob("*.md"))


def decisions() -> list[str]:
    """The architecture decision records, in their order."""
    return sorted(path.name for path in (DOCS / "adr").glob("*.md"))


def navigation() -> list[dict[str, list[str]]]:
    """The groups with the pages that exist; each page is in one of them."""
    there = set(pages())
    found = {name: [one for one in group if one in there] for name, group in GROUPS.items()}
    named = {one for group in GROUPS.values() for one in group}
    found["More"] = sorted(there - named)
    shown = {name: [f"{one}.md" for one in group] for name, group in found.items() if group}
    shown["Decisions"] = [f"adr/{one}" for one in decisions()]
    return [{name: group} for name, group in shown.items()]


def on_config(config: Any) -> Any:  # noqa: ANN401 (mkdocs has no types)
    """Give mkdocs the navigation."""
    config["nav"] = navigation()
    return config
