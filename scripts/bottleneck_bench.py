"""How well the bottleneck of simulated lines is named.

Each line is run for some hours; from its states and part counts the bottleneck is named. Then each
station is improved in turn (its work takes 10 % less time) in long runs of the true line, with
common random numbers: the gain captured is that of the named station, as a share of the best one.
If it is not sure, the likeliest station counts. With --wrong, stations of the same records also say
what is not so; named wrongly: it was sure, and captures less than 80 % of the best gain.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight import CODES, LineData, MachineState, StateLog, find_bottleneck
from scripts.rigs.lines import data_of, draw_line, record, true_gains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SHAPES: Final = ("six", "mixed", "tied", "products")
RUNNING, IDLE = CODES[MachineState.RUNNING], CODES[MachineState.IDLE]
BLOCKED, STARVED = CODES[MachineState.BLOCKED], CODES[MachineState.STARVED]
UNKNOWN = CODES[MachineState.UNKNOWN]
WAITS: Final = (BLOCKED, STARVED)
_WRONG: Final = 0.8  # of the best gain; a name that captures less is wrong


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


def wrong_data(data: LineData, best: int) -> Iterator[tuple[str, LineData]]:
    """A record, and the same one with each kind of wrong states; best: the true bottleneck."""
    last = len(data.machines) - 1
    other = (best + 2) % (last + 1)
    before, behind = max(best - 1, 0), min(best + 1, last)
    yield "right", data
    for kind, station, waits, said in (
        ("last runs while starved", last, (STARVED,), RUNNING),
        ("first runs while blocked", 0, (BLOCKED,), RUNNING),
        ("other runs while starved", other, (STARVED,), RUNNING),
        ("other runs while blocked", other, (BLOCKED,), RUNNING),
        ("other runs while it waits", other, WAITS, RUNNING),
        ("before the best: blocked is idle", before, (BLOCKED,), IDLE),
        ("behind the best: starved is idle", behind, (STARVED,), IDLE),
        ("best sends no states", best, tuple(CODES.values()), UNKNOWN),
        ("other sends no states", other, tuple(CODES.values()), UNKNOWN),
    ):
        yield kind, _saying(data, station, waits, said)
    swapped = np.arange(len(CODES), dtype=np.int8)
    swapped[[BLOCKED, STARVED]] = STARVED, BLOCKED
    yield "blocked and starved swapped", _with_states(data, swapped[data.log.state])


def _saying(data: LineData, station: int, states: tuple[int, ...], said: int) -> LineData:
    """A record in which a station says something else while it is in these states."""
    log = data.log
    changed = (log.machine == station) & np.isin(log.state, states)
    return _with_states(data, np.where(changed, said, log.state).astype(np.int8))


def _with_states(data: LineData, state: NDArray[np.int8]) -> LineData:
    log = data.log
    return replace(data, log=StateLog(log.machine, state, log.start_ns, log.end_ns))


def judge_wrong(shape: str, seed: int, hours: float) -> Iterator[dict[str, str | int | float]]:
    """Name the bottleneck of a line from right and wrong states; a row for each kind."""
    line = draw_line(seed, shape)
    data = data_of(line, record(line, seed, hours))
    gains = np.maximum(true_gains(line, seed), 0.0)
    for kind, seen in wrong_data(data, int(gains.argmax())):
        found = find_bottleneck(seen)
        first = float(gains[data.machines.index(found.named[0])]) if found.named else 0.0
        share = first / float(gains.max())
        yield {
            "states": kind,
            "shape": shape,
            "seed": seed,
            "verdict": found.verdict,
            "captured": share,
        }


def wrong_rows(judged: Sequence[dict[str, str | int | float]]) -> Iterator[dict[str, float | str]]:
    """A row for each kind of states."""
    for kind in dict.fromkeys(one["states"] for one in judged):
        mine = [one for one in judged if one["states"] == kind]
        named = [float(one["captured"]) for one in mine if one["verdict"] == "named"]
        yield {
            "states": str(kind),
            "n": len(mine),
            "named": len(named),
            "named wrongly": sum(one < _WRONG for one in named),
            "captured if named": float(np.mean(named)) if named else float("nan"),
        }


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
    parser.add_argument("--wrong", action="store_true", help="also wrong states of the same lines")
    parser.add_argument("--json", action="store_true", help="every line as a JSON object")
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.lines)
    lines = [(shape, seed) for shape in args.shape or SHAPES for seed in seeds]
    if args.wrong:
        _print_wrong(lines, args.hours, as_json=args.json)
        return
    judged = []
    for shape, seed in lines:
        judged.append(judge(shape, seed, args.hours))
        if args.json:
            print(json.dumps(asdict(judged[-1])), flush=True)
    _print_rows(() if args.json else rows_of(judged))


def _print_wrong(lines: Sequence[tuple[str, int]], hours: float, *, as_json: bool) -> None:
    judged = []
    for shape, seed in lines:
        for one in judge_wrong(shape, seed, hours):
            judged.append(one)
            if as_json:
                print(json.dumps(one), flush=True)
    _print_rows(() if as_json else wrong_rows(judged))


def _print_rows(rows: Iterable[dict[str, float | str]]) -> None:
    for row in rows:
        print(
            "  ".join(
                f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
        )


if __name__ == "__main__":
    main()
