"""The rule, severity and priority of an alarm."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from edge_agent.config.schema import AlarmRule
from edge_agent.messages import PROVISIONAL, Detail, Ne107

if TYPE_CHECKING:
    from edge_agent.config import schema
    from edge_agent.messages import Observation

# Topic levels, file names and metric labels are made of alarm ids.
ALARM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")

Kind: TypeAlias = Literal["model", "limit", "quality", "flood", "service"]
Stage: TypeAlias = Literal[
    "data_acquisition",
    "data_manipulation",
    "state_detection",
    "health_assessment",
    "prognostics_assessment",
    "advisory_generation",
    "presentation",
]

MAX_SEVERITY: Final = 1000
_PER_DOUBLING: Final = 0.2
_PROVISIONAL_MOST: Final = 666  # medium
_TOPS: Final = (333, 666, 800)
_NAMES: Final = ("low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class AlarmPolicy:
    """The place of an alarm and the rule of its raises.

    path: ISA-95 path enterprise/site/area/line/asset; kind: flood and service are never held by
    the flood limit; stage: the block of ISO 13374 it comes from
    (`presentation`, the last layer of OSA-CBM, for the delivery of alarms).
    """

    asset: str
    path: str
    rule: AlarmRule
    kind: Kind = "model"
    stage: Stage = "state_detection"


def flood_alarm_id(asset: str) -> str:
    """Return the id of the service alarm for held-back alarms of `asset`."""
    return f"{asset}.flood"


def flood_policy(asset: str, path: str) -> AlarmPolicy:
    """Return the policy of `flood_alarm_id(asset)`, for the table's `rules`."""
    rule = AlarmRule(severity=700, ne107=Ne107.CHECK_FUNCTION)
    return AlarmPolicy(asset, path, rule, kind="flood", stage="advisory_generation")


def flood_detail(limits: schema.Alarms) -> Detail:
    """Describe a flood; minutes: its window."""
    args = {"limit": limits.flood_limit, "minutes": limits.flood_window / 60}
    return Detail("flood", args)


def severity(base: int, level: float) -> int:
    """Return the OPC UA severity 1..1000: `base` at the limit, + 20 % per doubling of `level`."""
    if level <= 1.0:
        return base
    return int(min(MAX_SEVERITY, base * (1.0 + _PER_DOUBLING * math.log2(level))))


def severity_of(rule: AlarmRule, seen: Observation) -> int:
    """Return the severity of an observation; for a provisional baseline at most medium."""
    found = severity(rule.severity, seen.level)
    model = seen.detail.model
    is_provisional = model is not None and model.mode == PROVISIONAL
    return min(found, _PROVISIONAL_MOST) if is_provisional else found


def priority(value: int) -> str:
    """Return the priority of a severity 1..1000.

    The thirds low 1-333, medium 334-666, high 667-1000 are those in which OPC UA companion
    specifications read the severity of OPC 10000-5, 6.4.2; the top fifth is critical, since
    ISA-18.2 clause 16 requires a top priority that few alarms have.
    """
    return _NAMES[bisect_left(_TOPS, value)]
