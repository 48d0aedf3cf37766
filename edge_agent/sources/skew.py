"""The finding of `check --connect` on a source's clock."""

from __future__ import annotations

from typing import Final

from edge_agent.config.schema import TimeOf
from edge_agent.findings import Finding, error, fine, warning

SKEW_S: Final = 3.0
WRONG_S: Final = 60.0
_MENDS: Final = {
    TimeOf.AUTO: "time: auto shifts its times until then; synchronise both clocks with NTP",
}
_NTP: Final = "synchronise both clocks with NTP; a time without zone counts as UTC"


def judge_clock(where: str, whose: str, offset_s: float, time: TimeOf) -> Finding:
    """offset_s: that clock minus ours; time: the clock that the config selects."""
    if abs(offset_s) <= SKEW_S:
        return fine(where, f"{whose} within {abs(offset_s):.1f} s of this gateway's clock")
    side = "ahead of" if offset_s > 0 else "behind"
    what = f"{whose} {abs(offset_s):.0f} s {side} this gateway's clock"
    if time is TimeOf.ARRIVAL:
        return fine(where, f"{what}, but not used (time: arrival)")
    make = error if abs(offset_s) > WRONG_S else warning
    return make(where, what, _MENDS.get(time, _NTP))
