"""The progress of an asset to a baseline, and the data that its learning is based on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import Kind
from edge_agent.values import BAD_TYPE_MISMATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_agent.config.schema import Learn
    from edge_agent.learning.healthy_rows import HealthyRows
    from edge_agent.learning.input_choice import InputChoice
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import QualityWatch

log = logging.getLogger("edge_agent.learning")

_NO_VALUE: Final = "no value"
_NO_NUMBER: Final = "no number"
_RETRY_S: Final = (60.0, 3600.0)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Healthy rows [T, C] by asset, of these inputs: the data of one bundle.

    provisional_s: the seconds of data that it is based on, 0 for a full baseline; left_out: by
    asset, the inputs that did not deliver, with the reason; length: rows of a window. times_us: of
    the rows [T] by asset; labelled: what people's labels changed in them, empty if nothing.
    """

    inputs: tuple[str, ...]
    rows: dict[str, NDArray[np.float64]]
    provisional_s: float
    left_out: dict[str, dict[str, str]]
    length: int
    times_us: dict[str, NDArray[np.int64]]
    labelled: str = ""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """Where the learning of an asset stands. retry_s: no bundle is made before that time."""

    stage: int = 0
    is_busy: bool = False
    is_done: bool = False
    failure: str = ""
    delay_s: float = 0.0
    retry_s: float = -np.inf

    @property
    def is_waiting(self) -> bool:
        """True if it learns, and no bundle is being made of its rows."""
        return not (self.is_done or self.is_busy)

    def fail(self, reason: str, monotonic_s: float) -> None:
        """No bundle was made: it is retried, ever more rarely."""
        self.is_busy, self.failure = False, reason
        self.delay_s = min(_RETRY_S[1], 2 * self.delay_s or _RETRY_S[0])
        self.retry_s = monotonic_s + self.delay_s

    def succeed(self) -> None:
        """A bundle was made."""
        self.is_busy, self.failure, self.delay_s = False, "", 0.0


@dataclass(slots=True)
class Training(Attempt):
    """Progress of an asset. closed: why its rows are not learned now.

    confirmed_rows: the next rows that are learned despite its alarm; an operator calls it healthy.
    """

    asset: PlantAsset
    rows: HealthyRows
    choice: InputChoice
    left_out: dict[int, str] = field(default_factory=dict)
    last_us: int | None = None
    closed: str = ""
    confirmed_rows: int = 0

    def take_back(self, since_us: int) -> None:
        """Remove the rows since then; they are not healthy."""
        for row in self.rows.take_back(since_us):
            known = ~np.isnan(row.values)
            if known.any():  # else it was only a break
                self.choice.discount(known)

    @property
    def can_learn(self) -> bool:
        """True if a bundle may be made of its rows: not of a machine that only stood still."""
        return self.is_waiting and not self.closed and self.rows.has_moved


def learn_inputs(config: Learn, first: PlantAsset) -> tuple[str, ...]:
    """The inputs to learn from: the configured ones, else all signals, without waveforms.

    Conditions and the start signal of the cycle are always inputs.
    """
    shared = config.inputs or first.template.signals or first.signals
    cycle = (config.cycle.start,) if config.cycle and config.cycle.start else ()
    names = dict.fromkeys((*shared, *config.mode, *cycle))
    waves = {n for n, s in first.signals.items() if s.config.kind is not Kind.SCALAR}
    return tuple(name for name in names if name not in waves)


def missing_inputs(inputs: tuple[str, ...], asset: PlantAsset) -> str:
    """Why an asset cannot learn from these inputs; empty if it can."""
    missing = [name for name in inputs if name not in asset.signals]
    if inputs and not missing:
        return ""
    return f"cannot learn: no signal {', '.join(missing) or 'that is a number'}"


def alike(trainings: Iterable[Training]) -> list[list[Training]]:
    """Groups that one bundle can serve: with the same inputs and the same stage."""
    found: dict[tuple[bytes, int], list[Training]] = {}
    for one in trainings:
        found.setdefault((one.choice.chosen.tobytes(), one.stage), []).append(one)
    return list(found.values())


def reason_of(watch: QualityWatch, signal: int) -> str:
    """The problem of an input, in a word or two."""
    if (int(watch.status[signal]) & 0xFFFF_0000) == BAD_TYPE_MISMATCH:
        return _NO_NUMBER
    if watch.unseen()[signal]:
        return _NO_VALUE
    problem = watch.problem_of(signal).name.lower().replace("_", " ")
    return "too rarely usable" if problem in {"none", "stuck"} else problem


def log_input(level: int, event: str, one: Training, name: str, **more: str) -> None:
    """Log a change of one input of an asset that learns."""
    log.log(level, event, extra={"asset": one.asset.id, "input": name, **more})


def time_of_day(at_us: int) -> str:
    """The time of day on the gateway."""
    return datetime.fromtimestamp(at_us / US_PER_S, UTC).astimezone().strftime("%H:%M")
