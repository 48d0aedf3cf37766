"""Rows around alarms as Parquet files; the extra `parquet`: docs/adr/0025-labelled-set.md."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import StoreError, UsageError
from edge_agent.labelled.files import entries_of, occurrence_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.labelled.files import Entry

_END: Final = ".parquet"
_MAGIC: Final = b"PAR1"
_OWN: Final = ("_time", "_active", "_asset", "_alarm", "_model")
INSTALL: Final = "pip install 'edge-agent-pdm[parquet]'"


def is_installed() -> bool:
    """True if Parquet can be read and written."""
    return find_spec("arro3") is not None


def expect_installed(where: str) -> None:
    """UsageError if the extra `parquet` is not installed."""
    if not is_installed():
        raise UsageError("Parquet needs the package arro3-io", where=where, hint=INSTALL)


@dataclass(frozen=True, slots=True)
class LabelledWindow:
    """The rows around one occurrence of a model's alarm.

    raised_us: when it was raised; model: `name@version`; times_us [T]; active: True for the rows
    [T] while the alarm was active; rows [T, C] of the inputs [C], NaN where a value was not usable.
    """

    alarm_id: str
    asset: str
    model: str
    raised_us: int
    inputs: tuple[str, ...]
    times_us: NDArray[np.int64]
    active: NDArray[np.bool_]
    rows: NDArray[np.floating]

    @property
    def key(self) -> str:
        """As `occurrence_key`."""
        return occurrence_key(self.asset, self.alarm_id, self.raised_us)

    @property
    def ending(self) -> str:
        """Of its file."""
        return _END

    def encoded(self) -> bytes:
        """The bytes of a Parquet file."""
        rows = len(self.times_us)
        texts = (self.asset, self.alarm_id, self.model)
        own: dict[str, object] = dict(
            zip(_OWN, (self.times_us, self.active, *([one] * rows for one in texts)), strict=True)
        )
        names = [f"_{one}" if one in own else one for one in self.inputs]
        return encode_columns(own | dict(zip(names, self.rows.T, strict=True)))


def encode_columns(columns: Mapping[str, Any]) -> bytes:
    """Columns as a Parquet file: numpy arrays, and lists of texts; `_time` in microseconds."""
    from arro3.core import Array, DataType, Table  # noqa: PLC0415 (an extra)
    from arro3.io import write_parquet  # noqa: PLC0415

    made: dict[str, Any] = {}
    for name, each in columns.items():
        if isinstance(each, np.ndarray):
            made[name] = Array.from_numpy(np.ascontiguousarray(each))
        else:
            made[name] = Array(each, type=DataType.utf8())
        if name == _OWN[0]:
            made[name] = made[name].cast(DataType.timestamp("us", tz="UTC"))
    buffer = io.BytesIO()
    write_parquet(Table.from_pydict(made), buffer, compression="zstd(3)")
    return buffer.getvalue()


def read_window(entry: Entry) -> LabelledWindow:
    """Read a file of the set; StoreError if it is damaged."""
    columns = _read(entry.path)
    missing = [name for name in _OWN if name not in columns]
    if missing or not len(columns[_OWN[0]]):
        raise StoreError("not a file of the labelled set", where=str(entry.path))
    times, active, asset, alarm, model = (columns.pop(name) for name in _OWN)
    inputs = tuple(columns)
    rows = np.array([np.asarray(one, np.float64) for one in columns.values()]).T
    return LabelledWindow(
        str(alarm[0]),
        str(asset[0]),
        str(model[0]),
        entry.raised_us,
        inputs,
        np.asarray(times, np.int64),
        np.asarray(active, np.bool_),
        rows.reshape(len(times), len(inputs)),
    )


def _read(path: Path) -> dict[str, Any]:
    """The columns of a Parquet file."""
    try:
        raw = path.read_bytes()
        whole = raw[:4] == _MAGIC == raw[-4:]
        found = _decode(raw) if whole else {}
    except BaseException as error:
        # The library panics on a damaged file, with an exception that is not an `Exception`.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"cannot be read: {error}", where=str(path)) from None
    return found


def _decode(raw: bytes) -> dict[str, Any]:
    from arro3.core import DataType  # noqa: PLC0415 (an extra)
    from arro3.io import read_parquet  # noqa: PLC0415

    table = read_parquet(io.BytesIO(raw)).read_all()
    found: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name == _OWN[0]:
            column = column.cast(DataType.int64())
        is_text = DataType.is_string(column.type)
        found[name] = column.to_pylist() if is_text else column.to_numpy()
    return found


def read_windows(folder: Path, verdicts: Sequence[str]) -> Iterator[tuple[Entry, LabelledWindow]]:
    """The windows with one of these verdicts, the oldest first; damaged ones are left out."""
    for entry in entries_of(folder):
        if entry.verdict in verdicts and entry.path.suffix == _END:
            with suppress(StoreError):
                yield entry, read_window(entry)
