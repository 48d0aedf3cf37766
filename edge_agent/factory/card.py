"""The card: the purpose of a bundle, the data it was made from, and its figures."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.factory.recipe import Recipe
    from edge_agent.models import Manifest


def card(
    recipe: Recipe, manifest: Manifest, made: Sequence[Mapping[str, Any]], command: str
) -> str:
    """Markdown. made: results of `judge` by seed; the bundle has the graphs of the first."""
    first = made[0]
    parts = [
        f"# {manifest.name} {manifest.version}",
        *([recipe.card["About"]] if "About" in recipe.card else []),
        _facts(manifest, first),
        "## Figures on held-out units",
        _figures(made),
        "![training](training.png)\n\n![reliability](reliability.png)",
        "## int8 against fp32",
        _variants(first),
        *(f"## {title}\n\n{text}" for title, text in recipe.card.items() if title != "About"),
        f"Built by `{command}`.",
    ]
    return "\n\n".join(parts) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds; a single figure unchanged, none as an empty text."""
    if not values:
        return ""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.4g}"
    return f"{mean:.4g} ± {statistics.stdev(values):.2g}"


def _facts(manifest: Manifest, made: Mapping[str, Any]) -> str:
    inputs = ", ".join(
        f"{spec.name} ({spec.unit})" if spec.unit else spec.name for spec in manifest.inputs
    )
    rows = [
        ("task", manifest.task.replace("_", " ")),
        ("inputs", inputs),
        ("classes", ", ".join(manifest.classes)),
        ("parameters", f"{made['parameters']} ({made['parameters_before']} before pruning)"),
        ("size", f"{made['graphs']['fp32']['bytes']} bytes (fp32)"),
        ("threshold", f"{manifest.threshold:g}"),
        *((key.replace("_", " "), text) for key, text in manifest.calibration.items()),
        *((f"split: {key}", text) for key, text in made["split"].items()),
    ]
    return table(("", ""), [(name, text) for name, text in rows if text])


def _figures(made: Sequence[Mapping[str, Any]]) -> str:
    columns = [
        "figure",
        "teacher",
        "student, fp32",
        *(f"student, {name}" for name in made[0]["graphs"] if name != "fp32"),
    ]
    graphs = list(made[0]["graphs"])
    rows = [
        (
            name,
            spread([one["teacher"][name] for one in made if name in one["teacher"]]),
            *(spread([one["graphs"][graph]["figures"][name] for one in made]) for graph in graphs),
        )
        for name in made[0]["graphs"]["fp32"]["figures"]
    ]
    seeds = ", ".join(str(one["seed"]) for one in made)
    note = f"Seeds {seeds}; the bundle is of the first, whatever the others gave."
    return f"{table(columns, rows)}\n\n{note}"


def _variants(made: Mapping[str, Any]) -> str:
    rows = []
    for name, found in made["graphs"].items():
        off = found.get("off", {})
        rows.append(
            (
                name,
                str(found["bytes"]),
                f"{found['p50_ms_batch_1']:.4f}",
                f"{found['p50_ms_batch_64']:.4f}",
                f"{off['normal']:.2%}" if "normal" in off else "",
                f"{off['anomalous']:.2%}" if "anomalous" in off else "",
            )
        )
    columns = ("graph", "bytes", "ms, batch 1", "ms, batch 64", "off, normal", "off, anomalous")
    same = "".join(f"\n\n{text}" for text in made["same_file"])
    text = "Median times on one thread of the machine that built it; the daemon measures its own."
    return f"{table(columns, rows)}\n\n{text}{same}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
