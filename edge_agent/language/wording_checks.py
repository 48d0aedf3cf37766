"""Checks of what a language model made of a text: numbers, units, ids, polarity, language.

They compare words, not meanings: a text that passes can still be wrong, so it stands apart and with
a label. One that fails any of them is dropped. Doubtful cases fail.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from importlib import resources
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_agent.language.words import language_of

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 4  # times the source
_ID: Final = re.compile(
    r"(?<![A-Za-z0-9])(?=[\w.-]*[A-Za-z])(?=[\w.-]*\d)[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]", re.ASCII
)
_NUMBER: Final = re.compile(r"\d[\d.,]*")
_GROUPED: Final = {
    ",": re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?"),
    ".": re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?"),
}
_LEXICON: Final[dict[str, dict[Any, Any]]] = yaml.safe_load(
    resources.files("edge_agent.language").joinpath("wording_checks.yaml").read_bytes()
)
_NUMBER_WORDS: Final = {
    word: Decimal(value) for value, words in _LEXICON["numbers"].items() for word in words.split()
}
_SPELLINGS: Final = {
    spelling: unit for unit, words in _LEXICON["units"].items() for spelling in words.split()
}
_UNIT: Final = re.compile(
    r"\s*(?:degrees?\s+|grad\s+)?("
    + "|".join(
        re.escape(one) + (r"(?![a-zäöüß])" if one[-1].isascii() and one[-1].isalpha() else "")
        for one in sorted(_SPELLINGS, key=len, reverse=True)
    )
    + ")",
    re.IGNORECASE,
)
_POLARITIES: Final = {
    name: re.compile("|".join(patterns), re.IGNORECASE)
    for name, patterns in _LEXICON["polarity"].items()
}
# «112 degrees above the limit 95» says another thing than «112, above the limit 95».
_THEN: Final = re.compile(r"\s+(?:above|over|below|under|über|unter)\b", re.IGNORECASE)
_OF_TIME: Final = frozenset({"s", "min", "h", "d"})
_FOREIGN: Final = re.compile(r"https?://|```|<[a-z/]", re.IGNORECASE)


def faults_of(
    source: str, made: str, languages: tuple[str, str], *, whole: bool = True
) -> list[str]:
    """What is wrong in a text that was made of another one; empty if all checks pass.

    languages: of the source and of what was made. whole: True for a translation; a shorter text may
    leave numbers and ids out, but has no others.
    """
    of_source, of_made = _normal(source), _normal(made)
    found = [*_form_faults(of_source, of_made, languages[1])]
    found += _compare("ids", _ids(of_source), _ids(of_made), whole=whole)
    given = _by_unit(quantities(_ID.sub(" ", of_source), languages[0]))
    got = _by_unit(quantities(_ID.sub(" ", of_made), languages[1]))
    found += _compare("numbers", given, got, whole=whole)
    return found + _polarity_faults(of_source, of_made, whole=whole)


def quantities(text: str, language: str) -> list[tuple[Decimal, str]]:
    """The numbers of a text with their units ("" without), in their order."""
    found: list[tuple[int, Decimal, str]] = []
    for match in _NUMBER.finditer(text):
        value = _value(match[0].rstrip(".,"), language)
        unit = _UNIT.match(text, match.start() + len(match[0].rstrip(".,")))
        found.append((match.start(), value, _SPELLINGS[unit[1].lower()] if unit else ""))
    for word, number in _NUMBER_WORDS.items():
        pattern = rf"\b{word}\b" if word.isalpha() and word[0] < "\u2e80" else word
        found += [(m.start(), number, "") for m in re.finditer(pattern, text, re.IGNORECASE)]
    return [(value, unit) for _, value, unit in sorted(found)]


def _value(digits: str, language: str) -> Decimal:
    group = "." if language == "de" else ","
    if _GROUPED[group].fullmatch(digits):
        digits = digits.replace(group, "")
    try:
        return Decimal(digits.replace(",", ".")).normalize()
    except InvalidOperation:  # 1.2.3: a version or a section
        return Decimal(re.sub(r"\D", "", digits)) + Decimal("0.00001")


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _ids(text: str) -> list[str]:
    """Codes of letters and digits, such as P-101 and E47; units behind a number are none."""
    return [one.upper() for one in _ID.findall(text) if one.lower() not in _SPELLINGS]


def _by_unit(given: Iterable[tuple[Decimal, str]]) -> list[str]:
    """Those of one unit in their order: a value and its limit must not change places.

    Languages order those of different units in different ways.
    """
    return [f"{value:f} {unit}".strip() for value, unit in sorted(given, key=itemgetter(1))]


def _compare(what: str, given: list[str], got: list[str], *, whole: bool) -> list[str]:
    """The same in the same order; a shorter text has some of them in their order."""
    if whole and given == got:
        return []
    left = iter(given)
    if not whole and all(any(one == each for each in left) for one in got):
        return []
    return [f"{what}: {_listed(got)} instead of {_listed(given)}"]


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values) or "none"


def _polarity_faults(source: str, made: str, *, whole: bool) -> list[str]:
    given = {name for name, pattern in _POLARITIES.items() if pattern.search(source)}
    got = {name for name, pattern in _POLARITIES.items() if pattern.search(made)}
    wrong = given ^ got if whole else (got - given) | ({"not"} & (given ^ got))
    found = [f"polarity: {', '.join(sorted(wrong))}"] if wrong else []
    if _has_difference(made) and not _has_difference(source):
        found.append("polarity: a value became a difference")
    return found


def _has_difference(text: str) -> bool:
    """True if a value with its unit stands right before a word of comparison."""
    for match in _NUMBER.finditer(_ID.sub(" ", text)):
        unit = _UNIT.match(match.string, match.start() + len(match[0].rstrip(".,")))
        is_quantity = unit is not None and _SPELLINGS[unit[1].lower()] not in _OF_TIME
        if unit is not None and is_quantity and _THEN.match(match.string, unit.end()):
            return True
    return False


def _form_faults(source: str, made: str, language: str) -> Iterable[str]:
    if not made.strip():
        yield "form: empty"
    elif len(made) > LONGEST * len(source) + 40:
        yield "form: much longer than its source"
    elif language_of(made) != language:
        yield f"form: not in the language {language}"
    if _FOREIGN.search(made) and not _FOREIGN.search(source):
        yield "form: markup or an address"
