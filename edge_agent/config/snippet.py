"""Config text that the program writes: proposals of `browse`, `listen` and `init`."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.scalars import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WIDTH: Final = 110
# Plain in YAML 1.1 and 1.2; texts that look like a number, a date or a truth value are quoted.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./%²³·-]*")
_WORDS: Final = frozenset(
    {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}
)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_UMLAUTS: Final = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "ø": "o",
        "µ": "u",
    }
)
_NUMBERED: Final = re.compile(r"(.*?)([0-9]+)")
_MIN_RANGE: Final = 3  # number of ids that are written as one range

Notes = dict[tuple[str | int, ...], str]


def render(tree: Mapping[str, Any], notes: Notes | None = None) -> str:
    """A config as YAML. notes: by path, a comment for the end of the line of that key."""
    return "".join(f"{line}\n" for line in _block(tree, (), notes or {}, 0))


def _block(
    tree: Mapping[str, Any], path: tuple[str | int, ...], notes: Notes, depth: int
) -> Iterable[str]:
    indent = "  " * depth
    for key, value in tree.items():
        here = (*path, key)
        note = f" # {notes[here]}" if here in notes else ""
        flat = _flow(value)
        is_open = isinstance(value, dict | list) and value
        if is_open and (depth == 0 or not _fits(flat, value, here, notes)):
            yield f"{indent}{_key(key)}:{note}"
            yield from _inner(value, here, notes, depth + 1)
        else:
            yield f"{indent}{_key(key)}: {flat}{note}"


def _inner(value: Any, path: tuple[str | int, ...], notes: Notes, depth: int) -> Iterable[str]:  # noqa: ANN401 (any YAML)
    if isinstance(value, dict):
        yield from _block(value, path, notes, depth)
        return
    for number, item in enumerate(value):
        note = f" # {notes[(*path, number)]}" if (*path, number) in notes else ""
        yield f"{'  ' * depth}- {_flow(item)}{note}"


def _fits(flat: str, value: Any, path: tuple[str | int, ...], notes: Notes) -> bool:  # noqa: ANN401
    """True if a value fits on one line: short, shallow, and nothing inside has a note."""
    inside = any(len(one) > len(path) and one[: len(path)] == path for one in notes)
    deep = isinstance(value, dict) and any(isinstance(one, dict) for one in value.values())
    return len(flat) <= _WIDTH and not inside and not deep


def _flow(value: Any) -> str:  # noqa: ANN401 (any YAML)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, int):
        return str(value)
    return _text(str(value))


def _key(text: str) -> str:
    return _text(text)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    if sign.isprintable():
        return sign
    return f"\\U{ord(sign):08x}"


def safe_name(text: str, default: str = "x") -> str:
    """A name that the config accepts, as similar to `text` as possible."""
    plain = unicodedata.normalize("NFKD", text.translate(_UMLAUTS))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = _UNSAFE.sub("_", plain).strip("_.-")[:MAX_NAME].rstrip("_.-")
    return name if name and name[0].isalnum() else default


def id_ranges(ids: Iterable[str]) -> list[str]:
    """Ids with runs of numbers as ranges: P-101, P-102, P-103 become `P-{101..103}`."""
    groups: dict[tuple[str, int], list[int]] = {}
    out: list[str] = []
    for one in ids:
        match = _NUMBERED.fullmatch(one)
        if match is None:
            out.append(one)
        else:
            groups.setdefault((match[1], len(match[2])), []).append(int(match[2]))
    for (prefix, width), numbers in groups.items():
        for low, high in _runs(sorted(set(numbers))):
            names = [f"{prefix}{n:0{width}d}" for n in range(low, high + 1)]
            is_range = len(names) >= _MIN_RANGE
            bounds = f"{{{low:0{width}d}..{high:0{width}d}}}"
            out += [f"{prefix}{bounds}"] if is_range else names
    return out


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], n)
        else:
            runs.append((n, n))
    return runs
