"""Numbers in texts: `12.5`, `12,5`, `23.4 °C`, `ON`, and the words of a signal's `map`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from edge_agent.errors import DecodeError

if TYPE_CHECKING:
    from edge_agent.config.schema import Signal

_MAX_CHARACTERS: Final = 64
_SHOWN_CHARACTERS: Final = 40
_MINUS: Final = "\N{MINUS SIGN}"
NO_NUMBERS: Final = frozenset(
    {"", "null", "none", "n/a", "na", "-", "--", "---", "undefined"}
    | {sign + word for sign in ("", "+", "-") for word in ("nan", "inf", "infinity")}
)
# What C libraries print: nan(ind), -nan(snan), 1.#QNAN, -1.#IND, 1.#INF.
_C_NAN = re.compile(r"[+-]?(?:nan\([a-z0-9]*\)|1\.#(?:q?nan|s?nan|ind|inf)[0-9]*)")
_WORDS: Final = {"true": 1.0, "false": 0.0, "on": 1.0, "off": 0.0}
_POINT = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(\s*)(.*)")
_COMMA = re.compile(r"([+-]?(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)(?:[eE][+-]?[0-9]+)?)(\s*)(.*)")
_BEFORE_UNIT = re.compile(r"([+-]?[0-9][0-9.,]*)\s*([^0-9.,\s].*)")
# Letters and signs, and digits only as powers: m3/h, m/s2, kg/cm^2. Not `x1F`, `:30`, `e`, `D2`.
# Possessive: `³` is both a letter to the expression and a sign, so that each one doubled the time.
_UNIT = re.compile(r"(?:[^\W\d_]|[%°℃℉²³/·*.'\"]|(?<=m)[23]|(?<=s)2|(?<=ft)[23]|\^-?[1-4])++")
_NO_UNITS: Final = frozenset({"e", "E", ".", "'", '"', "x", "X", "d", "D", "k", "M", "G"})
_SAME_UNITS: Final = str.maketrans(
    {
        "℃": "C",
        "℉": "F",
        "°": "",
        "µ": "u",
        "μ": "u",
        "²": "2",
        "³": "3",
        "^": "",
        "·": ".",
        "*": ".",
    }
)
_UNIT_WORDS: Final = {"degC": "C", "degF": "F", "Cel": "C", "grdC": "C", "Grad": "C"}


class TextRules:
    """The rules to read the texts of one signal.

    unit: from the config, or else the first received: if a device changes from mbar to bar by
    itself, the value must not jump.
    """

    __slots__ = ("decimal", "unit", "words")

    def __init__(self, config: Signal | None = None, decimal: str = "") -> None:
        words = {} if config is None else config.map
        self.words = {word.strip().casefold(): number for word, number in words.items()}
        self.decimal = (config.decimal if config is not None else "") or decimal or "."
        self.unit = _unit(config.unit if config is not None else "")

    def number(self, text: str) -> float:
        """The number of a text, NaN if it means no number.

        Raises DecodeError `type` or `unit`, with a remedy.
        """
        text = text.strip().replace(_MINUS, "-")
        word = text.casefold()
        if word in self.words:
            return self.words[word]
        if word in NO_NUMBERS or _C_NAN.fullmatch(word):
            return math.nan
        if word in _WORDS:
            return _WORDS[word]
        found = None
        if len(text) <= _MAX_CHARACTERS:
            found = (_COMMA if self.decimal == "," else _POINT).fullmatch(text)
        if found is None:
            raise DecodeError("type", f"the text {_shown(text)} is not a number{self._hint(text)}")
        if found[3]:
            self._check_unit(found[3], text)
        return float(found[1].replace(",", "."))

    def _check_unit(self, unit: str, text: str) -> None:
        if unit in _NO_UNITS or not _UNIT.fullmatch(unit):
            raise DecodeError("type", f"the text {_shown(text)} is not a number{self._hint(text)}")
        own = _unit(unit)
        if not self.unit:
            self.unit = own
        elif own != self.unit:
            raise DecodeError(
                "unit", f"{_shown(text)} has another unit than the signal: {self.unit}"
            )

    def _hint(self, text: str) -> str:
        if self.decimal == "." and "," in text and _COMMA.fullmatch(text):
            return ' (decimal: "," of the signal reads it)'
        if text and text[0].isalpha():
            return f" (map: {{{_plain(text)}: 1}} of the signal reads it)"
        return ""


def without_unit(text: str) -> str:
    """The number in front of a unit, as written; any other text unchanged."""
    if not text or text[-1].isdecimal():
        return text
    found = _BEFORE_UNIT.fullmatch(text)
    is_unit = found is not None and found[2] not in _NO_UNITS and _UNIT.fullmatch(found[2])
    return found[1] if found is not None and is_unit else text


def _unit(text: str) -> str:
    """A unit in one spelling: `°C`, `℃` and `degC` are the same, `mW` and `MW` are not."""
    bare = "".join(text.split()).translate(_SAME_UNITS)
    return _UNIT_WORDS.get(bare, bare)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def _plain(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS and text.isalnum() else "WORD"
