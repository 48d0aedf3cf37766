"""Matches alarms to faults, and forms the verdict at the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.demo.plant import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_TIME_S: Final = 15.0
_OF_MODELS: Final = ".service.model"  # a user may try another model
_SETTLING_S: Final = 60.0  # after a repair; a bearing cools slowly


@dataclass(slots=True)
class Injected:
    """A fault of an asset, and the first alarm after its onset. Times: seconds of the demo."""

    asset: str
    fault: str
    onset_s: float
    repaired_s: float | None = None
    alarm_s: float | None = None
    first_input: str = ""
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def delay_s(self) -> float | None:
        """Seconds from the onset to the alarm."""
        return None if self.alarm_s is None else self.alarm_s - self.onset_s

    @property
    def in_time(self) -> bool:
        """True if the alarm came within 15 s."""
        return self.delay_s is not None and self.delay_s <= IN_TIME_S

    @property
    def right(self) -> bool:
        """True if the input that the fault moves most is the first contributor."""
        return self.first_input == FAULTS[self.fault].leading


@dataclass(slots=True)
class Judge:
    """Records faults and alarms as they occur."""

    faults: list[Injected] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    """Alarms before the first fault."""
    unfounded: list[str] = field(default_factory=list)
    """Later alarms of assets that are well."""
    _seen: set[str] = field(default_factory=set)

    def inject(self, asset: str, fault: str, now_s: float) -> Injected:
        """Record the onset of a fault."""
        self.faults.append(Injected(asset, fault, now_s))
        return self.faults[-1]

    def alarm(self, event: dict[str, Any], now_s: float) -> Injected | None:
        """Handle an alert. Returns the fault for which it is the first alarm, else None.

        Repeated deliveries, other transitions than a raise, and alarms about models are ignored.
        """
        data = event["data"]
        if data["transition"] != "raise" or event["id"] in self._seen:
            return None
        if data["alarm_id"].endswith(_OF_MODELS):
            return None
        self._seen.add(event["id"])
        recent = list(self._recent(data["asset"], now_s))
        if not recent:
            (self.unfounded if self.faults else self.before).append(data["alarm_id"])
            return None
        fault = recent[-1]
        if fault.alarm_s is not None:
            return None
        fault.alarm_s = now_s
        fault.answered.set()
        fault.first_input = next((each["input"] for each in data["contributors"]), "")
        return fault

    def _recent(self, asset: str, now_s: float) -> Iterator[Injected]:
        for fault in self.faults:
            ended = fault.repaired_s is not None and now_s > fault.repaired_s + _SETTLING_S
            if fault.asset == asset and not ended:
                yield fault

    def due(self, now_s: float) -> list[Injected]:
        """Faults that have an alarm, or should have one by now."""
        return [f for f in self.faults if f.alarm_s is not None or now_s - f.onset_s > IN_TIME_S]

    def verdict(self, now_s: float) -> tuple[bool, str]:
        """True if every fault was found as required, and the line that reports it."""
        due = self.due(now_s)
        if not due and not self.before:
            return False, "demo: stopped before any fault could be found"
        in_time = [fault for fault in due if fault.in_time]
        right = [fault for fault in due if fault.right]
        slowest_s = max((fault.delay_s or 0.0 for fault in in_time), default=0.0)
        well = bool(due) and len(in_time) == len(right) == len(due)
        well = well and not self.before and not self.unfounded
        return well, (
            f"demo: {len(due)} faults, {len(in_time)} alarms in time, slowest {slowest_s:.1f} s, "
            f"right input first {len(right)}/{len(due)}, "
            f"{len(self.before)} false alarms before the first fault, {len(self.unfounded)} later: "
            f"{'ok' if well else 'FAILED'}"
        )
