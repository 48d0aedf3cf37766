"""The result of careful decoding: readings with time and status, and refusals with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.paths import MISSING, find
from edge_agent.sources.mqtt.payload_spec import AUTO_QUALITY, Payload, Target, Wanted
from edge_agent.sources.mqtt.payload_time import MIN_TIME_US, time_us
from edge_agent.sources.qualities import KEYS, WEAK_KEYS, is_classic, status_of, worst
from edge_agent.values import BAD, GOOD, RETAINED, TensorBlock

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNREADABLE: Final = 0x8007_0000  # BadDecodingError
_SHOWN_CHARACTERS: Final = 40
# Under these keys of an object of one value even a number is a quality; `status: 3` need not be.
_NUMERIC_WEAK: Final = frozenset({"q", "Q"})


@dataclass(slots=True)
class Readings:
    """Collects the readings of many messages; from `spec` on, the fields are of the latest message.

    refused: its refused parts; odd: it was not a plain set of Good numbers; timed: it contained a
    time; unknown: the first of its keys that no signal uses; added: its number of readings;
    deviations: its faults that did not prevent reading; classic: it had a quality that only OPC
    Classic has, so that a 0 of its topic is Bad under any key.
    """

    arrival_us: int
    signal: list[int] = field(default_factory=list)
    time_us: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    blocks: list[TensorBlock] = field(default_factory=list)
    spec: Payload = field(default_factory=Payload)
    target: Target = field(default_factory=lambda: Target(None))
    retained: bool = False
    refused: list[DecodeError] = field(default_factory=list)
    odd: bool = False
    timed: bool = False
    unknown: str = ""
    added: int = 0
    deviations: dict[str, str] = field(default_factory=dict)
    classic: bool = False
    doc: Any = None

    def start_message(self, target: Target, spec: Payload, *, retained: bool) -> None:
        """Start the next message."""
        self.spec, self.target, self.retained = spec, target, retained
        self.refused, self.odd, self.timed, self.unknown = [], False, False, ""
        self.added, self.deviations, self.classic, self.doc = 0, {}, False, None

    def refuse(self, error: DecodeError) -> None:
        """Record a part of the message that cannot be used."""
        self.odd = True
        self.refused.append(error)

    def record_deviation(self, what: str, text: str) -> None:
        """Record a part of the message that was read although it is not as expected."""
        self.odd = True
        self.deviations.setdefault(what, text)

    def add_value(self, wanted: Wanted, raw: object, at_us: int | None, status: int = GOOD) -> None:
        """Add one signal's reading: a number, text, null, array, or an object around one of them.

        Raises DecodeError; a value that cannot be read is first added as Bad.
        """
        if isinstance(raw, list):
            self.add_block(wanted, self._samples(raw, wanted), at_us, status)
        elif isinstance(raw, dict):
            self.odd = True
            self.add_value(wanted, *self.unwrap(raw, at_us, status))
        elif wanted.waveform:
            raise DecodeError("kind", "one number, but the signal is a waveform")
        else:
            try:
                value = self._number(raw, wanted)
            except DecodeError:
                self._add(wanted, math.nan, at_us, UNREADABLE)
                raise
            self._add(wanted, value, at_us, status)

    def add_block(
        self, wanted: Wanted, samples: NDArray[Any], at_us: int | None, status: int = GOOD
    ) -> None:
        """Add a waveform block; a sample that is not a number makes the whole block Bad."""
        self.odd = True
        if not wanted.waveform:
            raise DecodeError("kind", "an array, but the signal is not a waveform")
        rate_hz = self.spec.rate_hz or wanted.rate_hz
        if rate_hz <= 0:
            raise DecodeError("kind", "a waveform, but the config gives no rate_hz")
        self.added += 1
        if self._is_old(wanted, at_us):
            return  # no sign of life, and there is no window for it
        with np.errstate(all="ignore"):
            scaled = samples.astype(np.float64) * self.spec.scale + self.spec.offset
            block = scaled.astype(np.float32)
        status = status if np.isfinite(block).all() else BAD
        end_us = self.arrival_us if at_us is None else at_us
        self.blocks.append(TensorBlock(wanted.index, end_us, rate_hz, block, status))

    def unwrap(
        self, doc: dict[str, Any], at_us: int | None = None, status: int = GOOD
    ) -> tuple[object, int | None, int]:
        """Value, time and status of an object for one signal; time and status may be passed in."""
        raw = find(doc, self.spec.value)
        if raw is MISSING:
            raw = find(doc, self.spec.samples)
        if isinstance(raw, dict):
            raw = raw.get("Body", MISSING)  # a Variant of OPC UA (Part 6, 5.4.2.17)
        if raw is MISSING:
            raise DecodeError("value", f"no value under {self.spec.value!r}")
        own_us, own_status = self.stamp(doc, single=True)
        return raw, at_us if own_us is None else own_us, worst(status, own_status)

    def stamp(self, doc: dict[str, Any], *, single: bool = False) -> tuple[int | None, int]:
        """Time and status of an object; None for the time if its key is absent, null or blank.

        single: the object is one value, not many signals.
        """
        spec = self.spec
        raw_time = find(doc, spec.time) if spec.time else MISSING
        absent = raw_time is MISSING or raw_time is None or raw_time == ""
        at_us = None if absent else time_us(raw_time, spec.time_unit, spec.timezone)
        if at_us is not None and at_us < MIN_TIME_US:
            self.record_deviation("clock", "a time stamp before 1990: a clock that was never set")
        if spec.quality == AUTO_QUALITY:
            own = self._own_quality(doc, single=single)
            around = _parent(doc, spec.value) if single else None
            return at_us, own if around is None else worst(
                own, self._own_quality(around, single=True)
            )
        raw = find(doc, spec.quality) if spec.quality else MISSING
        return at_us, GOOD if raw is MISSING else self.quality(raw, spec.quality)

    def quality(self, raw: object, key: str) -> int:
        """The status of a quality; Bad if it is unknown, which is recorded."""
        self.odd = True
        self.classic = self.classic or is_classic(raw)
        status = status_of(raw, self.spec.quality_codes, key)
        if status is None:
            self.refuse(DecodeError("quality", _unknown_quality(raw, key)))
            return BAD
        return status

    def _own_quality(self, doc: dict[str, Any], *, single: bool) -> int:
        """The quality of an object without a configured key: from unambiguous keys only."""
        status = GOOD
        for key in KEYS:
            if key in doc and key not in self.target.named:
                status = worst(status, self.quality(doc[key], key))
        for key in WEAK_KEYS if single else ():  # beside many signals it is the machine's status
            if key in doc:
                status = worst(status, self._weak_quality(doc[key], key))
        return status

    def _weak_quality(self, raw: object, key: str) -> int:
        text = raw.strip() if isinstance(raw, str) else ""
        if key in _NUMERIC_WEAK and (text[:1].isdigit() or isinstance(raw, int)):
            return self.quality(raw, key)
        if not text or text[:1].isdigit():
            return GOOD
        status = status_of(raw, self.spec.quality_codes, key)
        if status is None:
            return GOOD
        self.odd = True
        return status

    def _add(self, wanted: Wanted, value: float, at_us: int | None, status: int) -> None:
        if not math.isfinite(value):
            if math.isinf(value):
                self.record_deviation("infinite", "a number too large, or infinite: taken as bad")
            value, status = math.nan, max(status, BAD)
        if self._is_old(wanted, at_us):
            status = RETAINED
        self.odd = self.odd or status != GOOD
        self.timed = at_us is not None
        self.added += 1
        self.signal.append(wanted.index)
        self.time_us.append(self.arrival_us if at_us is None else at_us)
        self.value.append(value)
        self.status.append(status)

    def _is_old(self, wanted: Wanted, at_us: int | None) -> bool:
        """True if a broker retained the message for an unknown time, or for too long."""
        if not self.retained:
            return False
        return at_us is None or self.arrival_us - at_us > wanted.stale_us

    def _number(self, raw: object, wanted: Wanted) -> float:
        if raw is None:
            return math.nan
        if isinstance(raw, bool) and wanted.texts.words:
            return wanted.texts.number(str(raw))
        if isinstance(raw, int | float):
            try:
                return float(raw)
            except OverflowError as error:
                raise DecodeError("range", "the number is too large") from error
        if isinstance(raw, str):
            self.odd = True
            number = wanted.texts.number(raw)
            if raw.strip().casefold() not in wanted.texts.words:
                self.record_deviation("text", f"a text: {raw[:_SHOWN_CHARACTERS]!r}")
            return number
        raise DecodeError("type", f"a {type(raw).__name__} where a number is expected")

    def _samples(self, raw: list[Any], wanted: Wanted) -> NDArray[np.float64]:
        if not raw:
            raise DecodeError("empty", "an array without samples")
        if not wanted.waveform:
            raise DecodeError("kind", "an array, but the signal is not a waveform")
        return np.array([_sample(item) for item in raw], np.float64)


def _parent(doc: dict[str, Any], path: str) -> dict[str, Any] | None:
    """The object inside `doc` that contains a value; None if it is `doc` itself."""
    before = path.rpartition(".")[0]
    found = find(doc, before) if before and path not in doc else None
    return found if isinstance(found, dict) else None


def _sample(raw: object) -> float:
    if raw is None:
        return math.nan
    if not isinstance(raw, int | float):
        raise DecodeError("type", f"a {type(raw).__name__} where a number is expected")
    try:
        return float(raw)
    except OverflowError as error:
        raise DecodeError("range", "the number is too large") from error


def _unknown_quality(raw: object, key: str) -> str:
    if raw == 0 and not isinstance(raw, bool):
        return (
            f"{key} is 0: good in OPC UA, bad in OPC Classic, taken as bad "
            "(payload.quality_codes: opcua or classic says which)"
        )
    return (
        f"{key} is {str(raw)[:_SHOWN_CHARACTERS]!r}: not known, taken as bad "
        "(see payload.quality and payload.quality_codes)"
    )
