"""The config of payloads, and the target of a topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.config.types import Between
from edge_agent.sources.mqtt.paths import problem_of
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.qualities import QualityCodes
from edge_agent.sources.zone import zone_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDLESS_US: Final = 1 << 62


class Format(StrEnum):
    """How a payload is written."""

    JSON = "json"
    CSV = "csv"
    INFLUX = "influx"  # lines of InfluxDB
    FLOAT32 = "float32"
    INT16 = "int16"


BINARY: Final = frozenset({Format.FLOAT32, Format.INT16})


class TimeUnit(StrEnum):
    """The unit of a time stamp; `auto` decides by its size, and accepts ISO 8601 too."""

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


AUTO_QUALITY: Final = "auto"  # a key with a usual name and a known value


@dataclass(frozen=True, slots=True)
class Payload:
    """How the payloads of a subscription are read. Keys may be paths: `data.value`, `list[0].v`."""

    format: Format = Format.JSON
    time: str = "ts"  # JSON key or CSV column; empty or absent: the time of arrival
    time_unit: TimeUnit = TimeUnit.AUTO
    timezone: str = ""  # of times without zone; default: the source's
    value: str = "value"  # of one signal; may contain placeholders of the topic: "{signal}"
    quality: str = AUTO_QUALITY  # auto: quality, q, StatusCode, ... beside a value; empty: none
    quality_codes: QualityCodes = QualityCodes.AUTO
    items: str = ""  # path of records of one value each: values, Messages[].Payload
    name: str = ""  # the key of a record that names its signal; default: the record's own key
    asset: str = ""  # the key that names the asset; "*": the keys of the object themselves
    samples: str = "samples"  # JSON array of a waveform; `time` is then that of its last sample
    columns: tuple[str, ...] = ()  # CSV; default: time and value, or the value alone
    separator: str = ","
    decimal: str = "."  # of numbers in texts and CSV, unless the signal sets another
    rate_hz: Annotated[float, Between(0, 1e8)] = 0.0  # waveforms: samples per second
    scale: float = 1.0  # waveforms: sample = number * scale + offset
    offset: float = 0.0
    byte_order: ByteOrder = ByteOrder.LITTLE
    header: Annotated[int, Between(0, 65_536)] = 0  # bytes before the first sample

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.format in BINARY and self.rate_hz <= 0:
            yield "rate_hz", "a binary waveform needs its samples per second"
        if self.timezone:
            yield from zone_problems(self.timezone)
        if not self.value:
            yield "value", "is empty"
        if not self.separator:
            yield "separator", "is empty"
        if self.decimal not in {".", ","}:
            yield "decimal", "must be '.' or ','"
        elif self.format is Format.CSV and self.separator == self.decimal:
            yield "separator", "is the decimal mark as well"
        yield from self._paths()
        yield from self._without_effect()

    def _paths(self) -> Iterator[tuple[str, str]]:
        for key in ("time", "value", "quality", "name", "samples"):
            text = problem_of(getattr(self, key))
            if text and self.format is Format.JSON:
                yield key, text
        text = problem_of(self.items, each=True)
        if text:
            yield "items", text
        if self.asset != "*" and problem_of(self.asset):
            yield "asset", problem_of(self.asset)

    def _without_effect(self) -> Iterator[tuple[str, str]]:
        """Keys that differ from their defaults although this format does not use them."""
        default = Payload()
        for keys, formats, why in _NEEDS:
            for key in keys:
                if self.format not in formats and getattr(self, key) != getattr(default, key):
                    yield key, f"has no effect on format {self.format}: {why}"
        if not self.quality and self.quality_codes is not QualityCodes.AUTO:
            yield "quality_codes", "has no effect without quality"
        if not self.time and self.time_unit is not TimeUnit.AUTO:
            yield "time_unit", "has no effect without time"


_TEXT: Final = frozenset({Format.JSON, Format.CSV, Format.INFLUX})
_NEEDS: Final = (
    (("columns", "separator"), frozenset({Format.CSV}), "it is for csv"),
    (("byte_order", "header"), BINARY, "it is for float32 and int16"),
    (("items", "name", "samples"), frozenset({Format.JSON}), "it is for json"),
    (("asset",), frozenset({Format.JSON, Format.INFLUX}), "it is for json and influx"),
    (("decimal", "quality", "quality_codes"), _TEXT, "no text is in it"),
    (("time", "time_unit", "value"), _TEXT, "it is samples alone"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A signal that a topic delivers; rate_hz: of waveforms, the signal's own."""

    index: int
    waveform: bool
    rate_hz: float = 0.0
    texts: TextRules = field(default_factory=TextRules, compare=False)
    stale_us: int = ENDLESS_US


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a topic's payloads: one signal, or an asset's signals by their keys.

    by_asset: returns the signals of an asset that the payload names; DecodeError if there is none.
    """

    single: Wanted | None
    named: dict[str, Wanted] = field(default_factory=dict)
    by_asset: Callable[[str], dict[str, Wanted]] | None = None
