"""Detects how a recording writes numbers, from whole columns: 1,234 may be 1234 or 1.234.

If no cell of the file decides, its ambiguous cells are refused; nothing is guessed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.cells import BLANK, Evidence, Numbers, number_evidence
from edge_agent.sources.replay.moments import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.sources.replay.csv_reader import Table

_WIDE_SHARE, _FEW_ROWS = 0.1, 2
_EVIDENCE_CELLS: Final = 60_000


def check_shape(table: Table) -> None:
    """Refuse a table if many rows have more cells than the header: EdgeAgentError."""
    width = len(table.names)
    while width > 1 and not table.names[width - 1]:
        width -= 1  # the halves of numbers with a decimal comma may be below no name
    named = len(table.names)
    wide = [
        row
        for row in table.sample
        if any(cell.strip() for cell in row[named:]) or any(map(is_number, row[width:named]))
    ]
    if len(wide) > max(_FEW_ROWS, _WIDE_SHARE * len(table.sample)):
        raise EdgeAgentError(
            f"{len(wide)} of the first {len(table.sample)} rows have more cells than the header, "
            f"as {(table.separator or ',').join(wide[0])[:80]!r}",
            where=str(table.path),
            hint="a decimal comma beside a separator comma? export it with another separator",
        )


def choose_numbers(
    table: Table, columns: Sequence[int], times: Sequence[int | None], decimal: str
) -> list[Numbers]:
    """The number format of each column; decimal: from the config, or ``.

    All columns except `times` are evidence: a file has one decimal sign.
    """
    every = [n for n in range(len(table.names)) if n not in times]
    rows = table.sample[: max(50, _EVIDENCE_CELLS // max(1, len(every)))]
    found = {n: number_evidence(_cells(rows, n)) for n in every}
    whole = _sum(found.values())
    if not decimal and whole.either and not whole.point and not whole.comma:
        found = _evidence_of_all(table, every)
        whole = _sum(found.values())
    return [_numbers_of(found[n], whole, decimal, table.separator) for n in columns]


def _cells(rows: Iterable[Sequence[str]], column: int) -> list[str]:
    texts = (row[column] for row in rows if column < len(row))
    return [text for text in texts if text.strip().lower() not in BLANK]


def _evidence_of_all(table: Table, columns: Sequence[int]) -> dict[int, Evidence]:
    found = dict.fromkeys(columns, Evidence())
    rows = table.again()
    while part := list(itertools.islice(rows, 10_000)):
        found = {n: one.plus(number_evidence(_cells(part, n))) for n, one in found.items()}
    return found


def _sum(found: Iterable[Evidence]) -> Evidence:
    total = Evidence()
    for one in found:
        total = total.plus(one)
    return total


def _numbers_of(one: Evidence, whole: Evidence, decimal: str, separator: str) -> Numbers:
    """A column's format from its own cells, else from the others; ambiguous cells are refused."""
    if decimal:
        return Numbers(decimal, grouped=bool(one.grouped))
    by_all = "," if whole.comma and not whole.point else "."
    if bool(one.comma) != bool(one.point):
        sign = "," if one.comma else "."
    elif one.point_either and _may_group(one, whole, separator):
        sign = ","  # 1.234 is then refused
    else:
        sign = by_all
    proof, other = (one.point, one.either) if sign == "." else (one.comma, one.point_either)
    assumed = sign == "." and bool(one.point_either) and not whole.point
    return Numbers(sign, bool(one.grouped) or bool(proof and other), assumed)


def _may_group(one: Evidence, whole: Evidence, separator: str) -> bool:
    """True if points as in 1.234 may group thousands: beside plain integers, or decimal commas."""
    beside = bool(one.whole) and separator == ";"
    return not one.point and (beside or bool(whole.comma))
