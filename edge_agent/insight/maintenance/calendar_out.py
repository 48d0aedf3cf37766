"""A plan as iCalendar (RFC 5545) and as CSV, for calendars and spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Row = Mapping[str, Any]

_LINE: Final = 75  # octets of a line, without its end
COLUMNS: Final = (
    "rank",
    "job",
    "asset",
    "mode",
    "status",
    "due",
    "stop",
    "start",
    "end",
    "crew",
    "probability",
    "loss",
    "expected_cost",
    "wait_cost",
    "currency",
    "bound",
    "why",
)


def calendar_of(plan: Row, language: str) -> bytes:
    """The lines that have a time, each as a tentative event."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//edge-agent//maintenance plan//EN"]
    lines.append("METHOD:PUBLISH")
    for line in plan["lines"]:
        if line["start_ms"] is not None:
            lines += _event(plan, line, language)
    lines.append("END:VCALENDAR")
    return b"".join(map(_folded, lines))


def _event(plan: Row, line: Row, language: str) -> Iterator[str]:
    uid = blake2b(line["job"].encode(), digest_size=12).hexdigest()
    named = text_of(line["what"], language)
    yield "BEGIN:VEVENT"
    yield f"UID:{uid}@edge-agent"
    yield f"DTSTAMP:{_utc(plan['at_ms'])}"
    yield f"DTSTART:{_utc(line['start_ms'])}"
    yield f"DTEND:{_utc(line['end_ms'])}"
    summary = f"{line['asset']}: {named} ({line['crew']})"
    yield f"SUMMARY:{_escaped(summary)}"
    yield f"DESCRIPTION:{_escaped(text_of(line['why'], language))}"
    yield f"LOCATION:{_escaped(line['asset'])}"
    yield f"CATEGORIES:{_escaped(line['status'])}"
    yield "STATUS:TENTATIVE"
    yield "TRANSP:TRANSPARENT"
    yield "END:VEVENT"


def text_of(by_language: Mapping[str, str], language: str) -> str:
    """A text in a language, else in English, else in the first."""
    return (
        by_language.get(language) or by_language.get("en") or next(iter(by_language.values()), "")
    )


def _utc(ms: float) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    for sign in ("\\", ";", ","):
        text = text.replace(sign, f"\\{sign}")
    return "\\n".join(text.splitlines())


def _folded(line: str) -> bytes:
    """A content line in pieces of 75 octets, never within a character."""
    pieces: list[bytes] = []
    piece = b""
    for char in line:
        raw = char.encode()
        if len(piece) + len(raw) > _LINE:
            pieces.append(piece)
            piece = b" "
        piece += raw
    return b"\r\n".join([*pieces, piece]) + b"\r\n"


def table_of(plan: Row, language: str) -> bytes:
    """One line for each job, with a header; times in UTC (RFC 3339)."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for line in plan["lines"]:
        table.writerow([_cell(one) for one in _cells(plan, line, language)])
    return text.getvalue().encode()


def _cells(plan: Row, line: Row, language: str) -> Iterable[object]:
    values = {
        **line,
        "mode": text_of(line["what"], language),
        "due": _stamp(line["due_ms"]),
        "start": _stamp(line["start_ms"]),
        "end": _stamp(line["end_ms"]),
        "stop": (line["stop"] or {}).get("name", ""),
        "currency": plan["currency"],
        "why": text_of(line["why"], language),
    }
    return (values[name] for name in COLUMNS)


def _stamp(ms: float | None) -> str:
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cell(value: object) -> object:
    """A text that a spreadsheet does not take for a formula."""
    unsafe = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if unsafe else value
