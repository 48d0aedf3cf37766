"""How well the bottleneck of simulated lines is named.

Each line is run for some hours; from its states and part counts the bottleneck is named. Then each
station is improved in turn (its work takes 10 % less time) in long runs of the true line, with
common random numbers: the gain captured is that of the named station, as a share of the best one.
If it is not sure, the likeliest station counts.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight import find_bottleneck
from scripts.rigs.lines import data_of, draw_line, record, true_gains

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHAPES: Final = ("six", "mixed", "tied", "products")


@dataclass(frozen=True)
class Judged:
    """One line: the share of the best gain that each way captures."""

    shape: str
    seed: int
    is_sure: bool
    simulated: float
    active: float
    waits: float
    seconds: float


def judge(shape: str, seed: int, hours: float) -> Judged:
    """Record a line, name its bottleneck, and ask the true line."""
    line = draw_line(seed, shape)
    data = data_of(line, record(line, seed, hours))
    begin = time.process_time()
    found = find_bottleneck(data)
    seconds = time.process_time() - begin
    gains = np.maximum(true_gains(line, seed), 0.0)

    def captured(name: str | None) -> float:
        return float(gains[data.machines.index(name)] / gains.max()) if name else 0.0

    return Judged(
        shape,
        seed,
        found.verdict == "named",
        captured(found.named[0] if found.named else None),
        captured(found.by_active),
        captured(found.by_waits),
        seconds,
    )


def rows_of(judged: Sequence[Judged]) -> Iterator[dict[str, float | str]]:
    """A row for each shape, and one for all."""
    for shape in (*dict.fromkeys(one.shape for one in judged), "all"):
        mine = [one for one in judged if shape in {one.shape, "all"}]
        sure = [one.simulated for one in mine if one.is_sure]
        yield {
            "lines": shape,
            "n": len(mine),
            "captured": float(np.mean([one.simulated for one in mine])),
            "by active share": float(np.mean([one.active for one in mine])),
            "by blocked/starved": float(np.mean([one.waits for one in mine])),
            "named": len(sure) / len(mine),
            "captured if named": float(np.mean(sure)) if sure else float("nan"),
            "worst if named": min(sure, default=float("nan")),
            "CPU s": float(np.mean([one.seconds for one in mine])),
        }


def main() -> None:
    """Judge the lines and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=15, help="of each shape; default: 15")
    parser.add_argument("--first-seed", type=int, default=1000, help="0 to 99 were for tuning")
    parser.add_argument("--hours", type=float, default=24.0, help="recorded; default: 24")
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--json", action="store_true", help="every line as a JSON object")
    args = parser.parse_args()
    judged = []
    for shape in args.shape or SHAPES:
        for seed in range(args.first_seed, args.first_seed + args.lines):
            judged.append(judge(shape, seed, args.hours))
            if args.json:
                print(json.dumps(asdict(judged[-1])), flush=True)
    for row in () if args.json else rows_of(judged):
        print(
            "  ".join(
                f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
        )


if __name__ == "__main__":
    main()
