"""The labelled set: rows around alarms as Parquet files, with what people said the alarm was.

A file is one occurrence of an alarm. Verdict and part are the folder (the hive convention, which
pandas, Polars, DuckDB and Spark read as columns), so that a verdict is one atomic rename and no
file is ever read to label it:

    verdict=false/part=bearing/1795795200000000.3f2a91c4.P-101.parquet

Files are written whole, under another name, and renamed; a kill leaves the file before or after.
Parquet needs the extra `parquet`: docs/adr/0025-labelled-set.md.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import numpy as np

from edge_agent.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

UNJUDGED: Final = "none"  # the verdict of a window that nobody has judged
MAX_FILES: Final = 10_000
_NO_PART: Final = "__HIVE_DEFAULT_PARTITION__"
_END: Final = ".parquet"
_HALF: Final = ".half"  # a file that is being written
_MAX_ASSET: Final = 120  # characters of a file's name
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
    def name(self) -> str:
        """Its file."""
        return file_name(self.asset, self.alarm_id, self.raised_us)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the set. size: in bytes; verdict: UNJUDGED, or as `alarms.VERDICTS`."""

    path: Path
    verdict: str
    part: str
    size: int

    @property
    def raised_us(self) -> int:
        """When the alarm was raised."""
        return int(self.path.name.partition(".")[0])

    @property
    def asset(self) -> str:
        """The machine."""
        return unquote(self.path.name.split(".", 2)[2].removesuffix(_END))

    @property
    def is_judged(self) -> bool:
        """True if somebody said what the alarm was."""
        return self.verdict != UNJUDGED


def file_name(asset: str, alarm_id: str, raised_us: int) -> str:
    """The name of the file of one occurrence of an alarm."""
    digest = blake2b(alarm_id.encode(), digest_size=4).hexdigest()
    return f"{raised_us}.{digest}.{quote(asset, safe='')[:_MAX_ASSET]}{_END}"


class LabelledSet:
    """The files below `folder`, at most `max_bytes` of them, none older than `max_age_us`.

    Blocking, and for one thread. If a bound is reached, the oldest windows that nobody judged are
    removed first, then the oldest of all.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age_us: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._max_age_us = max_age_us
        self._known: dict[str, Entry] | None = None

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(one.size for one in self._entries().values())

    def _entries(self) -> dict[str, Entry]:
        """The files by name, read from the disk once."""
        if self._known is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for half in self.folder.glob(f"*{_HALF}"):
                half.unlink(missing_ok=True)
            self._known = {one.path.name: one for one in entries_of(self.folder)}
        return self._known

    def add(self, window: LabelledWindow, verdict: str, part: str, now_us: int) -> bool:
        """Write a window, or write it again; False if it is larger than the whole set may be."""
        raw = _encode(window)
        if len(raw) > self._max_bytes:
            return False
        entries = self._entries()
        before = entries.get(window.name)
        self._remove(self._surplus(now_us, len(raw), before))
        path = self._folder_of(verdict, part) / window.name
        half = self.folder / f"{window.name}{_HALF}"
        with half.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
        if before is not None and before.path != path:
            before.path.unlink(missing_ok=True)
        _sync(path.parent)
        entries[window.name] = Entry(path, verdict, part, len(raw))
        return True

    def label(self, name: str, verdict: str, part: str) -> bool:
        """Say what an occurrence was; False if no window of it is kept."""
        found = self._entries().get(name)
        if found is None:
            return False
        path = self._folder_of(verdict, part) / name
        try:
            found.path.replace(path)
        except FileNotFoundError:  # somebody removed it
            del self._entries()[name]
            return False
        _sync(path.parent)
        self._entries()[name] = replace(found, path=path, verdict=verdict, part=part)
        with suppress(OSError):  # not empty
            found.path.parent.rmdir()
        return True

    def prune(self, now_us: int) -> int:
        """Remove what is too old or too much; returns how many files that were."""
        surplus = self._surplus(now_us)
        self._remove(surplus)
        return len(surplus)

    def _surplus(self, now_us: int, room: int = 0, replaced: Entry | None = None) -> list[Entry]:
        """The files to remove, so that one more of `room` bytes is within the bounds.

        replaced: the file in whose place it comes.
        """
        order = [one for one in self._entries().values() if one is not replaced]
        order.sort(key=lambda one: (one.is_judged, one.raised_us))
        size, files = sum(one.size for one in order), len(order)
        found = []
        for one in order:
            too_much = size + room > self._max_bytes or files + (room > 0) > MAX_FILES
            if too_much or now_us - one.raised_us > self._max_age_us:
                found.append(one)
                size, files = size - one.size, files - 1
        return found

    def _remove(self, surplus: Iterable[Entry]) -> None:
        for one in surplus:
            one.path.unlink(missing_ok=True)
            self._entries().pop(one.path.name, None)

    def _folder_of(self, verdict: str, part: str) -> Path:
        found = self.folder / f"verdict={verdict}" / f"part={_quoted(part) or _NO_PART}"
        # Not the set's own folder: if it is gone, so is its disk.
        found.parent.mkdir(exist_ok=True)
        found.mkdir(exist_ok=True)
        return found


def entries_of(folder: Path) -> list[Entry]:
    """The files of a set, the oldest first; files that are not its own are left alone."""
    found = [_entry(path) for path in folder.glob(f"verdict=*/part=*/*{_END}")]
    return sorted((one for one in found if one), key=lambda one: (one.raised_us, one.path.name))


def _entry(path: Path) -> Entry | None:
    number, *rest = path.name.removesuffix(_END).split(".", 2)
    if not number.isdecimal() or len(rest) != 2:  # noqa: PLR2004 (hash and asset)
        return None
    verdict, part = (one.name.partition("=")[2] for one in (path.parent.parent, path.parent))
    try:
        size = path.stat().st_size
    except OSError:  # removed meanwhile
        return None
    return Entry(path, verdict, "" if part == _NO_PART else unquote(part), size)


def _quoted(part: str) -> str:
    """A part as the name of a folder: other alphabets stay, since names have 255 bytes."""
    return "".join(one if one.isalnum() or ord(one) > ord("~") else quote(one, "") for one in part)


def _sync(folder: Path) -> None:
    """Make a rename durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# -- Parquet -----------------------------------------------------------------------------------


def _encode(window: LabelledWindow) -> bytes:
    """A window as the bytes of a Parquet file."""
    rows = len(window.times_us)
    texts = (window.asset, window.alarm_id, window.model)
    own: dict[str, object] = dict(
        zip(_OWN, (window.times_us, window.active, *([one] * rows for one in texts)), strict=True)
    )
    names = [f"_{one}" if one in own else one for one in window.inputs]
    return encode_columns(own | dict(zip(names, window.rows.T, strict=True)))


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
        if entry.verdict in verdicts:
            with suppress(StoreError):
                yield entry, read_window(entry)
