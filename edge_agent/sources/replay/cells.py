"""Converts the cells of a recording to numbers and qualities; text in, arrays out."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.sources.numbers import without_unit
from edge_agent.sources.qualities import QualityCodes, status_of
from edge_agent.sources.replay.moments import is_number
from edge_agent.values import BAD, GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Masked = tuple[NDArray[np.float64], NDArray[np.bool_]]

_BLANKS: Final = (
    "|nan|null|none|nil|n/a|na|n.a.|#n/a|#na|#nv|#value!|#wert!|#div/0!|#ref!|#bezug!|-|--|---|----"
    "|–|—|(null)|missing|k.a.|nd|n.d.|\\n"  # noqa: RUF001 (dashes of spreadsheets)
)
BLANK: Final = frozenset(_BLANKS.split("|"))
_WORDS: Final = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA: Final = str.maketrans(",.", "._")  # a point would separate thousands
_GROUP_BLANKS: Final = re.compile(r"(?<=\d)[\s\u00a0\u202f'’](?=\d{3}(?!\d))")  # noqa: RUF001
_SIGNS: Final = str.maketrans({"−": "-"})  # noqa: RUF001 (the minus of typography)


class Numbers(NamedTuple):
    """The format of numbers: the decimal sign, and True if the other sign groups thousands.

    assumed: no cell proves that the point in 1.234 is the decimal sign; every program writes so.
    """

    decimal: str = "."
    grouped: bool = False
    assumed: bool = False


class Evidence(NamedTuple):
    """Cells of a column by what they prove; `either`: 1,234 may be 1234 or 1.234.

    point_either: 1.234 likewise; whole: plain integers of at least three digits.
    """

    point: int = 0
    comma: int = 0
    either: int = 0
    point_either: int = 0
    grouped: int = 0
    whole: int = 0

    def plus(self, other: Evidence) -> Evidence:
        """Return the sum."""
        return Evidence(*(a + b for a, b in zip(self, other, strict=True)))


def _patterns(point: str, comma: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Patterns that prove `point` to be the decimal sign, group thousands, or are ambiguous."""
    p, c = re.escape(point), re.escape(comma)
    exponent = r"(?:[eE][+-]?\d+)?"
    proof = rf"[+-]?(?:\d*{p}(?:\d{{1,2}}|\d{{4,}})|0+{p}\d+|\d{{4,}}{p}\d+|{p}\d+){exponent}"
    groups = rf"[+-]?[1-9]\d{{0,2}}(?:(?:{c}\d{{3}})+{p}\d*|(?:{c}\d{{3}}){{2,}})"
    either = rf"[+-]?[1-9]\d{{0,2}}{p}\d{{3}}"
    return re.compile(proof), re.compile(groups), re.compile(either)


_POINT, _POINT_GROUPS, _POINT_EITHER = _patterns(".", ",")
_COMMA, _COMMA_GROUPS, _COMMA_EITHER = _patterns(",", ".")
_POINTS: Final = (_POINT, _POINT_GROUPS)
_INFINITE: Final = re.compile(r"[+-]?(?:inf|infinity|∞)")
_WHOLE: Final = re.compile(r"[+-]?[1-9]\d\d+")


def number_evidence(cells: Iterable[str]) -> Evidence:
    """What the cells of a column prove about the format of numbers."""
    found = [0] * len(Evidence._fields)
    for raw in cells:
        cell = without_unit(_plain(raw))
        if _POINT_GROUPS.fullmatch(cell):
            found[0], found[4] = found[0] + 1, found[4] + 1
        elif _COMMA_GROUPS.fullmatch(cell):
            found[1], found[4] = found[1] + 1, found[4] + 1
        else:
            kinds = (_POINT, _COMMA, _COMMA_EITHER, _POINT_EITHER, None, _WHOLE)
            kind = next((n for n, k in enumerate(kinds) if k and k.fullmatch(cell)), None)
            if kind is not None:
                found[kind] += 1
    return Evidence(*found)


def _plain(cell: str) -> str:
    return _GROUP_BLANKS.sub("", cell.strip().translate(_SIGNS))


def numbers(cells: Sequence[str], how: Numbers) -> Masked:
    """float64 [n], NaN if a cell is blank or not a number, and a mask of the latter."""
    originals = cells
    if how.decimal == ",":
        cells = [cell.translate(_DECIMAL_COMMA) for cell in cells]
    try:
        plain = "_" not in "".join(cells)  # float("1_5") would be 15
        values = np.array(
            list(map(float, cells)) if plain else [_number(c, how) for c in originals]
        )
    except ValueError:
        values = np.array([_number(cell, how) for cell in originals])
    wrong = np.isinf(values)
    values[wrong] = np.nan
    return values, wrong


def _number(cell: str, how: Numbers) -> float:
    """The number in a cell; NaN if it is blank, infinite if it is not a number."""
    text = cell.strip().lower()
    if text in BLANK:
        return math.nan
    if text in _WORDS:
        return _WORDS[text]
    text = _plain(text)
    groups, either = (
        (_POINT_GROUPS, _COMMA_EITHER) if how.decimal == "." else (_COMMA_GROUPS, _POINT_EITHER)
    )
    if groups.fullmatch(text) or (how.grouped and either.fullmatch(text)):
        text = text.replace("," if how.decimal == "." else ".", "")
    if how.decimal == ",":
        text = text.translate(_DECIMAL_COMMA)
    try:
        return float(text) if "_" not in text else math.inf
    except ValueError:
        return math.inf


def problem_of(cell: str, how: Numbers) -> str:
    """The cause why a cell is no number, of `report.CAUSES`."""
    text = without_unit(_plain(cell.lower()))
    point = how.decimal == "."
    if (_COMMA_EITHER if point else _POINT_EITHER).fullmatch(text):
        return "decimal"
    if any(form.fullmatch(text) for form in ((_COMMA, _COMMA_GROUPS) if point else _POINTS)):
        return "sign"
    if _INFINITE.fullmatch(text) or (is_number(text) and math.isinf(_number(text, how))):
        return "infinite"
    if text != _plain(cell.lower()) and math.isfinite(_number(text, how)):
        return "unit"
    return "text" if any(sign.isalpha() for sign in text) else "number"


def qualities(
    cells: Sequence[str], *, classic: bool
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """OPC UA StatusCodes, uint32 [n], and a mask of the cells that are not a quality.

    A cell is a word or name (`good`, `Bad_NoCommunication`, `gestört`), or a number: a StatusCode,
    or an OPC Classic quality (192 is Good, 0 is Bad) if `classic`. Blank is Good.
    """
    codes = np.array([_quality(cell, classic) for cell in cells], np.int64)
    wrong = codes < 0
    codes[wrong] = BAD
    return codes.astype(np.uint32), wrong


@lru_cache(maxsize=1024)
def _quality(cell: str, classic: bool) -> int:  # noqa: FBT001 (cached: keywords cost)
    if not cell.strip():
        return GOOD
    codes = QualityCodes.CLASSIC if classic else QualityCodes.OPCUA
    status = status_of(cell, codes)
    return -1 if status is None else status
