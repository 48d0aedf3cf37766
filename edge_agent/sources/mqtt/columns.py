"""The fast path from payloads to columns: decodes many messages of one shape together.

It accepts only payloads that are certain. All others raise one of `UNFIT`; the caller then decodes
those messages one by one with `payload.decode`, which returns the same columns for the same
payload. Each payload is parsed separately: if they were joined, one message could affect another
topic.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import orjson

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.payload_spec import AUTO_QUALITY, Format, Payload, Target
from edge_agent.sources.mqtt.payload_time import (
    AUTO_LIMITS,
    AUTO_US,
    MAX_TIME_US,
    MIN_TIME_US,
    OUTSIDE,
    UNIT_US,
)
from edge_agent.sources.qualities import KEYS, WEAK_KEYS
from edge_agent.values import GOOD, Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from numpy.typing import NDArray

    from edge_agent.sources.mqtt.payload_spec import TimeUnit

UNFIT: Final = (ValueError, KeyError, TypeError, OverflowError, struct.error, DecodeError)
_MAX_PLANS: Final = 64
_PAIR: Final = 2  # keys of an object that has a time and a value
_MAX_PLAN_CHARACTERS: Final = 1 << 14
_SCALARS: Final = frozenset({int, float, bool})
_QUALITY_KEYS: Final = frozenset(KEYS + WEAK_KEYS)
_NO_TRUTH: Final = frozenset({"status", "Status"})
_GOOD_TEXTS: Final = frozenset({"good", "Good", "GOOD"})
_AUTO_LIMITS: Final = np.array(AUTO_LIMITS)
_AUTO_US: Final = np.array(AUTO_US)


class Batch(Protocol):
    """Topics whose messages can be decoded together. rows: topic -> the row number for `decode`."""

    rows: dict[bytes, int]

    def add(self, topic: bytes, target: Target) -> None:
        """Add a topic to the batch."""

    def decode(self, rows: Sequence[int], payloads: list[bytes], arrival_us: int) -> Columns:
        """Columns of messages [n]; raises one of UNFIT unless all of them are plain and Good."""


def batch_key(target: Target, spec: Payload, *, timed: bool) -> tuple[object, ...] | None:
    """The key that topics must share to be decoded together; None if they cannot be."""
    wanted = [target.single] if target.single else list(target.named.values())
    is_plain = spec.format is Format.JSON and spec.quality in {"", AUTO_QUALITY}
    if not is_plain or spec.items or spec.name or target.by_asset is not None:
        return None
    if any(one.waveform or one.texts.words.keys() & {"true", "false"} for one in wanted):
        return None
    if target.single:
        return (spec, timed) if not {*"[]"} & {*spec.time, *spec.value} else None
    plain = not any({*".["} & {*key} for key in (spec.time, *target.named))
    return (spec, tuple(target.named)) if plain else None


def make_batch(target: Target, spec: Payload, *, timed: bool) -> Batch:
    """An empty batch for topics like this one."""
    if target.single:
        return SignalBatch(spec, timed=timed)
    return AssetBatch(spec, tuple(target.named))


def _floats(numbers: Sequence[Any]) -> NDArray[np.float64]:
    """float64 [n]. `struct` accepts numbers and booleans but no text; numpy would parse text."""
    return np.frombuffer(struct.pack(f"{len(numbers)}d", *numbers))


def times_us(times: NDArray[np.float64], unit: TimeUnit) -> NDArray[np.int64]:
    """Time stamps [n] of a numeric unit as microseconds [n]; DecodeError if one is implausible."""
    factor = UNIT_US.get(unit)
    with np.errstate(over="ignore"):
        if factor is not None:
            scaled = times * factor
        else:
            scaled = times * _AUTO_US[_AUTO_LIMITS.searchsorted(times)]
    # Reading one by one accepts older ones: of a clock that was never set, but not of a `true`.
    if not ((scaled >= MIN_TIME_US) & (scaled < MAX_TIME_US)).all():
        raise DecodeError("time", OUTSIDE)
    return np.rint(scaled).astype(np.int64)


def _column(docs: list[Any], path: str) -> list[Any]:
    """The values under a dotted path of keys, one of each object."""
    keys = path.split(".")
    if len(keys) > 1 and any(path in doc for doc in docs):
        raise ValueError("a key is written like the path")
    for key in keys:
        docs = [doc[key] for doc in docs]
    return docs


def _quality_keys(
    keys: Iterable[str], spec: Payload, known: Iterable[str], named: Container[str]
) -> list[str]:
    """Keys of an object that contain its quality."""
    if spec.quality != AUTO_QUALITY:
        return []
    return [key for key in keys if key in known and key not in named]


def _all_good(docs: list[Any], key: str) -> bool:
    """True if the quality of all these objects is certainly Good."""
    found = [doc[key] for doc in docs]
    kinds = set(map(type, found))
    if kinds == {bool}:
        return key not in _NO_TRUTH and all(found)
    return kinds == {str} and _GOOD_TEXTS.issuperset(found)


def _good(
    signal: NDArray[np.int32], times: NDArray[np.int64], values: NDArray[np.float64]
) -> Columns:
    """Columns of status Good. The values are finite: orjson accepts no other numbers."""
    return Columns(signal, times, values.ravel(), np.full(values.size, GOOD, np.uint32))


class SignalBatch:
    """One topic, one signal: `{"ts": 1767225600000, "value": 12.3}`, or `12.3` if not timed."""

    def __init__(self, spec: Payload, *, timed: bool) -> None:
        self.rows: dict[bytes, int] = {}
        self._spec = spec
        self._timed = timed
        self._around_value = spec.value.rpartition(".")[0]
        self._pair = timed and not {*"."} & {*spec.time, *spec.value}

    def add(self, topic: bytes, target: Target) -> None:
        """Add a topic to the batch; its row is its signal."""
        if target.single is not None:
            self.rows[topic] = target.single.index

    def decode(self, rows: Sequence[int], payloads: list[bytes], arrival_us: int) -> Columns:
        """Columns [n] of n messages."""
        docs = list(map(orjson.loads, payloads))
        signal = np.array(rows, np.int32)
        if self._timed:
            self._check_quality(docs)
            times = times_us(_floats(_column(docs, self._spec.time)), self._spec.time_unit)
            return _good(signal, times, _floats(_column(docs, self._spec.value)))
        times = np.full(len(docs), arrival_us, np.int64)
        return _good(signal, times, _floats(self._untimed(docs)))

    def _untimed(self, docs: list[Any]) -> list[Any]:
        if set(map(type, docs)) <= _SCALARS:
            return docs
        key = self._spec.time.partition(".")[0]
        if key and any(key in doc for doc in docs):
            raise ValueError("a message has a time after all")
        self._check_quality(docs)
        return _column(docs, self._spec.value)

    def _check_quality(self, docs: list[Any]) -> None:
        """Objects of only time and value pass; a quality must be certainly Good."""
        if self._pair and max(map(len, docs)) <= _PAIR:
            return
        for part in (docs, self._around(docs)) if self._around_value else (docs,):
            for keys in set(map(tuple, part)):
                for key in _quality_keys(keys, self._spec, _QUALITY_KEYS, (self._spec.value,)):
                    if not _all_good([doc for doc in part if key in doc], key):
                        raise ValueError("not plainly good")

    def _around(self, docs: list[Any]) -> list[Any]:
        return [doc for doc in _column(docs, self._around_value) if isinstance(doc, dict)]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The keys to read from objects that have the same keys.

    pick: returns their time, if timed, and their wanted values; columns: indexes into the batch's
    names; qualities: the keys that contain a quality.
    """

    pick: Callable[[Any], tuple[Any, ...]]
    timed: bool
    columns: NDArray[np.intp]
    qualities: tuple[str, ...] = ()


class AssetBatch:
    """One topic, one asset: `{"ts": 1767225600000, "s0": 1.5, "s1": 2.5}`."""

    def __init__(self, spec: Payload, names: tuple[str, ...]) -> None:
        self.rows: dict[bytes, int] = {}
        self._spec = spec
        self._time = spec.time
        self._unit = spec.time_unit
        self._names = names
        self._known: dict[tuple[int, ...], int] = {}  # an asset's signals -> its row
        self._table: NDArray[np.int32] = np.empty((0, len(names)), np.int32)
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def add(self, topic: bytes, target: Target) -> None:
        """Add a topic to the batch; its row holds its signals in the order of the names."""
        signals = tuple(target.named[name].index for name in self._names)
        self.rows[topic] = self._known.setdefault(signals, len(self._known))

    def decode(self, rows: Sequence[int], payloads: list[bytes], arrival_us: int) -> Columns:
        """Columns of n messages: all wanted values of the first message, then of the second ..."""
        if len(self._table) < len(self._known):
            self._table = np.array(list(self._known), np.int32)
        docs = list(map(orjson.loads, payloads))
        shapes = list(map(tuple, docs))
        if shapes.count(shapes[0]) == len(shapes):
            return self._alike(shapes[0], rows, docs, arrival_us)
        groups: dict[tuple[str, ...], list[int]] = {}
        for n, shape in enumerate(shapes):
            groups.setdefault(shape, []).append(n)
        parts = [
            self._alike(shape, [rows[n] for n in group], [docs[n] for n in group], arrival_us)
            for shape, group in groups.items()
        ]
        return _in_order(parts, list(groups.values()))

    def _alike(
        self, keys: tuple[str, ...], rows: Sequence[int], docs: list[Any], arrival_us: int
    ) -> Columns:
        """Columns of objects that all have these keys."""
        plan = self._plan(keys)
        if not all(_all_good(docs, key) for key in plan.qualities):
            raise ValueError("not plainly good")
        flat = _floats(tuple(chain.from_iterable(map(plan.pick, docs))))
        table = flat.reshape(len(docs), -1)
        if plan.timed:
            times, values = times_us(table[:, 0], self._unit), table[:, 1:]
        else:
            times, values = np.full(len(docs), arrival_us, np.int64), table
        signal = self._table[np.array(rows)[:, None], plan.columns].ravel()
        return _good(signal, times.repeat(len(plan.columns)), values)

    def _plan(self, keys: tuple[str, ...]) -> _Plan:
        plan = self._plans.get(keys)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[keys] = self._make_plan(keys)
        return plan

    def _make_plan(self, keys: tuple[str, ...]) -> _Plan:
        known = [n for n, name in enumerate(self._names) if name in keys]
        if not known or sum(map(len, keys)) > _MAX_PLAN_CHARACTERS:
            raise ValueError("no wanted key, or too many keys")
        timed = bool(self._time) and self._time in keys
        picked = [self._time] * timed + [self._names[n] for n in known]
        qualities = tuple(_quality_keys(keys, self._spec, KEYS, self._names))
        if len(picked) == 1:
            return _Plan(lambda doc: (doc[picked[0]],), timed, np.array(known), qualities)
        return _Plan(itemgetter(*picked), timed, np.array(known), qualities)


def _in_order(parts: list[Columns], messages: list[list[int]]) -> Columns:
    """Joins the parts, in the order of the messages that they came from."""
    came_from = [
        np.repeat(numbers, len(part) // len(numbers))
        for part, numbers in zip(parts, messages, strict=True)
    ]
    return Columns.concat(parts).where(np.concatenate(came_from).argsort(kind="stable"))
