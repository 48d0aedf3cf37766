"""`model.yaml`: what a bundle says about its model."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import yaml

from edge_agent.config.schema import Kind, Resample
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Between, Name
from edge_agent.counting import as_read
from edge_agent.errors import ConfigError, ModelError
from edge_agent.models.bundle.files import (
    MAX_PICTURES,
    MAX_VARIANTS,
    VARIANT,
    is_listed,
    is_picture,
    variant_file,
    variant_of,
)
from edge_agent.models.bundle.reference_distribution import (  # noqa: TC001 (read at run time)
    Histogram,
    Interval,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

UNIT_TENSOR: Final = "unit"
_PROVISIONAL: Final = "provisional_s"  # not written where it is 0

_MAX_NAMES: Final = 128  # characters of an input's or tensor's name
_MAX_CELLS: Final = 1 << 24  # of one window
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LIFE_QUANTILES: Final = 3


class Task(StrEnum):
    """What a model tells."""

    ANOMALY = "anomaly"
    CLASSIFICATION = "classification"
    REMAINING_LIFE = "remaining_life"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One sensor that the model wants.

    Scalars are the channels of the window, in this order; a waveform is a tensor of its own,
    float32 [N, length], named like the input.

    offset: what the daemon subtracts in double precision before the cast to float32, for readings
    that float32 does not resolve; counter: the graph gets what the input counts from row to row,
    over roll-over and reset. Both one for each unit, or one for all; not of waveforms.
    """

    name: str
    unit: str = ""
    valid: tuple[float, float] | None = None
    kind: Kind = Kind.SCALAR
    resample: Resample = Resample.LAST
    rate_hz: Annotated[float, Between(0, 1e9)] = 0.0
    length: Annotated[int, Between(0, 1 << 22)] = 0
    offset: tuple[float, ...] = ()
    counter: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The grid of the scalar inputs: `tensor` is float32 [N, length, scalars].

    step_s = 0: one row for each distinct time stamp. hop: rows between two windows. least: rows
    that the first window needs, the cells before them hold the first value; 0: all of them.
    """

    step_s: Annotated[float, Between(0, 86_400)] = 1.0
    length: Annotated[int, Between(1, 65_536)] = 1
    hop: Annotated[int, Between(1, 65_536)] = 1
    least: Annotated[int, Between(0, 65_536)] = 0
    tensor: str = "x"


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The graph's outputs by what they mean; empty where there is none.

    score, health [N]; contributions [N, scalars], summing to the score; probabilities
    [N, classes], of which the first class is the healthy one; rul [N, 3]: p10, p50, p90 in hours.
    """

    score: str = ""
    health: str = ""
    contributions: str = ""
    probabilities: str = ""
    rul: str = ""

    def named(self) -> dict[str, str]:
        """Role to tensor, of those that there are."""
        roles = {role.name: str(getattr(self, role.name)) for role in fields(self)}
        return {role: tensor for role, tensor in roles.items() if tensor}


_NEEDED: Final = {
    Task.ANOMALY: "score",
    Task.CLASSIFICATION: "probabilities",
    Task.REMAINING_LIFE: "rul",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle says about itself.

    threshold: the score (anomaly), the probability of any fault (classification) or the hours left
    (remaining_life) at which an alarm is due, with the false alarms a day to expect there and, in
    `calibration`, what that rests on. units: the assets that the model knows one by one; the graph
    then takes their index as int64 [N], tensor `unit`. variants: other files of the same model
    (int8), of which the device keeps the fastest. healthy: by scalar input. interval: of a
    remaining life that adapts on line. provisional_s: a baseline from so many seconds of data only,
    0 for any other. The free maps state figures as text.
    """

    name: Name
    version: Name
    task: Task
    inputs: tuple[InputSpec, ...]
    outputs: OutputNames
    window: WindowSpec = field(default_factory=WindowSpec)
    threshold: float = 1.0
    false_alarms_per_day: float | None = None
    calibration: dict[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    healthy: dict[str, Histogram] = field(default_factory=dict)
    interval: Interval | None = None
    provisional_s: Annotated[float, Between(0, 1e9)] = 0.0
    teacher: dict[str, str] = field(default_factory=dict)
    distillation: dict[str, str] = field(default_factory=dict)
    pruning: dict[str, str] = field(default_factory=dict)
    quantization: dict[str, str] = field(default_factory=dict)
    benchmarks: dict[str, str] = field(default_factory=dict)
    training: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def scalars(self) -> tuple[InputSpec, ...]:
        """The channels of the window."""
        return tuple(spec for spec in self.inputs if spec.kind is Kind.SCALAR)

    @property
    def waveforms(self) -> tuple[InputSpec, ...]:
        """The inputs of their own rate."""
        return tuple(spec for spec in self.inputs if spec.kind is Kind.WAVEFORM)

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The graph's inputs: name to ("float32" | "int64", shape without the batch)."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        if self.scalars:
            found[self.window.tensor] = ("float32", (self.window.length, len(self.scalars)))
        found |= {spec.name: ("float32", (spec.length,)) for spec in self.waveforms}
        if self.units:
            found[UNIT_TENSOR] = ("int64", ())
        return found

    def problems(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself, as (key, message)."""
        yield from self._input_problems()
        yield from self._output_problems()
        if self.window.length * max(1, len(self.scalars)) > _MAX_CELLS:
            yield "window.length", f"more than {_MAX_CELLS} cells in a window"
        if self.window.least > self.window.length:
            yield "window.least", "more than the window's length"
        if not self.threshold > 0:
            yield "threshold", "must be above 0"
        if len(set(self.units)) != len(self.units):
            yield "units", "an asset is listed twice"
        if self.healthy.keys() - {spec.name for spec in self.scalars}:
            yield "healthy", "is of scalar inputs only"
        for name, each in self.healthy.items():
            sizes = {len(each.center), len(each.spread)}
            if sizes not in ({0}, {len(self.units)}):
                yield f"healthy.{name}", "center and spread: one for each unit, or none"
        if self.interval is not None and "rul" not in self.outputs.named():
            yield "interval", "is of a remaining life only"
        yield from self._file_problems()

    def _file_problems(self) -> Iterator[tuple[str, str]]:
        valid = all(map(VARIANT.fullmatch, self.variants))
        if not valid or len({*self.variants}) != len(self.variants) or "fp32" in self.variants:
            yield "variants", "lower-case letters, digits and - each, none twice, not fp32"
        if len(self.variants) > MAX_VARIANTS or sum(map(is_picture, self.sha256)) > MAX_PICTURES:
            yield "sha256", f"at most {MAX_VARIANTS} variants and {MAX_PICTURES} pictures"
        for file, digest in self.sha256.items():
            if not is_listed(file) or not _SHA256.fullmatch(digest):
                yield "sha256", f"{file[:_MAX_NAMES]!r}: no file of a bundle, or not 64 hex digits"
        listed = {variant for file in self.sha256 if (variant := variant_of(file))}
        if self.sha256 and listed != {*self.variants}:
            yield "variants", f"each has its file ({variant_file('int8')}), and no other is there"

    def _input_problems(self) -> Iterator[tuple[str, str]]:
        if not self.inputs:
            yield "inputs", "a model needs at least one input"
        names = [spec.name for spec in self.inputs]
        for index, spec in enumerate(self.inputs):
            if not _is_name(spec.name) or names.count(spec.name) > 1:
                yield f"inputs.{index}.name", "must be printable, short and used once"
            if spec.kind is Kind.WAVEFORM and not (spec.length and spec.rate_hz):
                yield f"inputs.{index}", "a waveform needs length and rate_hz"
        yield from self._reading_problems()
        expected = bool(self.scalars) + len(self.waveforms) + bool(self.units)
        if len(self.tensors()) != expected:
            yield "inputs", f"a waveform may not be named {self.window.tensor} or {UNIT_TENSOR}"

    def _reading_problems(self) -> Iterator[tuple[str, str]]:
        sizes = {0, 1, max(1, len(self.units))}
        for index, spec in enumerate(self.inputs):
            for key, values in (("offset", spec.offset), ("counter", spec.counter)):
                if len(values) not in sizes:
                    yield f"inputs.{index}.{key}", "one for each unit, or one for all"
                elif values and spec.kind is Kind.WAVEFORM:
                    yield f"inputs.{index}.{key}", "is of scalar inputs only"
            if not all(map(isfinite, spec.offset)):
                yield f"inputs.{index}.offset", "must be finite"
            if any(spec.counter) and self.window.length < 2:  # noqa: PLR2004
                yield f"inputs.{index}.counter", "needs a window of two rows at least"

    def offset_of(self, unit: int) -> list[float]:
        """What is subtracted from each scalar input of a unit, [C]."""
        return [float(_of_unit(spec.offset, unit, 0.0)) for spec in self.scalars]

    def counter_of(self, unit: int) -> list[bool]:
        """Which scalar inputs of a unit give their steps from row to row, [C]."""
        return [bool(_of_unit(spec.counter, unit, default=False)) for spec in self.scalars]

    def as_read(self, x: NDArray[np.floating], unit: int = 0) -> NDArray[np.float32]:
        """Windows [N, W, C] of what the inputs of a unit read, as the graph takes them."""
        return as_read(x, np.array(self.offset_of(unit)), np.array(self.counter_of(unit)))

    @property
    def is_precise(self) -> bool:
        """Whether windows must be kept in double precision."""
        return any(any(spec.offset) or any(spec.counter) for spec in self.scalars)

    def _output_problems(self) -> Iterator[tuple[str, str]]:
        named = self.outputs.named()
        needed = _NEEDED[self.task]
        if needed not in named:
            yield f"outputs.{needed}", f"missing: task {self.task.value} needs it"
        if "probabilities" in named and len(self.classes) < 2:  # noqa: PLR2004
            yield "classes", "two or more, the healthy one first"
        if "contributions" in named and not self.scalars:
            yield "outputs.contributions", "without scalar inputs there is nothing to share out"

    def output_shape(self, role: str) -> tuple[int, ...]:
        """Shape of an output without the batch."""
        sizes = {
            "contributions": (len(self.scalars),),
            "probabilities": (len(self.classes),),
            "rul": (_LIFE_QUANTILES,),
        }
        return sizes.get(role, ())


def _of_unit(values: tuple[float, ...], unit: int, default: float) -> float:
    if not values:
        return default
    return values[unit] if len(values) > 1 else values[0]


def parse_manifest(raw: bytes, file: Path) -> Manifest:
    """The manifest in `raw`; ModelError lists all that is wrong with it."""
    try:
        return parse_struct(raw.decode("utf-8"), file, Manifest)
    except UnicodeDecodeError as error:
        raise ModelError("not UTF-8 text", where=str(file)) from error
    except ConfigError as error:
        raise ModelError(error.message, hint="see docs/models.md for the keys") from error


def read_manifest(file: Path) -> Manifest:
    """The manifest in a file of our own; ModelError where it is not there or not valid."""
    try:
        return parse_manifest(file.read_bytes(), file)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error


def dump_manifest(manifest: Manifest) -> bytes:
    """The YAML text of a manifest; what is empty is left out."""
    text: str = yaml.safe_dump(
        _plain(manifest), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
    return text.encode()


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever a struct may hold)
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        pairs = ((spec, getattr(value, spec.name)) for spec in fields(value))
        return {
            spec.name: _plain(item)
            for spec, item in pairs
            if item not in ({}, (), None, "")
            and not (spec.name == _PROVISIONAL and not item)
            and not (isinstance(value, InputSpec) and item == spec.default)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAMES and text.isprintable()
