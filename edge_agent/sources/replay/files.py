"""Opens a recording in any supported packing; a file that is not a table is refused by its type."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import IO, TYPE_CHECKING, Any, Final, cast

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Row = list[str]

UNREADABLE: Final = (OSError, EOFError, UnicodeError, zlib.error, lzma.LZMAError)
_SNIFF_BYTES: Final = 1 << 16
_CONTROL_SHARE: Final = 0.1  # of the first characters: with more it is not a text
_CSV: Final = "save it as CSV"
# First bytes of files that users often try: (type, remedy).
_OTHERS: Final = (
    (b"PAR1", "a Parquet file", "pandas.read_parquet(...).to_csv(...) makes a CSV of it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "save it as .xlsx or as CSV"),
    (b"\x89HDF", "an HDF5 file", _CSV),
    (b"MATLAB", "a MATLAB file", _CSV),
    (b"TDSm", "a LabVIEW TDMS file", _CSV),
    (b"LabVIEW Measurement", "a LabVIEW measurement file", "save it as CSV, with absolute times"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"ARROW1", "an Arrow file", _CSV),
    (b"Obj\x01", "an Avro file", _CSV),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it: zstd -d"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip", "unpack it"),
    (b"Rar!", "packed with RAR", "unpack it"),
    (b"%PDF", "a PDF", _CSV),
)
_UNPACKERS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
    b"BZh": lambda raw: cast("IO[bytes]", bz2.BZ2File(raw)),
    b"\xfd7zXZ\x00": lambda raw: cast("IO[bytes]", lzma.LZMAFile(raw)),  # noqa: SIM115 (closed with `raw`)
}
_MARKUP: Final = {"{": "JSON", "<": "XML or HTML"}
# Characters of dates and names that identify the East Asian encoding of a file.
_CJK_SIGNS: Final = frozenset("年月日時时分秒温度圧压力流量振動振动電电時刻時間时间日付")
_CJK_ENCODINGS: Final = ("cp932", "gb18030")


@dataclass(slots=True)
class Opened:
    """An open file: its lines, or the rows of a workbook; `position` returns the bytes read.

    since_1904: date numbers count from 1904, as a workbook may define.
    """

    position: Callable[[], int]
    lines: Iterator[str] | None = None
    rows: Iterator[Row] | None = None
    since_1904: bool = False


@contextmanager
def open_file(path: Path, max_line: int) -> Iterator[Opened]:
    """Open a file; EdgeAgentError if it cannot contain a recording."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise EdgeAgentError(f"cannot read: {error.strerror}", where=str(path)) from error
    with raw:
        head = raw.read(_SNIFF_BYTES)
        raw.seek(0)
        _refuse_others(path, head)
        if head.startswith(b"PK\x03\x04"):
            with _open_zip(path, raw, max_line) as opened:
                yield opened
            return
        unpack = next((u for magic, u in _UNPACKERS.items() if head.startswith(magic)), None)
        data = raw if unpack is None else unpack(raw)
        with _as_text(path, data, raw.tell, max_line) as opened:
            yield opened


def _refuse_others(path: Path, head: bytes) -> None:
    for magic, what, mend in _OTHERS:
        if head.startswith(magic):
            raise EdgeAgentError(f"is {what}, not a CSV", where=str(path), hint=mend)


@contextmanager
def _as_text(
    path: Path, data: IO[bytes], position: Callable[[], int], max_line: int
) -> Iterator[Opened]:
    try:
        head = data.read(_SNIFF_BYTES)
    except UNREADABLE:
        head = b""  # the first read reports the fault
    _refuse_others(path, head)
    encoding = find_encoding(head)
    _refuse_no_text(path, head.decode(encoding, errors="replace"))
    data.seek(0)
    with io.TextIOWrapper(data, encoding, errors="replace", newline="") as text:
        yield Opened(position, lines=iter(lambda: text.readline(max_line), ""))


def find_encoding(head: bytes) -> str:
    """Return the encoding from the first bytes: UTF-8, UTF-16, East Asian, else Western."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if wide := _wide_encoding(head):
        return wide
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not only a character that the end of `head` cuts
            return _national_encoding(head)
    return "utf-8-sig"


def _wide_encoding(head: bytes) -> str:
    """UTF-16 without a byte order mark: every other byte of plain text is zero."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half and odd > 0.7 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if half and even > 0.7 * half and odd < 0.1 * half else ""


def _national_encoding(head: bytes) -> str:
    for encoding in _CJK_ENCODINGS:
        if _CJK_SIGNS & set(head.decode(encoding, errors="ignore")):
            try:
                head[: head.rfind(b"\n") + 1 or None].decode(encoding)
            except UnicodeDecodeError:
                continue
            return encoding
    return "cp1252"


def _refuse_no_text(path: Path, head: str) -> None:
    odd = sum(ord(c) < ord(" ") and c not in "\t\r\n\f\0" for c in head[:4096])
    nul = head[:4096].count("\0")
    if odd > _CONTROL_SHARE * min(4096, len(head)) or nul > len(head[:4096]) // 2 > 0:
        raise EdgeAgentError("is not a text file: not a CSV", where=str(path), hint=_CSV)
    first = head.lstrip("\ufeff \t\r\n")[:1]
    if first in _MARKUP:
        raise EdgeAgentError(f"is {_MARKUP[first]}, not a CSV", where=str(path), hint=_CSV)


@contextmanager
def _open_zip(path: Path, raw: IO[bytes], max_line: int) -> Iterator[Opened]:
    """Open a workbook, or the single packed file."""
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise EdgeAgentError(f"is a damaged zip: {error}", where=str(path)) from error
    with archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
        if "xl/workbook.xml" in names:
            with _open_workbook(path) as opened:
                yield opened
            return
        if "content.xml" in names or len(names) != 1:
            what = "an OpenDocument file" if "content.xml" in names else f"{len(names)} files"
            raise EdgeAgentError(f"holds {what}, not one CSV", where=str(path), hint=_CSV)
        member = archive.open(names[0])
        with _as_text(path, member, raw.tell, max_line) as opened:
            yield opened


@contextmanager
def _open_workbook(path: Path) -> Iterator[Opened]:
    """Read the first sheet of an .xlsx; EdgeAgentError if openpyxl is not installed."""
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ModuleNotFoundError as error:
        hint = "save the sheet as CSV, or install the extra xlsx (pip install openpyxl)"
        raise EdgeAgentError("is an Excel workbook", where=str(path), hint=hint) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        raise EdgeAgentError(f"cannot read the workbook: {error}", where=str(path)) from error
    try:
        sheet = book.worksheets[0]
        size = path.stat().st_size
        done = [0]
        yield Opened(
            lambda: min(size, size * done[0] // max(1, sheet.max_row or 1)),
            rows=_sheet_rows(sheet, done),
            since_1904=book.epoch.year == 1904,  # noqa: PLR2004
        )
    finally:
        book.close()


def _sheet_rows(sheet: Any, done: list[int]) -> Iterator[Row]:  # noqa: ANN401 (openpyxl is optional)
    for row in sheet.iter_rows(values_only=True):
        done[0] += 1
        yield [_cell_text(value) for value in row]


def _cell_text(value: object) -> str:
    """Return a cell as a CSV would contain it: a decimal point, ISO dates."""
    if value is None:
        return ""
    if isinstance(value, datetime):  # a cell with a date is a time at midnight
        midnight = value.time() == time(0)
        return value.date().isoformat() if midnight else value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)
