"""The config of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the config loader reads the annotations)
from typing import TYPE_CHECKING, Annotated

from edge_agent.config.schema import SourceTraits
from edge_agent.config.types import Between, Duration, Name
from edge_agent.sources.replay.moments import iso_moment

if TYPE_CHECKING:
    from collections.abc import Iterator


class Blank(StrEnum):
    """The meaning of an empty cell."""

    SKIP = "skip"  # no value
    BAD = "bad"  # a value of status BadNoData


class Waves(StrEnum):
    """How a text contains waveforms. WAV and NPY files need no such key."""

    NONE = ""  # a table of values
    ROWS = "rows"  # a block of samples in each row
    COLUMNS = "columns"  # the samples of a signal in each column


class QualityCodes(StrEnum):
    """The meaning of numbers in a quality column."""

    OPCUA = "opcua"  # StatusCodes: 0 is Good
    CLASSIC = "classic"  # OPC Classic: 192 is Good, 0 is Bad


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """`type: replay`. A column is set by its name or its number, the first being 1.

    Wide files have a column for each signal, named by the signal, its address, or `columns`; of one
    asset (`asset`, where `{stem}` is the file's name), or with an `asset_column`; with neither,
    columns are named `asset.signal` or by addresses that only one signal has. Long files have one
    value per row (`signal_column` and `value_column`).
    """

    path: Path  # may be a pattern: runs/*.csv; .gz is unpacked; a folder of .wav and .npy files
    asset: str = ""
    template: str = ""  # for assets that are not in the config
    columns: dict[Name, str] = field(default_factory=dict)  # column by signal
    header: bool = True  # without one, columns have only numbers
    separator: str = ""  # default: detected; a blank stands for any run of blanks
    decimal: str = ""  # default: detected from the whole file
    time: str = ""  # or DATE+TIME; default: a column named time, timestamp, ..., else by its cells
    # iso, dmy, mdy, ymd, excel, excel1904, s, ms, us, ns (since 1970), or a strptime format;
    # default: detected from the whole file
    time_format: str = ""
    timezone: str = "UTC"  # of times without zone: an IANA name, or an offset such as +01:00
    asset_column: str = ""
    signal_column: str = ""
    value_column: str = ""
    quality: str = ""  # a column for the row, or for each value: `{column}_quality`
    quality_codes: QualityCodes = QualityCodes.OPCUA
    blank: Blank = Blank.SKIP
    waves: Waves = Waves.NONE
    rate_hz: Annotated[float, Between(0, 1e9)] = 0.0  # of NPY and text; default: the signal's
    start: str = ""  # of the first waveform; default: from the name of each file, or its rows
    interval: Duration | None = None  # from block to block; default: no time between them
    speed: Annotated[float, Between(0, 1e9)] = 1.0  # 0: as fast as possible
    loop: bool = False
    shift_to_now: bool = False  # move all times so that the first is now

    @property
    def traits(self) -> SourceTraits:
        """Every sample is in the file, at its own time."""
        return SourceTraits()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if bool(self.signal_column) != bool(self.value_column):
            yield "signal_column", "signal_column and value_column go together"
        if self.asset and self.asset_column:
            yield "asset_column", "give either asset or asset_column"
        if self.decimal not in {"", ".", ","}:
            yield "decimal", "must be '.' or ','"
        if self.start:
            try:
                iso_moment(self.start)
            except ValueError:
                yield "start", "is not a time such as 2026-11-26T18:00:00Z"
        if len(self.separator) > 1 or self.separator in {'"', "\n", "\r"}:
            yield "separator", "must be one character"
