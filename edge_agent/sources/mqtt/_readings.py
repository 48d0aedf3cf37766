"""What careful decoding gives: readings with a time and a status, and refusals with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.records import BAD, GOOD, SEVERITY_SHIFT, UNCERTAIN, WaveBlock
from edge_agent.sources.mqtt._payload_spec import Payload, Target, Wanted
from edge_agent.sources.mqtt._payload_time import time_us

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING: Final = object()
_MAX_STATUS: Final = 0xFFFF_FFFF
_QUALITIES: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}


@dataclass(slots=True)
class Readings:
    """Collects the readings of many messages; from `spec` on it is about the latest message.

    refused: what of it was refused; odd: it was not a plain set of good numbers; timed: it had a
    time of its own; unknown: the first of its keys that nobody wants.
    """

    arrival_us: int
    signal: list[int] = field(default_factory=list)
    time_us: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    blocks: list[WaveBlock] = field(default_factory=list)
    spec: Payload = field(default_factory=Payload)
    target: Target = field(default_factory=lambda: Target(None))
    retained: bool = False
    refused: list[DecodeError] = field(default_factory=list)
    odd: bool = False
    timed: bool = False
    unknown: str = ""

    def begin(self, target: Target, spec: Payload, *, retained: bool) -> None:
        """Turn to the next message."""
        self.spec, self.target, self.retained = spec, target, retained
        self.refused, self.odd, self.timed, self.unknown = [], False, False, ""

    def refuse(self, error: DecodeError) -> None:
        """Note a part of the message that cannot be used."""
        self.odd = True
        self.refused.append(error)

    def take(self, wanted: Wanted, raw: object, at_us: int | None, status: int = GOOD) -> None:
        """One signal's reading: a number, a truth value, null, an array, an object around it."""
        if isinstance(raw, list):
            self.take_block(wanted, _samples(raw), at_us, status)
        elif isinstance(raw, dict):
            self.odd = True
            self.take(wanted, *unwrap(raw, self.spec, at_us, status))
        elif wanted.waveform:
            raise DecodeError("kind", "one number, where the signal is a waveform")
        else:
            self._add(wanted.index, _number(raw), at_us, status)

    def take_block(
        self, wanted: Wanted, samples: NDArray[Any], at_us: int | None, status: int = GOOD
    ) -> None:
        """A waveform block; a sample that is no number makes all of it Bad."""
        self.odd = True
        if not wanted.waveform:
            raise DecodeError("kind", "an array, where the signal is no waveform")
        if self.spec.rate_hz <= 0:
            raise DecodeError("kind", "a waveform, but the config gives no rate_hz")
        with np.errstate(all="ignore"):
            scaled = samples.astype(np.float64) * self.spec.scale + self.spec.offset
            block = scaled.astype(np.float32)
        status = self._aged(at_us, status) if np.isfinite(block).all() else BAD
        end_us = self.arrival_us if at_us is None else at_us
        self.blocks.append(WaveBlock(wanted.index, end_us, self.spec.rate_hz, block, status))

    def _add(self, index: int, value: float, at_us: int | None, status: int) -> None:
        if not math.isfinite(value):
            value, status = math.nan, BAD
        status = self._aged(at_us, status)
        self.odd = self.odd or status != GOOD
        self.timed = at_us is not None
        self.signal.append(index)
        self.time_us.append(self.arrival_us if at_us is None else at_us)
        self.value.append(value)
        self.status.append(status)

    def _aged(self, at_us: int | None, status: int) -> int:
        """A retained message without a time may be of any age."""
        return UNCERTAIN if self.retained and at_us is None and status == GOOD else status


def unwrap(
    doc: dict[str, Any], spec: Payload, at_us: int | None = None, status: int = GOOD
) -> tuple[object, int | None, int]:
    """Value, time and status of an object that stands for one signal; the last two may be given."""
    raw = find(doc, spec.value)
    if raw is MISSING:
        raw = find(doc, spec.samples)
    if raw is MISSING or isinstance(raw, dict):
        raise DecodeError("value", f"no value under {spec.value!r}")
    own_us, own_status = stamp(doc, spec)
    return raw, at_us if own_us is None else own_us, max(status, own_status)


def stamp(doc: dict[str, Any], spec: Payload) -> tuple[int | None, int]:
    """Time and status of an object; no time where its key is absent or null."""
    raw_time = find(doc, spec.time) if spec.time else MISSING
    raw_quality = find(doc, spec.quality) if spec.quality else MISSING
    absent = raw_time is MISSING or raw_time is None
    at_us = None if absent else time_us(raw_time, spec.time_unit)
    return at_us, GOOD if raw_quality is MISSING else _quality(raw_quality)


def find(doc: dict[str, Any], path: str) -> Any:  # noqa: ANN401 (any JSON)
    """What stands under a key, or under a dotted path of keys; MISSING if nothing does."""
    if path in doc:
        return doc[path]
    here: Any = doc
    for key in path.split("."):
        if not isinstance(here, dict) or key not in here:
            return MISSING
        here = here[key]
    return here


def _quality(raw: object) -> int:
    """A StatusCode from a word, a truth value or a StatusCode; other things are uncertain."""
    if isinstance(raw, bool):
        return GOOD if raw else BAD
    if isinstance(raw, int) and 0 <= raw <= _MAX_STATUS:
        return raw if raw >> SEVERITY_SHIFT else GOOD
    return _QUALITIES.get(raw.lower(), UNCERTAIN) if isinstance(raw, str) else UNCERTAIN


def _number(raw: object) -> float:
    if raw is None:
        return math.nan
    if isinstance(raw, int | float):
        try:
            return float(raw)
        except OverflowError as error:
            raise DecodeError("range", "the number is too large") from error
    raise DecodeError("type", f"a {type(raw).__name__} where a number is expected")


def _samples(raw: list[Any]) -> NDArray[np.float64]:
    if not raw:
        raise DecodeError("empty", "an array without samples")
    return np.array([_number(item) for item in raw], np.float64)
