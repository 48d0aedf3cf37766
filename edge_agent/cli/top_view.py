"""The picture of `edge-agent top`: plain text in as many columns and lines as the terminal has.

Sections share the lines: each gets its least, and the rest goes to alarms and machines.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.api_client import shown
from edge_agent.cli.duration import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.cli.api_client import Row

    Cell = tuple[str, str]  # text, and the word for its colour

_COLOURS: Final = {"bad": "31;1", "warn": "33", "good": "32", "head": "7", "dim": "2"}
_PRIORITY: Final = {"critical": "bad", "high": "bad", "medium": "warn"}
_BAR: Final = 10
_LEAST: Final = 3  # rows of a section in a small terminal
_WIDE: Final = "WF"


def view(facts: Row, width: int, height: int, *, colour: bool) -> list[str]:
    """The lines of the picture, none longer than `width`; facts: as `top.look` gives them."""
    paint = _painter(width, colour=colour)
    head = [paint(line) for line in _head(facts)]
    links = [(one["ok"], _source_row(one)) for one in facts["sources"]]
    links += [(one["ok"], _sink_row(one)) for one in facts["sinks"]]
    links.sort(key=lambda one: one[0])  # those in trouble first
    tables = [
        [_LINKS, *(row for _, row in links)],
        [_MODELS, *map(_model_row, facts["models"])],
        [_ALARMS, *map(_alarm_row, facts["open_alarms"])],
        [_MACHINES, *map(_machine_row, facts["worst"])],
    ]
    room = height - len(head)
    sizes = _shared([len(table) for table in tables], room)
    lines = head
    totals = (0, 0, facts["alarms"]["open"], facts["machines"]["total"])
    for table, size, total in zip(tables, sizes, totals, strict=True):
        lines += [paint(line) for line in _aligned(_cut(table, size, total), width)]
    return lines[:height]


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """Lines for each table: `_LEAST` rows first, then what the last ones want."""
    sizes = [min(want, _LEAST + 1) for want in wanted]
    for index in reversed(range(len(sizes))):
        more = min(wanted[index] - sizes[index], room - sum(sizes))
        sizes[index] += max(0, more)
    while sum(sizes) > room and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes


def _cut(table: list[list[Cell]], size: int, total: int) -> list[list[Cell]]:
    """The first rows; the last line says how many there are more; total: if not all were asked."""
    if len(table) <= size or size <= 1:
        return table[:size]
    left = max(len(table) - 1, total) - size + 2
    return [*table[: size - 1], [(f"… {left} more", "dim")]]


# Head ---------------------------------------------------------------------------------------------


def _head(facts: Row) -> list[list[Cell]]:
    machines, alarms = facts["machines"], facts["alarms"]
    role = f"  {facts['role']}" if facts["role"] else ""
    title = f"edge-agent {facts['gateway']}  {facts['path']}  {facts['version']}"
    up = f"up {duration(facts['uptime_s'])}{role}"
    by_priority = ", ".join(f"{n} {word}" for word, n in sorted(alarms["by_priority"].items()) if n)
    return [
        [(f"{title}  {up}", "head")],
        [
            (f"machines {machines['total']}:", ""),
            (f"{machines['well']} well", "good"),
            (f"{machines['fair']} fair", "warn" if machines["fair"] else ""),
            (f"{machines['ill']} ill", "bad" if machines["ill"] else ""),
            (f"{machines['without_score']} without a score", ""),
        ],
        [
            (f"alarms {alarms['open']}:", ""),
            (
                f"{alarms['unacknowledged']} to acknowledge",
                "bad" if alarms["unacknowledged"] else "good",
            ),
            (f"({by_priority})" if by_priority else "", ""),
        ],
        _figures(facts),
        *[[(f"! {shown(one)}", "warn")] for one in facts["troubles"][:2]],
    ]


def _figures(facts: Row) -> list[Cell]:
    rates, latency, process = facts["rates"], facts["latency"], facts["process"]
    lost = rates["dropped"]
    return [
        (f"values {rates['values']:,.0f}/s", ""),
        (f"lost {lost:,.0f}/s" if lost else "", "bad"),
        (f"windows {rates['windows']:,.0f}/s", ""),
        (f"run {_time(latency['model_run_p95'])}", ""),
        (f"alarm {_time(latency['alarm_p50'])}..{_time(latency['alarm_p99'])}", ""),
        (f"cpu {process['cpu']:.0%}", ""),
        (f"mem {process['memory_bytes'] / (1 << 20):.0f} MiB", ""),
    ]


# Tables -------------------------------------------------------------------------------------------


def _headline(*words: str) -> list[Cell]:
    return [(word, "dim") for word in words]


_LINKS: Final = _headline("LINK", "KIND", "STATE", "NOW", "TROUBLE")
_MODELS: Final = _headline("MODEL", "STATE", "MACHINES", "WINDOWS", "RUN", "VERSION")
_ALARMS: Final = _headline("ALARM", "STATE", "PRIORITY", "MESSAGE")
_MACHINES: Final = _headline("MACHINE", "STATE", "HEALTH", "ALARMS", "NOTE")


def _source_row(one: Row) -> list[Cell]:
    lost = [f"{one[key]} {key}" for key in ("rejected", "dropped") if one[key]]
    trouble = ", ".join(lost if one["ok"] else [shown(one["detail"])])
    return [
        (f"> {shown(one['name'])}", ""),
        (shown(one["type"]), ""),
        (shown(one["state"]), "good" if one["ok"] else "bad"),
        (f"{one['values']:,.0f}/s", ""),
        (trouble, "warn"),
    ]


def _sink_row(one: Row) -> list[Cell]:
    waits = f"{one['rows']} wait"
    since = f"oldest {duration(one['oldest_s'])}" if one["rows"] else ""
    refused = f"{one['refused']} refused" if one["refused"] else ""
    trouble = "" if one["ok"] else shown(one["detail"])
    return [
        (f"< {shown(one['name'])}", ""),
        (shown(one["type"]), ""),
        (shown(one["state"]), "good" if one["ok"] else "bad"),
        (waits, "warn" if one["rows"] else ""),
        (", ".join(filter(None, (since, refused, trouble))), "warn"),
    ]


def _model_row(one: Row) -> list[Cell]:
    good = one["state"] in {"active", "running", "standby", "ended"}
    state = one["mode"] if one["mode"] == one["state"] else f"{one['mode']} {one['state']}"
    windows = "" if one["windows"] is None else f"{one['windows']:,.0f}/s"
    return [
        (shown(one["name"]), ""),
        (shown(state), "" if good else "bad"),
        (str(one["assets"] or ""), ""),
        (windows, ""),
        (_time(one["run_p95"]), ""),
        (f"{shown(one['version'])} {shown(one['reason'] or '')}".rstrip(), ""),
    ]


def _alarm_row(one: Row) -> list[Cell]:
    return [
        (shown(one["alarm_id"]), ""),
        (shown(one["state"]), "bad" if one["state"] == "unack" else ""),
        (shown(one["priority"]), _PRIORITY.get(one["priority"], "")),
        (shown(message_of(one)), ""),
    ]


def _machine_row(one: Row) -> list[Cell]:
    health: float | None = one["health"]
    return [
        (shown(one["id"]), ""),
        (shown(one["state"]), "bad" if one["state"] == "alarm" else ""),
        (_bar(health), "" if health is None else _colour_of(health)),
        (str(one["alarms"] or ""), ""),
        (shown(one["note"]), ""),
    ]


def message_of(alarm: Row) -> str:
    """The message in the language of the terminal, else in English."""
    texts: dict[str, Any] = alarm.get("message") or {}
    language = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return str(texts.get(language[:2]) or texts.get("en") or next(iter(texts.values()), ""))


def _colour_of(health: float) -> str:
    return "good" if health >= 0.8 else "warn" if health >= 0.5 else "bad"  # noqa: PLR2004 (as in top)


def _bar(health: float | None) -> str:
    if health is None:
        return "-"
    full = round(_BAR * health)
    return f"{health:>4.0%} {'#' * full}{'.' * (_BAR - full)}"


def _time(seconds: float | None) -> str:
    """Seconds in a form of at most seven characters."""
    if seconds is None:
        return "-"
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1000:  # noqa: PLR2004 (the next unit)
            return f"{seconds * factor:.3g} {unit}"
    return duration(seconds)


# Columns ------------------------------------------------------------------------------------------


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in _WIDE else 1 for char in text)


def clipped(text: str, width: int) -> str:
    """The text in at most `width` columns; `…` stands for what is cut off."""
    if columns_of(text) <= width:
        return text
    kept = ""
    for char in text:
        if columns_of(kept + char) > width - 1:
            break
        kept += char
    return f"{kept}…" if width > 0 else ""


def _aligned(rows: list[list[Cell]], width: int) -> Iterable[list[Cell]]:
    """Pad all but the last column; no column but the last takes more than a third of the line."""
    full = [row for row in rows if len(row) > 1]
    count = max((len(row) for row in full), default=1)
    widths = [
        min(width // 3, max(columns_of(row[column][0]) for row in full))
        for column in range(count - 1)
    ]
    for row in rows:
        yield [
            (_padded(text, widths[n]) if n < len(row) - 1 else text, colour)
            for n, (text, colour) in enumerate(row)
        ]


def _padded(text: str, width: int) -> str:
    cut = clipped(text, width)
    return cut + " " * (width - columns_of(cut))


def _painter(width: int, *, colour: bool) -> Callable[[Iterable[Cell]], str]:
    """Join the cells of a line, at most `width` columns of them, in colours if wanted."""

    def paint(cells: Iterable[Cell]) -> str:
        line, left = "", width
        for text, word in cells:
            if not text:
                continue
            gap = "  " if line and left > 2 else ""  # noqa: PLR2004 (columns between cells)
            cut = clipped(text, left - len(gap))
            left -= len(gap) + columns_of(cut)
            code = _COLOURS.get(word, "") if colour else ""
            line += gap + (f"\x1b[{code}m{cut}\x1b[0m" if code else cut)
        return line if colour else line.rstrip()

    return paint
