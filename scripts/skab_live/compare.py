"""Compares two runs of the same recordings, for `scripts/skab-live`."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RELATIVE = 1e-4  # of scores: a batch of another size sums in another order
NAMED = (
    "alarm_id",
    "transition",
    "state",
    "severity",
    "priority",
    "ne107",
    "stage",
    "count",
    "active",
)


@dataclass(frozen=True)
class Seen:
    """A transition from the daemon: fields that must be equal, and fields that may be rounded."""

    facts: tuple[Any, ...]
    numbers: tuple[float, ...]

    def same(self, other: Seen | None) -> bool:
        """True if it is the same transition."""
        if other is None or self.facts != other.facts:
            return False
        pairs = zip_longest(self.numbers, other.numbers, fillvalue=math.nan)
        return all(close(a, b) for a, b in pairs)


Alarms = dict[str, list[Seen]]  # by alarm, in the order of their numbers
Scores = dict[tuple[str, int], float]  # by asset and epoch ms of the window's end


@dataclass
class Comparison:
    """transitions and windows: (live, replay) by asset; differences as readable lines, by asset.

    open_rows: windows of a recording's last row, which a replay closes at the end of the file, and
    the daemon only when more values arrive.
    """

    transitions: dict[str, tuple[int, int]]
    windows: dict[str, tuple[int, int]]
    differences: dict[str, list[str]]
    open_rows: int


def compare(
    live: tuple[list[bytes], list[bytes]],
    replay: tuple[list[bytes], list[bytes]],
    last_ms: Mapping[str, int],
) -> Comparison:
    """Two runs, each as transitions and scores; last_ms: the last row of each asset's recording."""
    events, lines = alarms_of_events(live[0]), alarms_of_replay(replay[0])
    scores, expected = scores_of(live[1]), scores_of(replay[1])
    open_rows = {k for k in expected.keys() - scores.keys() if last_ms.get(k[0]) == k[1]}
    found: dict[str, list[str]] = defaultdict(list)
    for alarm_id in sorted(events.keys() | lines.keys()):
        pairs = zip_longest(events.get(alarm_id, []), lines.get(alarm_id, []))
        found[alarm_id.split(".")[0]] += [
            f"{alarm_id}\n  live   {a}\n  replay {b}" for a, b in pairs if not (a and a.same(b))
        ]
    for key in sorted((scores.keys() | expected.keys()) - open_rows):
        a, b = scores.get(key), expected.get(key)
        if a is None or b is None or not close(a, b):
            found[key[0]].append(f"{key[0]} window {key[1]}: live {a}, replay {b}")
    return Comparison(
        _pairs(_by_asset(events), _by_asset(lines)),
        _pairs(Counter(k[0] for k in scores), Counter(k[0] for k in expected.keys() - open_rows)),
        {asset: lines for asset, lines in found.items() if lines},
        len(open_rows),
    )


def close(a: float, b: float) -> bool:
    """True if two numbers are equal except for rounding."""
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-6)


def alarms_of_replay(lines: list[bytes]) -> Alarms:
    """Alarms from the output of `edge-agent replay --json`."""
    found = []
    for line in lines:
        row = json.loads(line)
        window = row["detail"]["window"]
        ends = window and (window["start_ms"], window["end_ms"])
        found.append((row["alarm_id"], row["seq"], _seen(row["time"], row, row["detail"], ends)))
    return _in_order(found)


def alarms_of_events(bodies: list[bytes]) -> Alarms:
    """Alarms from the CloudEvents on the bus; a repeated event counts once."""
    found = []
    for body in bodies:
        event = json.loads(body)
        data, window = event["data"], event["data"]["window"]
        ends = window and (_epoch_ms(window["start"]), _epoch_ms(window["end"]))
        seq = int(event["id"].rsplit(":", 1)[1])
        found.append((data["alarm_id"], seq, _seen(event["time"], data, data, ends)))
    return _in_order(found)


def scores_of(bodies: list[bytes]) -> Scores:
    """Scores from score messages."""
    rows = [json.loads(body) for body in bodies]
    return {(row["asset"], row["ts"]): row["score"] for row in rows}


def _in_order(rows: list[tuple[str, int, Seen]]) -> Alarms:
    by_number: dict[str, dict[int, Seen]] = defaultdict(dict)
    for alarm_id, seq, seen in rows:
        by_number[alarm_id][seq] = seen
    return {alarm_id: [seen[n] for n in sorted(seen)] for alarm_id, seen in by_number.items()}


def _seen(at: str, alarm: dict[str, Any], detail: dict[str, Any], ends: object) -> Seen:
    contributors, window = detail["contributors"], detail["window"] or {}
    inputs = tuple(one["input"] for one in contributors)
    facts = (at, *(alarm[name] for name in NAMED), detail["failure_mode"], inputs, ends)
    numbers = [detail["score"], window.get("coverage")]
    numbers += [one[name] for one in contributors for name in ("weight", "value")]
    return Seen(facts, tuple(number for number in numbers if number is not None))


def _epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _by_asset(alarms: Alarms) -> Counter[str]:
    found: Counter[str] = Counter()
    for alarm_id, seen in alarms.items():
        found[alarm_id.split(".")[0]] += len(seen)
    return found


def _pairs(left: Counter[str], right: Counter[str]) -> dict[str, tuple[int, int]]:
    return {asset: (left[asset], right[asset]) for asset in left.keys() | right.keys()}
