"""Reads objects of a payload: one signal, the signals of an asset, or records of one each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.paths import MISSING, each, find, steps
from edge_agent.sources.mqtt.payload_spec import AUTO_QUALITY
from edge_agent.sources.qualities import worst
from edge_agent.values import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.sources.mqtt.payload_spec import Wanted
    from edge_agent.sources.mqtt.readings import Readings

MAX_DEPTH: Final = 8
MAX_REFUSED: Final = 100  # items of one message; the rest of the message is then skipped
_MAX_NAME: Final = 512
OWN_KEYS: Final = "*"  # payload.asset: the keys of the object are the assets

_Around = tuple[dict[str, Any], ...]


def read_each(items: list[Any], read: Callable[[Any, Readings], None], out: Readings) -> None:
    """Read all items of one message: a refused item does not stop the others."""
    for item in items:
        try:
            read(item, out)
        except DecodeError as error:
            if len(out.refused) >= MAX_REFUSED:
                raise DecodeError("shape", "too many of its values are refused") from error
            out.refuse(error)


def read_item(item: object, out: Readings) -> None:
    """A top-level JSON value, or one of several in an array."""
    spec = out.spec
    if isinstance(item, dict):
        if spec.asset == OWN_KEYS:
            _read_assets(item, out)
        elif spec.items or spec.name:
            _read_records(item, out)
        elif out.target.single is not None:
            out.add_value(out.target.single, *out.unwrap(item))
        else:
            read_named(item, out)
    elif out.target.single is not None and not spec.items:
        out.add_value(out.target.single, item, None)
    else:
        raise DecodeError("shape", "no object with signal names")


def _read_assets(doc: dict[str, Any], out: Readings) -> None:
    """`{"Pump 1": [{"ts": ..., "values": {...}}]}`: the keys of the object are the assets."""
    out.odd = True
    for name, inner in doc.items():
        try:
            named = _named_of(name, out)
        except DecodeError as error:
            out.refuse(error)
            continue

        def read(item: Any, out: Readings, named: dict[str, Wanted] = named) -> None:  # noqa: ANN401
            if not isinstance(item, dict):
                raise DecodeError("shape", "no object with signal names")
            if out.spec.items or out.spec.name:
                _read_records(item, out, named)
            else:
                read_named(item, out, named)

        read_each(inner if isinstance(inner, list) else [inner], read, out)


def _named_of(name: object, out: Readings) -> dict[str, Wanted]:
    """The signals of the asset that a payload names."""
    if isinstance(name, bool) or not isinstance(name, str | int) or out.target.by_asset is None:
        raise DecodeError("asset", f"no asset under {out.spec.asset!r}")
    return out.target.by_asset(str(name)[:_MAX_NAME])


def read_named(doc: dict[str, Any], out: Readings, named: dict[str, Wanted] | None = None) -> None:
    """Read an object of an asset: one reading per key."""
    if named is None:
        named = out.target.named
        if out.target.by_asset is not None:
            out.odd = True
            named = _named_of(find(doc, out.spec.asset), out)
    at_us, status = out.stamp(doc)
    own = {out.spec.time, out.spec.quality, out.spec.asset}
    for path, item in _walk(doc, named):
        wanted = named.get(path)
        if wanted is None:
            if path not in own:
                out.unknown = out.unknown or path
            continue
        _read_reading(path, wanted, item, at_us, status, out)
    for path in indexed(named):
        item = find(doc, path)
        if item is not MISSING:
            out.odd = True
            _read_reading(path, named[path], item, at_us, status, out)


def _read_reading(  # noqa: PLR0913, PLR0917
    path: str, wanted: Wanted, item: object, at_us: int | None, status: int, out: Readings
) -> None:
    try:
        out.add_value(wanted, item, at_us, status)
    except DecodeError as error:
        out.refuse(DecodeError(error.reason, f"{path}: {error.message}"))


def indexed(named: dict[str, Wanted]) -> list[str]:
    """Addresses with array indexes, `values[0].v`: the walk over keys does not find them."""
    return [
        path
        for path in named
        if "[" in path or any(step.isdecimal() for step in path.split(".")[1:])
    ]


def _walk(
    doc: dict[str, Any], known: dict[str, Wanted], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of each known path and of all leaves."""
    for key, item in doc.items():
        path = f"{prefix}{key}"
        if isinstance(item, dict) and path not in known and depth < MAX_DEPTH:
            yield from _walk(item, known, f"{path}.", depth + 1)
        else:
            yield path, item


def _read_records(
    doc: dict[str, Any], out: Readings, named: dict[str, Wanted] | None = None
) -> None:
    """Read records of one value each: `{"values": [{"id": "flow", "v": 1.5, "q": true}]}`."""
    out.odd = True
    found = False
    for key, record, around in _records(doc, out):
        found = True
        try:
            _read_record(key, record, around, out, named)
        except DecodeError as error:
            if len(out.refused) >= MAX_REFUSED:
                raise DecodeError("shape", "too many of its values are refused") from error
            out.refuse(error)
    if not found:
        raise DecodeError("shape", f"nothing under {out.spec.items!r} (payload.items)")


def _records(doc: dict[str, Any], out: Readings) -> Iterator[tuple[str | None, Any, _Around]]:
    """(key of a record, the record, the objects around it) for each record."""
    spec = out.spec
    for place, around in each(doc, spec.items):
        outer = around if steps(spec.items) else ()
        if isinstance(place, list):
            yield from ((None, record, outer) for record in place)
        elif isinstance(place, dict) and not spec.name and out.target.single is None:
            yield from ((key, record, (place, *outer)) for key, record in place.items())
        else:
            yield None, place, outer


def _read_record(
    key: str | None,
    record: Any,  # noqa: ANN401
    around: _Around,
    out: Readings,
    named: dict[str, Wanted] | None,
) -> None:
    own = (record,) if isinstance(record, dict) else ()
    if named is None and out.target.by_asset is not None:
        named = _named_of(_first(out.spec.asset, own + around), out)
    if key is None and not out.spec.name and out.target.single is None:
        if not own:
            raise DecodeError("shape", "a record that is not an object (see payload.name)")
        read_named({**_times(around, out), **record}, out, named)
        return
    wanted, name = _wanted_of(key, own + around, out, named)
    if wanted is None:
        out.unknown = out.unknown or name
        return
    raw, at_us, status = _reading(record, around, out)
    _read_reading(name, wanted, raw, at_us, status, out)


def _times(around: _Around, out: Readings) -> dict[str, Any]:
    """The time of the objects around a record, as if the record contained it."""
    raw = _first(out.spec.time, around) if out.spec.time else MISSING
    return {} if raw is MISSING else {out.spec.time: raw}


def _wanted_of(
    key: str | None, objects: _Around, out: Readings, named: dict[str, Wanted] | None
) -> tuple[Wanted | None, str]:
    single = out.target.single
    if key is None and out.spec.name:
        raw = _first(out.spec.name, objects)
        if raw is MISSING or isinstance(raw, dict | list):
            raise DecodeError("name", f"no name under {out.spec.name!r} (payload.name)")
        key = str(raw)[:_MAX_NAME]
    if single is not None:
        return single, key or "value"
    known = out.target.named if named is None else named
    return known.get(key or ""), key or ""


def _first(path: str, objects: _Around) -> Any:  # noqa: ANN401
    """The value under a path in the first object that has it."""
    found = (find(one, path) for one in objects)
    return next((raw for raw in found if raw is not MISSING), MISSING)


def _reading(
    record: Any,  # noqa: ANN401
    around: _Around,
    out: Readings,
) -> tuple[Any, int | None, int]:
    """Value, time and status of a record; time and status may be in the objects around it."""
    own_us, own_status, said = None, GOOD, False
    raw = record
    if isinstance(record, dict):
        raw, own_us, own_status = out.unwrap(record)
        said = out.spec.quality != AUTO_QUALITY and find(record, out.spec.quality) is not MISSING
    for outer in around:
        if own_us is None:
            own_us, status = out.stamp(outer)
            own_status = own_status if said else worst(own_status, status)
    return raw, own_us, own_status
