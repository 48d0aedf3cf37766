"""Column names as plants write them: `Flow [m3/h]`, `P-101.Flow`, `Zeitstempel`, `_value`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_UNIT: Final = re.compile(r"[\[(<{]([^\])>}]*)[\])>}]")
_NO_LETTER: Final = re.compile(r"[\W_]+")
_UNIT_SIGNS: Final = str.maketrans(
    {"³": "3", "²": "2", "^": "", "·": "", "*": "", " ": "", "μ": "µ"}
)
_UNIT_WORDS: Final = {
    "c": "°c",
    "degc": "°c",
    "f": "°f",
    "degf": "°f",
    "1/min": "rpm",
    "min-1": "rpm",
}


def _words(text: str) -> list[str]:
    return text.split()


# Plain names (see `plain_name`) by the content of such a column, the most likely first.
TIME_NAMES: Final = _words(
    "time timestamp datetime ts date zeit zeitstempel datum datumzeit uhrzeit messzeit zeitpunkt "
    "timestring timestamputc timeutc utc utctime localtime datetimeutc isotime epoch unixtime "
    "sampletime "
    "horodatage dateheure heure fecha fechahora hora dataora ora tidpunkt czas "
    "日時 時刻 日付 日付時刻 タイムスタンプ 时间 時間 时间戳 日期 日期时间 采集时间 시간 일시 날짜"
)
_LABEL_NAMES: Final = _words(
    "tag tagname signal signalname name variable variablename point pointname sensor channel "
    "parameter metric item field series messstelle kanal 測点 タグ タグ名 点名 标签 测点 位号 태그"
)
_VALUE_NAMES: Final = _words(
    "value val wert messwert reading valeur valor valore 値 数值 值 测量值 값"
)
_LABEL_ENDS: Final = ("name", "tag", "variable", "signal", "bezeichnung", "kanal", "messstelle")
_VALUE_ENDS: Final = ("value", "wert", "reading")

_QUALITY_NAMES: Final = _words(
    "quality qualität qualitaet status opcquality qualité calidad 品質 质量 품질"
)
_ASSET_NAMES: Final = _words(
    "asset assetid machine machineid equipment equipmentid device deviceid anlage maschine gerät "
    "設備 机器 设备 설비"
)


def plain_name(text: str) -> str:
    """Return a name without its unit, blanks and punctuation, in lower case."""
    bare = _UNIT.sub("", unicodedata.normalize("NFKC", text))
    return _NO_LETTER.sub("", bare).casefold()


def bare_name(text: str) -> str:
    """Return a name without its unit."""
    return _UNIT.sub("", text).strip()


def unit_of_name(text: str) -> str:
    """Return the unit in brackets in a column's name, or an empty text."""
    found = _UNIT.search(text)
    return found[1].strip() if found else ""


def same_unit(one: str, other: str) -> bool:
    """True if two units are the same, apart from their spelling."""
    return _plain_unit(one) == _plain_unit(other)


def _plain_unit(unit: str) -> str:
    plain = unit.translate(_UNIT_SIGNS).casefold()
    return _UNIT_WORDS.get(plain, plain)


def first_named(names: list[str], kinds: list[str]) -> int | None:
    """Index of the column whose plain name is first in `kinds`."""
    plain = [plain_name(name) for name in names]
    return next((plain.index(kind) for kind in kinds if kind in plain), None)


def long_columns(names: list[str]) -> tuple[int, int, int | None] | None:
    """Indexes of the label, value and quality columns of a long recording, by their names."""
    label, value = first_named(names, _LABEL_NAMES), first_named(names, _VALUE_NAMES)
    label = _only_ending(names, _LABEL_ENDS) if label is None else label
    value = _only_ending(names, _VALUE_ENDS) if value is None else value
    if label is None or value is None:
        return None
    return label, value, first_named(names, _QUALITY_NAMES)


def _only_ending(names: list[str], ends: tuple[str, ...]) -> int | None:
    """Index of the only column whose plain name ends so: `VarName`, `Messwert`."""
    found = [n for n, name in enumerate(names) if plain_name(name).endswith(ends)]
    return found[0] if len(found) == 1 else None


def is_quality_name(name: str) -> bool:
    """True if a column's name ends as that of a quality: `flow_status`."""
    return plain_name(name).endswith(tuple(_QUALITY_NAMES))


def asset_column(names: list[str]) -> int | None:
    """Index of a column that has a name for machines."""
    return first_named(names, _ASSET_NAMES)
