"""Paths into a JSON document: `data.value`, `values[0].v` (or `values.0.v`), `Messages[].Payload`.

A key of the document that equals the path, or the rest of it, has priority: keys of real devices
contain dots.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING: Final = object()
EACH: Final = "[]"
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]*)\]|\.")
_MAX_STEPS: Final = 16


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[str, ...]:
    """Keys, indexes and `[]` of a path; ConfigError if the text is not a path."""
    found: list[str] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ConfigError(f"{path!r} is not a path", hint="write a.b, a[0].b or a[].b")
        at = step.end()
        if step[1] is not None:
            found.append(step[1])
        elif step[2] is not None:
            found.append(step[2] or EACH)
    if len(found) > _MAX_STEPS:
        raise ConfigError(f"{path!r} has more than {_MAX_STEPS} steps")
    return tuple(found)


def problem_of(path: str, *, each: bool = False) -> str:
    """What is wrong with a path of the config, or empty; each: True if `[]` is allowed in it."""
    try:
        found = steps(path)
    except ConfigError as error:
        return str(error)
    return "'[]' is allowed only in `items`: write [0]" if EACH in found and not each else ""


def find(doc: Any, path: str) -> Any:  # noqa: ANN401 (any JSON)
    """The value under a path; MISSING if there is none."""
    if isinstance(doc, dict) and path in doc:
        return doc[path]
    try:
        return _find(doc, steps(path), 0)
    except ConfigError:
        return MISSING


def _find(here: Any, path: tuple[str, ...], at: int) -> Any:  # noqa: ANN401
    if at == len(path):
        return here
    if isinstance(here, list):
        step = path[at]
        inside = step.isdecimal() and int(step) < len(here)
        return _find(here[int(step)], path, at + 1) if inside else MISSING
    if not isinstance(here, dict):
        return MISSING
    if path[at] in here:
        found = _find(here[path[at]], path, at + 1)
        if found is not MISSING:
            return found
    return here.get(".".join(path[at:]), MISSING)


def each(doc: Any, path: str) -> Iterator[tuple[Any, tuple[dict[str, Any], ...]]]:  # noqa: ANN401
    """Each value under a path with `[]`, and the objects around it, the innermost first."""
    around = (doc,) if isinstance(doc, dict) else ()
    yield from _each(doc, steps(path), around)


def _each(
    here: Any,  # noqa: ANN401
    path: tuple[str, ...],
    around: tuple[dict[str, Any], ...],
) -> Iterator[tuple[Any, tuple[dict[str, Any], ...]]]:
    if not path:
        yield here, around
        return
    if path[0] == EACH:
        inner = here if isinstance(here, list) else [here]
    else:
        found = _find(here, path[:1], 0)
        inner = [] if found is MISSING else [found]
    for item in inner:
        more = (item,) if isinstance(item, dict) and len(path) > 1 else ()
        yield from _each(item, path[1:], more + around)
