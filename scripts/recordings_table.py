"""One table of two result folders of the evaluator of recorded machines (shared/data/machines).

Figures of a set are pooled over its cases: false-alarm rate (FAR, per cent of healthy rows with an
alarm), events found, raises a healthy day; AUC is the mean of the raw score. What is simple has no
alarm: its limit is the 99.9 % quantile of what was learned.

    scripts/recordings-table results/before results/after
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

PRODUCT = "product"
SIMPLE = {"mean|z|": "mean of abs(z)", "pca": "PCA T² and Q"}  # a bar would end a cell
MISSING = "-"

Result = dict[str, Any]


def main() -> int:
    """Print the table."""
    summary, _, example = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/recordings-table",
        description=summary,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, help="results of the older version")
    parser.add_argument("after", type=Path, help="results of the newer version")
    arguments = parser.parse_args()
    before, after = read_results(arguments.before), read_results(arguments.after)
    if not before or not after:
        print("no result.json in one of the folders", file=sys.stderr)
        return 1
    print(as_text(before, after))
    return 0


def read_results(folder: Path) -> dict[str, list[Result]]:
    """The results of each set."""
    found: dict[str, list[Result]] = defaultdict(list)
    for file in sorted(folder.glob("*/*/result.json")):
        result = json.loads(file.read_text())
        found[result["set"]].append(result)
    return dict(found)


def as_text(before: dict[str, list[Result]], after: dict[str, list[Result]]) -> str:
    """Each set and measure: before, after, and what is simple on the same rows."""
    lines = [f"| set | cases | measure | before | after | {' | '.join(SIMPLE.values())} |"]
    lines.append("| --- " * 7 + "|")
    for name in sorted({*before, *after}):
        old, new = before.get(name, []), after.get(name, [])
        cases = f"{len(old)}" if len(old) == len(new) else f"{len(old)}, {len(new)}"
        columns = [pooled(old, PRODUCT), pooled(new, PRODUCT), *(pooled(new, s) for s in SIMPLE)]
        for measure in columns[0]:
            cells = [shown(column[measure]) for column in columns]
            lines.append(f"| {name} | {cases} | {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pooled(results: list[Result], detector: str) -> dict[str, float | str]:
    """The measures of a detector over the cases of a set."""
    each = [result[detector] for result in results]
    sums = {of: sum(e[of] for e in each) for of in ("fp", "good", "days", "false_raises")}
    events = sum(e["events"] for e in each)
    aucs = [result["auc"] if detector == PRODUCT else result[detector]["auc"] for result in results]
    aucs = [auc for auc in aucs if auc == auc]  # noqa: PLR0124 (NaN: no fault, or no model)
    return {
        "FAR %": 100 * sums["fp"] / sums["good"] if sums["good"] else float("nan"),
        "found": f"{sum(e['found'] for e in each)} of {events}" if each else MISSING,
        "AUC": float(np.mean(aucs)) if aucs else float("nan"),
        "raises a healthy day": sums["false_raises"] / sums["days"] if sums["days"] else np.nan,
    }


def shown(value: float | str) -> str:
    """A figure as a cell."""
    if isinstance(value, str):
        return value
    return MISSING if np.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
