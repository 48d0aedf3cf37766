"""When a part is finished and what was measured of it: from values of signals to measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_agent.config.control_charts import Part

_WHOLE: Final = 2.0**53  # numbers of parts up to here are exact


class Reading(NamedTuple):
    """The newest value of a signal, NaN if it is bad."""

    value: float
    at_us: int


class Finished(NamedTuple):
    """A part is finished. since_us: when the one before it was; part: its number, or empty.

    signals: those that came in this moment.
    """

    at_us: int
    since_us: int
    part: str
    signals: frozenset[str]


@dataclass(frozen=True, slots=True)
class SignalTraits:
    """For how long a value is valid, and whether it holds until the next one (OPC UA)."""

    stale_us: int
    holds: bool


class PartWatch:
    """Follows the signals of one asset, and finds when its parts are finished.

    traits: of a signal of the asset, by its name.
    """

    def __init__(self, part: Part, traits: Callable[[str], SignalTraits]) -> None:
        self._part = part
        self._traits = traits
        self.readings: dict[str, Reading] = {}
        self._since_us = NEVER

    def accept(self, at_us: int, values: Mapping[str, float]) -> Iterator[Finished]:
        """Accept all values of one moment, by signal; yields what they finish.

        A number that changes finishes the part before: values of the same moment are of the next.
        A trigger finishes the part with all values of its moment.
        """
        part, signals = self._part, frozenset(values)
        numbered = str(part.id)
        if numbered in values and not part.trigger and self._changes(numbered, values[numbered]):
            yield self._finished(at_us, self.number, signals)
        rises = self.rises(str(part.trigger), values)
        self.readings.update({name: Reading(one, at_us) for name, one in values.items()})
        if rises or not (part.trigger or part.id):
            yield self._finished(at_us, self.number, signals)

    def rises(self, signal: str, values: Mapping[str, float]) -> bool:
        """True if a signal is higher than before: a contact that closes, a counter that counts."""
        before = self.readings.get(signal)
        return before is not None and values.get(signal, -math.inf) > before.value

    @property
    def number(self) -> str:
        """The number of the present part, empty if it has none."""
        known = self.readings.get(str(self._part.id))
        return "" if known is None else number_text(known.value)

    def measured(self, signal: str, finished: Finished) -> float:
        """The value of a signal for a finished part; NaN if it is bad, stale or of another part."""
        found = self.readings.get(signal)
        if found is None:
            return math.nan
        traits = self._traits(signal)
        is_own = (
            traits.holds
            or found.at_us > finished.since_us
            or self._is_first_moment(finished, found)
        )
        is_fresh = finished.at_us - found.at_us <= traits.stale_us
        return found.value if is_own and is_fresh else math.nan

    def present(self, signal: str, at_us: int) -> float:
        """The valid value of a process signal at a time; NaN if there is none."""
        found = self.readings.get(signal)
        if found is None or at_us - found.at_us > self._traits(signal).stale_us:
            return math.nan
        return found.value

    def reset_clock(self) -> None:
        """The source's clock was set back."""
        self.readings.clear()
        self._since_us = NEVER

    def _is_first_moment(self, finished: Finished, found: Reading) -> bool:
        """Of parts by number, the values of the moment in which the number came are its own."""
        return not self._part.trigger and found.at_us == finished.since_us

    def _changes(self, signal: str, value: float) -> bool:
        before = self.readings.get(signal)
        if before is None:
            return False
        return math.isfinite(value) and math.isfinite(before.value) and value != before.value

    def _finished(self, at_us: int, part: str, signals: frozenset[str]) -> Finished:
        since_us, self._since_us = self._since_us, at_us
        return Finished(at_us, since_us, part, signals)


def number_text(value: float) -> str:
    """The number of a part, or of a product, as text; empty if it is none."""
    if not math.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < _WHOLE else repr(value)


def by_moment(
    rows: Sequence[tuple[int, str, float]],
) -> Iterator[tuple[int, dict[str, float]]]:
    """Rows (time, signal, value) in the order of time, all of one moment together."""
    at_us, values = NEVER, dict[str, float]()
    for time_us, signal, value in rows:
        if time_us != at_us and values:
            yield at_us, values
            values = {}
        at_us = time_us
        values[signal] = value
    if values:
        yield at_us, values
