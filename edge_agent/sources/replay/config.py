"""What a config may say of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the config loader reads the annotations)
from typing import TYPE_CHECKING, Annotated

from edge_agent.config.schema import SourceTraits
from edge_agent.config.types import Between, Name

if TYPE_CHECKING:
    from collections.abc import Iterator


class Blank(StrEnum):
    """What an empty cell is."""

    SKIP = "skip"  # no value
    BAD = "bad"  # a value of status BadNoData


class QualityCodes(StrEnum):
    """What numbers in a quality column are."""

    OPCUA = "opcua"  # StatusCodes: 0 is Good
    CLASSIC = "classic"  # OPC Classic: 192 is Good, 0 is Bad


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """`type: replay`. A column is given by its name or its number, the first being 1.

    Wide files have a column for each signal, called as the signal, as its address, or as
    `columns` says; of one asset (`asset`, where `{stem}` is the file's name), or with an
    `asset_column`; with neither, columns are called `asset.signal` or as addresses that only one
    signal has. Long files have one value a row (`signal_column` and `value_column`).
    """

    path: Path  # may be a pattern: runs/*.csv; .gz is unpacked
    asset: str = ""
    template: str = ""  # for assets that the config does not name
    columns: dict[Name, str] = field(default_factory=dict)  # column by signal
    header: bool = True  # without one, columns have numbers only
    separator: str = ""  # default: found out; a blank stands for any run of blanks
    decimal: str = ""  # default: found out by the whole file
    time: str = ""  # or DATE+TIME; default: a column called time, timestamp, ..., else by its cells
    # iso, dmy, mdy, ymd, excel, excel1904, s, ms, us, ns (since 1970), or as strptime; default:
    # found out by the whole file
    time_format: str = ""
    timezone: str = "UTC"  # of times that name none: an IANA name, or as +01:00
    asset_column: str = ""
    signal_column: str = ""
    value_column: str = ""
    quality: str = ""  # a column for the row, or for each value: `{column}_quality`
    quality_codes: QualityCodes = QualityCodes.OPCUA
    blank: Blank = Blank.SKIP
    speed: Annotated[float, Between(0, 1e9)] = 1.0  # 0: as fast as it goes
    loop: bool = False
    shift_to_now: bool = False  # move all times so that the first is now

    @property
    def traits(self) -> SourceTraits:
        """Every sample is in the file, at its own time."""
        return SourceTraits()

    def problems(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself."""
        if bool(self.signal_column) != bool(self.value_column):
            yield "signal_column", "signal_column and value_column go together"
        if self.asset and self.asset_column:
            yield "asset_column", "give either asset or asset_column"
        if self.decimal not in {"", ".", ","}:
            yield "decimal", "must be '.' or ','"
        if len(self.separator) > 1 or self.separator in {'"', "\n", "\r"}:
            yield "separator", "must be one character"
