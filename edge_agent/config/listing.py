"""A config as a list of keys with their values, for people: no line ever contains a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints
from urllib.parse import urlsplit

from edge_agent.config.conditions import Condition
from edge_agent.config.problem import dotted
from edge_agent.config.types import Duration, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.config.problem import KeyPath

HIDDEN: Final = "hidden"
_UNITS: Final = {Duration: "s", Size: "bytes"}
# Their values may be a password: of a proxy, of a chat service.
_SECRET_MAPS: Final = frozenset({"headers"})
_SIMPLE: Final = (str, int, float, bool, type(None), Path, Enum)


@dataclass(frozen=True, slots=True)
class Line:
    """A key and its value: text, number, truth value, None, or a list of these.

    unit: of a duration or a size. is_default: it is what it would be without the key. is_hidden:
    the value only says where a secret is, or that there is one.
    """

    path: KeyPath
    value: object
    unit: str = ""
    is_default: bool = False
    is_hidden: bool = False

    @property
    def key(self) -> str:
        """The path as text: `templates.pump.models[0].alarm`."""
        return dotted(self.path)


def list_lines(
    config: object, types: Mapping[type, str], shows_default: Callable[[KeyPath], bool]
) -> Iterator[Line]:
    """The keys of a config; types: the `type:` of the structs of sources and sinks.

    shows_default: of the path of a value that is a default: False leaves out all of it.
    """
    return _Lister(types, shows_default).lines((), config, MISSING, None)


class _Lister:
    """Walks structs, maps and lists beside their defaults."""

    def __init__(self, types: Mapping[type, str], shows_default: Callable[[KeyPath], bool]) -> None:
        self._types = types
        self._shows_default = shows_default

    def lines(self, path: KeyPath, value: Any, default: Any, hint: Any) -> Iterator[Line]:  # noqa: ANN401 (any value of a config)
        if default is not MISSING and value == default and not self._shows_default(path):
            return
        if isinstance(value, Secret):
            yield Line(path, place_of(value), is_hidden=True)
        elif isinstance(value, Condition):
            yield Line(path, value.text, is_default=value == default)
        elif is_dataclass(value):
            yield from self._of_struct(path, value, default)
        elif isinstance(value, Mapping) and value:
            known = default if isinstance(default, Mapping) else {}
            for key, one in value.items():
                yield from self.lines((*path, key), one, known.get(key, MISSING), None)
        elif isinstance(value, tuple) and not all(isinstance(one, _SIMPLE) for one in value):
            for number, one in enumerate(value):
                yield from self.lines((*path, number), one, MISSING, None)
        else:
            yield _simple(path, value, default, hint)

    def _of_struct(self, path: KeyPath, value: Any, default: Any) -> Iterator[Line]:  # noqa: ANN401 (any struct)
        if (kind := self._types.get(type(value))) is not None:
            yield Line((*path, "type"), kind)
        base = default if isinstance(default, type(value)) else None
        struct: type = type(value)
        for name, usual, hint in _fields(struct):
            known = usual if base is None else getattr(base, name)
            yield from self.lines((*path, name), getattr(value, name), known, hint)


def _simple(path: KeyPath, value: Any, default: Any, hint: Any) -> Line:  # noqa: ANN401 (any value)
    is_default = default is not MISSING and bool(value == default)
    if len(path) > 1 and path[-2] in _SECRET_MAPS:
        return Line(path, HIDDEN, is_hidden=True)
    shown = _shown(value)
    if isinstance(shown, str) and (public := _public_url(path, shown)) != shown:
        return Line(path, public, is_default=is_default, is_hidden=True)
    return Line(path, shown, _unit(hint), is_default)


def _shown(value: Any) -> object:  # noqa: ANN401 (any value)
    if isinstance(value, tuple):
        return [_shown(one) for one in value]
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Path):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def place_of(secret: Secret) -> str:
    """Where a secret is; never the secret."""
    if secret.env is not None:
        return f"{HIDDEN}, from the environment variable {secret.env}"
    if secret.credential is not None:
        return f"{HIDDEN}, from the systemd credential {secret.credential}"
    return f"{HIDDEN}, from the file {secret.file}"


def _public_url(path: KeyPath, text: str) -> str:
    """A URL without login and query; of a sink also without path: chats have tokens in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN if "://" in text else text
    if not (parts.scheme and parts.netloc):
        return text
    login, at, host = parts.netloc.rpartition("@")
    if path[:1] == ("sinks",) and parts.scheme in {"http", "https"}:
        has_more = bool(login or parts.query or parts.path.strip("/"))
        return f"{parts.scheme}://{host}/..." if has_more else text
    netloc = f"...@{host}" if at else host
    query = "..." if parts.query else ""
    return text if not (at or query) else parts._replace(netloc=netloc, query=query).geturl()


@cache
def _fields(kind: type) -> tuple[tuple[str, Any, Any], ...]:
    """Name, default and type of the fields of a struct."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((one.name, _default(one), hints[one.name]) for one in fields(kind))


def _default(spec: Any) -> Any:  # noqa: ANN401 (a field's)
    return spec.default if spec.default_factory is MISSING else spec.default_factory()


def _unit(hint: Any) -> str:  # noqa: ANN401 (a type)
    """The unit of a duration or a size, also of an optional one."""
    found = [_UNITS.get(hint, ""), *map(_unit, get_args(hint))] if hint is not None else []
    return next((one for one in found if one), "")
