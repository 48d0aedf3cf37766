"""A maintenance plan as a page shows it: jobs in time, one that is late, and one nobody can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edge_agent.insight.maintenance import places_of, read_case
from edge_agent.insight.maintenance.child import plans_of
from edge_agent.service import plan_api

if TYPE_CHECKING:
    from edge_agent.ops.routes import Route

LATER_MS = 1_796_940_000_000  # Thursday, 2026-12-10 22:00
CASE = """
now: 2026-12-01T08:00
assets:
  P-101: {line: intake}
  P-102: {line: intake}
  P-103: {line: intake}
  C-7: {line: packing}
  C-9: {line: packing}
  M-2: {line: packing}
lives:
  - {asset: P-101, mode: bearing_wear, p10_h: 120, p50_h: 240, p90_h: 400}
  - {asset: C-7, mode: gear_damage, p10_h: 300, p50_h: 420, p90_h: 700}
  - {asset: C-9, mode: belt_slip, p10_h: 330, p50_h: 500, p90_h: 800}
alarms:
  - {asset: P-102, mode: imbalance, priority: high, raised: 2026-12-01T02:00}
  - {asset: P-103, mode: rotor_bar, priority: medium, raised: 2026-12-01T08:00}
  - {asset: M-2, mode: lubrication, priority: medium, raised: 2026-11-30T08:00}
maintenance:
  timezone: UTC
  assets:
    "P-*": {criticality: 1.5, failure_cost: 8000, downtime_cost: 1200, downtime: 6h}
  jobs:
    bearing_wear: {duration: 4h, people: 2, skills: [mechanic], parts: {bearing-6205: 1}}
    gear_damage: {duration: 10h, people: 2, skills: [mechanic], parts: {gear: 1}}
    rotor_bar: {duration: 6h, skills: [winder]}
    lubrication: {duration: 30m, needs_stop: false}
    default: {duration: 2h}
  crews:
    mechanics:
      skills: [mechanic]
      count: 2
      hours: [{start: "06:00", end: "14:00", days: [mon, tue, wed, thu, fri, sat, sun]}]
    electricians: {skills: [electrician]}
  parts:
    bearing-6205: {stock: 1, lead_time: 10d}
    gear: {stock: 0, lead_time: 5d}
  stops:
    saturday: {start: 2026-12-05T06:00, length: 8h, repeat: FREQ=WEEKLY, lines: [intake]}
    tools: {start: 2026-12-03T22:00, length: 8h, repeat: FREQ=WEEKLY, lines: [packing]}
    overhaul: {start: 2026-12-12T00:00, length: 2d, lines: [packing]}
"""


@cache
def shown_plan() -> dict[str, Any]:
    """The plan, and two changes of an earlier one."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "case.yaml"
        file.write_text(CASE)
        question = read_case(file)
    *_, first = plans_of(question)
    before = places_of(first["lines"])
    later = {"stop": "x", "name": "tools", "start_ms": LATER_MS}
    before["C-9:belt_slip"] |= later
    before["P-9:imbalance"] = {**later, "crew": "mechanics"}
    *_, plan = plans_of(question._replace(before=before))
    return plan


def shown_plan_routes() -> list[Route]:
    """The route that answers with it."""
    return plan_api.plan_routes(shown_plan, "en")
