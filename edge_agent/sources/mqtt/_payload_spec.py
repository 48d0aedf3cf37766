"""What the config says about payloads, and what a topic is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from edge_agent.config.types import Between

if TYPE_CHECKING:
    from collections.abc import Iterator


class Format(StrEnum):
    """How a payload is written."""

    JSON = "json"
    CSV = "csv"
    FLOAT32 = "float32"
    INT16 = "int16"


class TimeUnit(StrEnum):
    """What a time stamp counts; `auto` tells by its size, and takes ISO 8601 too."""

    AUTO = "auto"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    ISO = "iso"


class ByteOrder(StrEnum):
    """Byte order of binary samples."""

    LITTLE = "little"
    BIG = "big"


@dataclass(frozen=True, slots=True)
class Payload:
    """How the payloads of a subscription are read. Keys may be paths: `data.value`."""

    format: Format = Format.JSON
    time: str = "ts"  # JSON key or CSV column; empty or absent: the time of arrival
    time_unit: TimeUnit = TimeUnit.AUTO
    value: str = "value"  # where one topic is one signal
    quality: str = ""  # good, uncertain, bad, a truth value or an OPC UA StatusCode
    samples: str = "samples"  # JSON array of a waveform; `time` is then that of its last sample
    columns: tuple[str, ...] = ()  # CSV; default: time and value, or the value alone
    separator: str = ","
    rate_hz: Annotated[float, Between(0, 1e8)] = 0.0  # waveforms: samples per second
    scale: float = 1.0  # waveforms: sample = number * scale + offset
    offset: float = 0.0
    byte_order: ByteOrder = ByteOrder.LITTLE
    header: Annotated[int, Between(0, 65_536)] = 0  # bytes before the first sample

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.format in {Format.FLOAT32, Format.INT16} and self.rate_hz <= 0:
            yield "rate_hz", "a binary waveform needs its samples per second"
        if not self.value:
            yield "value", "is empty"
        if not self.separator:
            yield "separator", "is empty"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A signal that a topic delivers."""

    index: int
    waveform: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What a topic's payloads are about: one signal, or an asset's signals by their keys."""

    single: Wanted | None
    named: dict[str, Wanted] = field(default_factory=dict)
