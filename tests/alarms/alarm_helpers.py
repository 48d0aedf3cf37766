"""What all tests of the alarm room need: a table with rules, and short ways to observe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.alarms.catalogue import AlarmPolicy, flood_alarm_id, flood_policy
from edge_agent.alarms.table import AlarmTable
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.config.types import Duration
from edge_agent.messages import Alarm, Contributor, Detail, Observation, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z, seconds
QUICK = AlarmRule(off_delay=Duration(0))


@dataclass
class Plant:
    """The rules of a few alarms; the asset of `P-1.vibration` is `P-1`."""

    rule: AlarmRule = QUICK
    kind: str = "model"
    gone: set[str] = field(default_factory=set)

    def __call__(self, alarm_id: str) -> AlarmPolicy | None:
        asset = alarm_id.split(".", 1)[0]
        if alarm_id in self.gone or not asset.startswith("P-"):
            return None
        path = f"works/halle/west/l1/{asset}"
        if alarm_id == flood_alarm_id(asset):
            return flood_policy(asset, path)
        return AlarmPolicy(asset, path, self.rule, kind=self.kind)  # type: ignore[arg-type]


class Desk:
    """A table with a fake clock; every time here is in seconds after T0."""

    def __init__(
        self,
        rule: AlarmRule = QUICK,
        *,
        kind: str = "model",
        restored: Iterable[Alarm] = (),
        **limits: Any,
    ) -> None:
        self.clock = FakeClock(us(0))
        self.plant = Plant(rule, kind)
        self.held: list[str] = []
        self.table = AlarmTable(
            self.plant, Alarms(**limits), self.clock, restored, on_held=self.held.append
        )

    def see(
        self, level: float, at: float, alarm_id: str = "P-1.a", detail: Detail | None = None
    ) -> list[str]:
        """Observe; returns `alarm_id kind` of each transition."""
        seen = Observation(alarm_id, level, us(at), detail or Detail("anomaly", {"level": level}))
        return names(self.table.accept_observation(seen))

    def alarm(self, alarm_id: str = "P-1.a") -> Alarm:
        """The alarm, which must be known."""
        alarm = self.table.get(alarm_id)
        assert alarm is not None
        return alarm


def us(seconds: float) -> int:
    return round((T0 + seconds) * 1e6)


def names(transitions: Sequence[Transition]) -> list[str]:
    return [f"{each.alarm.alarm_id} {each.kind}" for each in transitions]


def blaming(*inputs: str, failure_mode: str = "") -> Detail:
    """A detail whose contributors are `inputs`, the first with the largest share."""
    shares = [Contributor(name, 1.0 / (n + 1), 7.1, "mm/s") for n, name in enumerate(inputs)]
    return Detail("anomaly", score=2.0, failure_mode=failure_mode, contributors=tuple(shares))
