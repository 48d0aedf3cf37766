"""Converts received qualities (words, booleans and numbers) to OPC UA StatusCodes.

The dialects conflict in one number: 0 is Good in OPC UA and Bad in OPC Classic. So an unknown
quality is Bad and never Good, and an ambiguous number is interpreted as the worse one.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edge_agent.status_codes import NAMES, code_of
from edge_agent.values import (
    BAD,
    BAD_NO_COMMUNICATION,
    BAD_OUT_OF_RANGE,
    BAD_SENSOR_FAILURE,
    GOOD,
    SEVERITY_SHIFT,
    UNCERTAIN,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class QualityCodes(StrEnum):
    """The meaning of numbers as a quality; `auto` decides by the number and the key, or is Bad."""

    AUTO = "auto"
    OPCUA = "opcua"  # a StatusCode: 0 is Good
    CLASSIC = "classic"  # OPC DA, Kepware, Ignition, Sparkplug: 192 is Good, 0 Bad, 500 stale
    SIEMENS = "siemens"  # qc of the Industrial Edge connectors: 3 is Good, 0 Bad
    FLAG = "flag"  # 1 is Good, 0 Bad


_LAST_USABLE: Final = 0x4090_0000
_SUBSTITUTE: Final = 0x4091_0000
_NOT_ACCURATE: Final = 0x4093_0000
_UNITS_EXCEEDED: Final = 0x4094_0000
_SUB_NORMAL: Final = 0x4095_0000
_SIMULATED: Final = 0x4209_0000
_IN_MANUAL: Final = 0x4208_0000
_CONFIGURATION_ERROR: Final = 0x8089_0000
_NOT_CONNECTED: Final = 0x808A_0000
_DEVICE_FAILURE: Final = 0x808B_0000
_OUT_OF_SERVICE: Final = 0x808D_0000
_WAITING: Final = 0x8032_0000

# Words without blanks, punctuation and capitals; umlauts written out.
_TEXTS: Final[Mapping[int, str]] = {
    GOOD: "good gut ok okay gueltig valid normal online io inordnung "
    "goodnonspecific goodlimitok goodlowlimited goodhighlimited goodconstant "
    "goodlocaloverride nofault noerror keinfehler nonspecific 良好 正常 有效 有効",
    UNCERTAIN: "uncertain unsicher questionable fraglich doubtful zweifelhaft suspect "
    "suspicious dubious undefiniert unzuverlaessig unreliable 不确定 不確か 可疑",
    BAD: "bad schlecht fehler fehlerhaft ungueltig invalid error err fault "
    "faulty defekt defective gestoert stoerung failed failure fail nok nio notok notgood "
    "nogood nichtok nichtgut nichtgueltig notvalid broken kaputt unavailable nichtverfuegbar "
    "unknown unbekannt undefined null none nan nodata keinedaten badlastknown lastknownvalue "
    "不良 无效 無効 异常 異常 错误 故障",
    BAD_NO_COMMUNICATION: "offline stale disconnected timeout timedout nocommunication "
    "commfailure communicationfailure commerror communicationerror commfault "
    "communicationfault commlost connectionlost keineverbindung verbindungsabbruch "
    "verbindungverloren getrennt veraltet kommunikationsfehler keinekommunikation unreachable "
    "nichterreichbar 离线",
    BAD_SENSOR_FAILURE: "sensorfailure sensorfault sensorerror sensordefekt sensorfehler "
    "drahtbruch leitungsbruch kabelbruch kurzschluss wirebreak openwire brokenwire "
    "shortcircuit opencircuit",
    BAD_OUT_OF_RANGE: "outofrange overrange underrange overflow underflow ueberlauf unterlauf "
    "bereichsueberschreitung ausserhalb",
    _LAST_USABLE: "lastusable lastusablevalue lastknown letzterwert",
    _SUBSTITUTE: "substitute substituted substitutevalue ersatzwert replaced estimated geschaetzt",
    _SIMULATED: "simulated simulation simuliert",
    _IN_MANUAL: "manual manuell hand handwert",
    _NOT_ACCURATE: "sensornotaccurate notaccurate ungenau",
    _UNITS_EXCEEDED: "engineeringunitsexceeded euexceeded euunitsexceeded",
    _SUB_NORMAL: "subnormal",
    _CONFIGURATION_ERROR: "configerror configurationerror konfigurationsfehler",
    _NOT_CONNECTED: "notconnected nichtverbunden",
    _DEVICE_FAILURE: "devicefailure devicefault geraetefehler",
    _OUT_OF_SERVICE: "outofservice ausserbetrieb disabled deaktiviert",
    _WAITING: "waitingforinitialdata initializing uninitialized nichtinitialisiert",
}
_WORDS: Final = {word.lower(): status for status, words in _TEXTS.items() for word in words.split()}
_SEVERITIES: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
_TRUE: Final = frozenset({"true", "yes", "ja", "wahr"})
_FALSE: Final = frozenset({"false", "no", "nein", "falsch"})
# OPC DA 2.05, 6.8: quality and sub-status are the bits above the two of the limit.
_CLASSIC_BAD: Final = {
    1: _CONFIGURATION_ERROR,
    2: _NOT_CONNECTED,
    3: _DEVICE_FAILURE,
    4: BAD_SENSOR_FAILURE,
    5: BAD_NO_COMMUNICATION,  # last known value: there is no communication
    6: BAD_NO_COMMUNICATION,
    7: _OUT_OF_SERVICE,
    8: _WAITING,
}
_CLASSIC_UNCERTAIN: Final = {
    1: _LAST_USABLE,
    4: _NOT_ACCURATE,
    5: _UNITS_EXCEEDED,
    6: _SUB_NORMAL,
}
_STALE: Final = 500  # Sparkplug B 3.0, 6.4.13
_BYTE: Final = 0xFF
_UNCERTAIN_CLASSIC: Final = 0x40
_LAST: Final = 0xFFFF_FFFF
_LOWEST: Final = -(1 << 31)
# Part 4, 7.39: the lower bits have a meaning only with the InfoType of a data value.
_INFO_TYPE: Final = 0x3C00
_INFO_TYPES: Final = frozenset({0, 0x0400})
_INFO_BITS: Final = 0x03FF
_HALF: Final = 16
_SMALL: Final[Mapping[QualityCodes, Mapping[int, int]]] = {
    QualityCodes.SIEMENS: {0: BAD, 1: UNCERTAIN, 3: GOOD},
    QualityCodes.FLAG: {0: BAD, 1: GOOD},
}

# Keys that are a quality even if no config names them. Numbers under the second kind are not: they
# may be anything; nor is `status` as a boolean.
KEYS: Final = ("quality", "Quality", "StatusCode", "statusCode", "status_code")
WEAK_KEYS: Final = ("q", "Q", "status", "Status")
_STATUS_KEYS: Final = frozenset({"statuscode", "status_code", "opcuastatus", "opcua_status"})
_INVERTED_KEYS: Final = frozenset(
    {"bad", "isbad", "is_bad", "error", "iserror", "is_error", "haserror", "has_error", "fault"}
    | {"faulty", "invalid", "stale", "failed", "failure", "fehler", "stoerung", "störung"}
)
_HEX = re.compile(r"0[xX]([0-9a-fA-F]{1,16})")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}(?:\.0*)?")
_NUMBERS = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_MAX_TEXT: Final = 200
_FULL_HEX_DIGITS: Final = 8


def status_of(raw: object, codes: QualityCodes = QualityCodes.AUTO, key: str = "") -> int | None:
    """The StatusCode of a quality in a payload; None if it is unknown.

    key: its key in the payload: `StatusCode` is OPC UA's name, and under `error` true is Bad. Null
    is Uncertain, but Good as a StatusCode, which OPC UA omits if it is Good (Part 6, 5.4.2).
    """
    name = key.rpartition(".")[2].lower()
    if isinstance(raw, str):
        return _of_text(raw[:_MAX_TEXT], codes, name)
    if raw is None:
        return GOOD if name in _STATUS_KEYS or codes is QualityCodes.OPCUA else UNCERTAIN
    if isinstance(raw, bool):
        return BAD if raw is (name in _INVERTED_KEYS) else GOOD
    if isinstance(raw, float):
        return _of_number(int(raw), codes, name) if raw.is_integer() else None
    if isinstance(raw, int):
        return _of_number(raw, codes, name)
    return _of_object(raw, codes) if isinstance(raw, dict) else None


def is_classic(raw: object) -> bool:
    """True if a quality is from OPC Classic and from no other dialect."""
    if isinstance(raw, str):
        raw = int(raw) if raw.strip().isdecimal() and len(raw) <= 3 else 0  # noqa: PLR2004
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return False
    return _UNCERTAIN_CLASSIC <= raw <= _BYTE


def worst(*statuses: int) -> int:
    """The most severe of several StatusCodes; of equally severe ones the first."""
    return max(statuses, key=lambda status: min(status >> SEVERITY_SHIFT, 2))


def _of_object(raw: dict[str, Any], codes: QualityCodes) -> int | None:
    """`{"Code": 2147483648, "Symbol": "Bad"}`, as written by OPC Publisher."""
    lower = {str(key).lower(): value for key, value in raw.items()}
    code, symbol = lower.get("code"), lower.get("symbol")
    codes = QualityCodes.OPCUA if codes is QualityCodes.AUTO else codes
    found = [
        status_of(part, codes) for part in (code, symbol) if isinstance(part, str | int | float)
    ]
    known = [status for status in found if status is not None]
    return worst(*known) if known and len(known) == len(found) else None


@lru_cache(maxsize=4096)
def _of_text(text: str, codes: QualityCodes, name: str) -> int | None:
    text = text.strip()
    if not text:
        return UNCERTAIN
    if (found := _HEX.fullmatch(text)) is not None:
        digits = found[1]
        full = len(digits) >= _FULL_HEX_DIGITS and codes is QualityCodes.AUTO
        return _of_number(int(digits, 16), QualityCodes.OPCUA if full else codes, name)
    if _INTEGER.fullmatch(text):
        return _of_number(int(text.partition(".")[0]), codes, name)
    word = _bare(_NUMBERS.sub(" ", text))
    if word in _TRUE | _FALSE:
        return status_of(word in _TRUE, codes, name)
    status = _of_words(word)
    if status is None or status >> SEVERITY_SHIFT:
        return status
    numbers = [int(n, 16) if n[:2] in {"0x", "0X"} else int(n) for n in _NUMBERS.findall(text)]
    return status if all(map(_can_be_good, numbers)) else None


def _bare(text: str) -> str:
    """Letters and digits only, in lower case, umlauts written out."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_UMLAUTS)
    return "".join(letter for letter in folded if letter.isalnum())


def _of_words(word: str) -> int | None:
    if word in _WORDS:
        return _WORDS[word]
    for name in (word, f"{word}value"):
        code = code_of(name) if word.isascii() else None
        if code is not None:
            return code
    start = next((start for start in ("uncertain", "bad") if word.startswith(start)), "")
    if not start:
        return None  # `good` followed by unknown text is not good
    status = _SEVERITIES[start]
    rest = _WORDS.get(word.removeprefix(start), GOOD)
    return rest if rest >> SEVERITY_SHIFT == status >> SEVERITY_SHIFT else status


def _can_be_good(number: int) -> bool:
    found = (_classic(number), _opcua(number))
    return any(status is not None and not status >> SEVERITY_SHIFT for status in found)


def _of_number(number: int, codes: QualityCodes, name: str) -> int | None:
    if name in _INVERTED_KEYS and number in {0, 1}:
        return BAD if number else GOOD
    if codes in _SMALL:
        return _SMALL[codes].get(number)
    if codes is QualityCodes.CLASSIC:
        return _classic(number)
    if codes is QualityCodes.OPCUA:
        return _opcua(number)
    if number == 0:
        return GOOD if name in _STATUS_KEYS else None
    return _classic(number) if 0 < number <= _BYTE or number == _STALE else _opcua(number)


def _classic(number: int) -> int | None:
    """An OPC Classic quality; its two lowest bits are the limit that a value has reached."""
    if number == _STALE:
        return BAD_NO_COMMUNICATION
    if not 0 <= number <= _BYTE:
        return None
    detail = number >> 2 & 0xF
    return (_CLASSIC_BAD.get(detail, BAD), _CLASSIC_UNCERTAIN.get(detail, UNCERTAIN), None, GOOD)[
        number >> 6
    ]


def _opcua(number: int) -> int | None:
    """A StatusCode, signed or not; None for a Good code that is unknown."""
    if not _LOWEST <= number <= _LAST:
        return None
    code = number & _LAST
    if code >> SEVERITY_SHIFT:
        return code
    known = code >> _HALF << _HALF in NAMES and code & _INFO_TYPE in _INFO_TYPES
    return code if known and (code & _INFO_TYPE or not code & _INFO_BITS) else None
