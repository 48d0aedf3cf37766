"""Process quality: control charts over measurements of parts, and what became of each part."""

__all__ = [
    "capability",
    "chart",
    "charts",
    "constants",
    "part_store",
    "phase_one",
    "records",
    "run_rules",
]
