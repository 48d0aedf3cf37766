"""Control charts: the keys that a user may write, and the run rules as data.

Run rules look at standardised points: z = (statistic - centre) / its standard deviation. Sources of
the numbers: docs/process-quality.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, TypeAlias

from edge_agent.config.types import Between, Duration, Name
from edge_agent.messages import Ne107

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RuleKind: TypeAlias = Literal["beyond", "inside", "trend", "alternating", "spread"]
_RANGE: Final = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
MAX_PROCESS: Final = 16  # process signals of a part


@dataclass(frozen=True, slots=True)
class RunRule:
    """A pattern of consecutive points; the newest point completes it.

    beyond: `count` of the last `points` are more than `sigma` from the centre, on one side unless
    is_any_side; inside: all `points` are within `sigma`; trend: `points` rise, or fall, one after
    the other; alternating: `points` go up and down in turns; spread: of single values, the moving
    range is beyond its limit (of subgroups their spread always counts).
    """

    kind: RuleKind
    points: int
    count: int = 1
    sigma: float = 0.0
    is_any_side: bool = False


RULES: Final[Mapping[str, RunRule]] = {
    "beyond_limits": RunRule("beyond", 1, 1, 3.0),
    "run_of_7": RunRule("beyond", 7, 7, 0.0),
    "run_of_8": RunRule("beyond", 8, 8, 0.0),
    "run_of_9": RunRule("beyond", 9, 9, 0.0),
    "trend_of_6": RunRule("trend", 6),
    "trend_of_7": RunRule("trend", 7),
    "alternating_14": RunRule("alternating", 14),
    "two_of_three": RunRule("beyond", 3, 2, 2.0),
    "four_of_five": RunRule("beyond", 5, 4, 1.0),
    "fifteen_inside": RunRule("inside", 15, 15, 1.0),
    "eight_outside": RunRule("beyond", 8, 8, 1.0, is_any_side=True),
    "moving_range": RunRule("spread", 1),
}
# Sets by name, with the points between two false alarms (ARL0) of a normal, independent process
# whose mean and sigma are known: `scripts/control-charts` simulates them.
SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "shewhart": ("beyond_limits",),
    "iso_7870": ("beyond_limits", "run_of_7", "trend_of_7"),
    "western_electric": ("beyond_limits", "two_of_three", "four_of_five", "run_of_8"),
    "nelson": (
        "beyond_limits",
        "run_of_9",
        "trend_of_6",
        "alternating_14",
        "two_of_three",
        "four_of_five",
        "fifteen_inside",
        "eight_outside",
    ),
}


class ChartKind(StrEnum):
    """The statistic that a chart shows."""

    XBAR_R = "xbar_r"
    XBAR_S = "xbar_s"
    INDIVIDUALS = "individuals"
    EWMA = "ewma"
    CUSUM = "cusum"
    P = "p"
    NP = "np"
    C = "c"
    U = "u"


ATTRIBUTE: Final = frozenset({ChartKind.P, ChartKind.NP, ChartKind.C, ChartKind.U})
_GROUPED: Final = frozenset({ChartKind.XBAR_R, ChartKind.XBAR_S})
_WEIGHTED: Final = frozenset({ChartKind.EWMA, ChartKind.CUSUM})


class Autocorrelation(StrEnum):
    """What to do if a measurement depends on the one before it."""

    SAY = "say"
    WIDEN = "widen"
    RESIDUALS = "residuals"


@dataclass(frozen=True, slots=True)
class Part:
    """When a part is finished, and its number; `every_value`: each value is a part."""

    shorthand: ClassVar[dict[str, dict[str, str]]] = {"every_value": {}}
    trigger: Name = Name("")  # a signal that rises when a part is finished, or a counter
    id: Name = Name("")  # a signal with the part's number; alone: a part ends when it changes


@dataclass(frozen=True, slots=True)
class GivenLimits:
    """Centre and standard deviation of one value; of attribute charts the centre alone."""

    center: float
    sigma: Annotated[float, Between(0, 1e15)] = 0.0


@dataclass(frozen=True, slots=True)
class PhaseOne:
    """The subgroups from which limits are learned."""

    subgroups: Annotated[int, Between(5, 1000)] = 25
    exclude: bool = True  # leave out-of-control subgroups out, and compute the limits again
    most_excluded: Annotated[float, Between(0, 0.5)] = 0.2  # share; above it nothing is learned


@dataclass(frozen=True, slots=True)
class Specification:
    """What the customer tolerates; for capability, never for the control limits."""

    low: float | None = None
    high: float | None = None
    target: float | None = None
    confidence: Annotated[float, Between(0.5, 0.999)] = 0.95

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.low is None and self.high is None:
            yield "", "needs low, high or both"
        if self.low is not None and self.high is not None and self.low >= self.high:
            yield "low", "must be below high"

    def allows(self, value: float) -> bool:
        """True if a value is within the specification."""
        is_high_enough = self.low is None or value >= self.low
        return is_high_enough and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Ewma:
    """Exponentially weighted moving average; the defaults have ARL0 500."""

    weight: Annotated[float, Between(0.01, 1)] = 0.2  # lambda
    width: Annotated[float, Between(1, 5)] = 2.962  # L, standard deviations of the average


@dataclass(frozen=True, slots=True)
class Cusum:
    """Tabular cumulative sums; the defaults have ARL0 465."""

    k: Annotated[float, Between(0.05, 3)] = 0.5  # half of the shift to find, standard deviations
    h: Annotated[float, Between(1, 20)] = 5.0
    fast_start: bool = False  # both sums begin at h/2 (FIR)


@dataclass(frozen=True, slots=True)
class ControlChart:
    """A control chart over a measurement of parts.

    asset: an id, a range `P-{01..12}`, or a pattern `P-*`; each asset, and each product of it, has
    a chart of its own.
    """

    asset: str
    signal: Name
    part: Part = field(default_factory=Part)
    chart: ChartKind = ChartKind.INDIVIDUALS
    subgroup: Annotated[int, Between(1, 25)] | None = None  # parts; default: 5 of xbar, else 1
    rules: tuple[str, ...] = ("shewhart",)  # names of rules or of sets
    limits: GivenLimits | None = None  # default: learned
    phase_one: PhaseOne = field(default_factory=PhaseOne)
    specification: Specification | None = None
    ewma: Ewma = field(default_factory=Ewma)
    cusum: Cusum = field(default_factory=Cusum)
    sample_size: Annotated[float, Between(1e-6, 1e9)] = 1.0  # of attribute charts
    sample_signal: Name = Name("")  # its size, if it differs from sample to sample
    product: Name = Name("")  # a signal with the type of the part: one chart for each value
    products: Annotated[int, Between(1, 256)] = 16  # at most; the oldest one gives way
    reset: Name = Name("")  # a signal that rises after a tool change: runs and sums begin anew
    gap: Duration = Duration(8 * 3600)  # without a part: runs and the open subgroup begin anew
    lateness: Annotated[Duration, Between(0, 3600)] = Duration(1)  # how long a part waits
    autocorrelation: Autocorrelation = Autocorrelation.SAY
    process: tuple[Name, ...] = ()  # signals that are recorded with each part
    cameras: tuple[Name, ...] = ()  # whose verdicts belong to these parts; default: of the asset
    join_within: Annotated[Duration, Between(0, 3600)] = Duration(5)  # without a number
    clear_after: Annotated[int, Between(1, 1000)] = 5  # points in control, until the alarm clears
    severity: Annotated[int, Between(1, 1000)] = 500
    ne107: Ne107 = Ne107.OUT_OF_SPECIFICATION
    failure_mode: str = ""
    message: dict[str, str] = field(default_factory=dict)  # language -> text
    advice: dict[str, str] = field(default_factory=dict)

    def covers(self, asset: str) -> bool:
        """True if the chart is of this asset."""
        form, ranges = _form_of(self.asset)
        found = form.fullmatch(asset)
        numbers = () if found is None else found.groups()
        return found is not None and all(
            low <= int(text) <= high and text == f"{int(text):0{width}d}"
            for text, (low, high, width) in zip(numbers, ranges, strict=True)
        )

    @property
    def group_size(self) -> int:
        """Parts in a subgroup."""
        return self.subgroup or (5 if self.chart in _GROUPED else 1)

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The rules of all sets and names, each once."""
        named = [name for one in self.rules for name in SETS.get(one, (one,))]
        return tuple(dict.fromkeys(named))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every signal that the chart reads."""
        named = (
            self.signal,
            self.part.trigger,
            self.part.id,
            self.sample_signal,
            self.product,
            self.reset,
            *self.process,
        )
        return tuple(dict.fromkeys(name for name in named if name))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        yield from self._size_problems()
        yield from _rule_problems(self.rules)
        if self.limits is not None and self.chart not in ATTRIBUTE and not self.limits.sigma:
            yield "limits.sigma", "is missing: the standard deviation of one value"
        if self.limits is not None and self.chart in ATTRIBUTE and self.limits.center <= 0:
            yield "limits.center", "must be above 0"
        if self.limits is not None and self.chart is ChartKind.P and self.limits.center >= 1:
            yield "limits.center", "is a share: below 1"
        if len(self.process) > MAX_PROCESS:
            yield "process", f"takes {MAX_PROCESS} signals at most"

    def _size_problems(self) -> Iterator[tuple[str, str]]:
        if self.chart in _GROUPED and self.group_size == 1:
            yield "subgroup", "of an xbar chart is at least 2; of single values use individuals"
        if self.chart not in _GROUPED | _WEIGHTED and self.group_size > 1:
            yield "subgroup", f"of a chart {self.chart} is 1"
        if self.chart in ATTRIBUTE and self.specification is not None:
            yield "specification", "has no meaning for counts of defects"
        if self.autocorrelation is Autocorrelation.RESIDUALS and (
            self.chart in ATTRIBUTE or self.group_size > 1
        ):
            yield "autocorrelation", "residuals need single values: subgroup 1"


@lru_cache(maxsize=256)
def _form_of(pattern: str) -> tuple[re.Pattern[str], list[tuple[int, int, int]]]:
    """The pattern as an expression; of each range of numbers the ends and the least digits."""
    parts = _RANGE.split(pattern)
    literal = [re.escape(one).replace(r"\*", ".*").replace(r"\?", ".") for one in parts[::3]]
    pairs = zip(parts[1::3], parts[2::3], strict=True)
    ranges = [(int(low), int(high), len(low)) for low, high in pairs]
    return re.compile("([0-9]{1,12})".join(literal)), ranges


def _rule_problems(rules: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not rules:
        yield "rules", "is empty: write shewhart"
    for number, name in enumerate(rules):
        if name not in RULES and name not in SETS:
            known = ", ".join((*SETS, *RULES))
            yield f"rules.{number}", f"there is no rule {str(name)[:40]!r}; known: {known}"


@dataclass(frozen=True, slots=True)
class PartRecords:
    """What is kept of parts: measurements, verdicts, process signals."""

    max_parts: Annotated[int, Between(100, 10_000_000)] = 20_000  # the oldest give way
