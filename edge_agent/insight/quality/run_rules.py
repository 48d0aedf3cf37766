"""Run rules over standardised points; which ones there are is data of `config.control_charts`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from edge_agent.config.control_charts import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.config.control_charts import RunRule

MEMORY: Final = max(one.points for one in RULES.values())  # points that any rule looks at


def violated_rules(names: Iterable[str], z: Sequence[float]) -> tuple[str, ...]:
    """The rules that the newest point completes; z: standardised, the newest last.

    A point on the centre, or one that equals the point before it, interrupts a run or a trend: a
    coarse sensor alone raises no alarm.
    """
    return tuple(name for name in names if is_violated(RULES[name], z))


def is_violated(rule: RunRule, z: Sequence[float]) -> bool:
    """True if the newest point completes the pattern of a rule."""
    return bool(z) and _TESTS[rule.kind](rule, z[-rule.points :])


def _beyond(rule: RunRule, last: Sequence[float]) -> bool:
    side = 1.0 if last[-1] > 0 else -1.0
    far = [abs(one) if rule.is_any_side else one * side for one in last]
    return far[-1] > rule.sigma and sum(one > rule.sigma for one in far) >= rule.count


def _inside(rule: RunRule, last: Sequence[float]) -> bool:
    return len(last) == rule.points and all(abs(one) < rule.sigma for one in last)


def _trend(rule: RunRule, last: Sequence[float]) -> bool:
    steps = _steps(last)
    return len(last) == rule.points and (all(s > 0 for s in steps) or all(s < 0 for s in steps))


def _alternating(rule: RunRule, last: Sequence[float]) -> bool:
    steps = _steps(last)
    turns = all(a * b < 0 for a, b in itertools.pairwise(steps))
    return len(last) == rule.points and turns


def _steps(last: Sequence[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(last)]


def _never(_rule: RunRule, _last: Sequence[float]) -> bool:
    """Of the spread: the chart judges it, not its points."""
    return False


_TESTS: Final[Mapping[str, Callable[[RunRule, Sequence[float]], bool]]] = {
    "beyond": _beyond,
    "inside": _inside,
    "trend": _trend,
    "alternating": _alternating,
    "spread": _never,
}
