"""`model.yaml`: a bundle's description of its model."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 (read at run time)
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import numpy as np

from edge_agent.config.schema import Kind, Resample
from edge_agent.config.types import Between, Name
from edge_agent.counting import as_read
from edge_agent.models.bundle.domain import Domain  # noqa: TC001 (read at run time)
from edge_agent.models.bundle.kinds import (
    VARIANT,
    WINDOW,
    BundleKind,
    is_picture,
    variant_file,
    variant_of,
)
from edge_agent.models.bundle.local_hours import is_zone
from edge_agent.models.bundle.reference_distribution import (  # noqa: TC001 (read at run time)
    Histogram,
    Interval,
)
from edge_agent.models.bundle.remote_spec import RemoteSpec  # noqa: TC001 (read at run time)
from edge_agent.models.bundle.tasks import OutputNames  # noqa: TC001 (read at run time)
from edge_agent.signals import PICTURE_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.tasks import TaskRow

UNIT_TENSOR: Final = "unit"

_MAX_NAMES: Final = 128  # characters of an input's or tensor's name
_MAX_CELLS: Final = 1 << 24  # of one window
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One sensor that the model needs.

    Scalars are the channels of the window, in this order; an input of any other kind is a separate
    tensor, float32, named like the input (a waveform: [N, length]).

    offset: subtracted by the daemon in double precision before the cast to float32, for readings
    that float32 does not resolve; counter: the graph is passed the input's increment from row to
    row, over roll-over and reset. Both one for each unit, or one for all; of scalars only.
    """

    name: str
    unit: str = ""
    valid: tuple[float, float] | None = None
    kind: str = Kind.SCALAR
    resample: Resample = Resample.LAST
    rate_hz: Annotated[float, Between(0, 1e9)] = 0.0
    length: Annotated[int, Between(0, 1 << 22)] = 0
    offset: tuple[float, ...] = ()
    counter: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The grid of the scalar inputs: `tensor` is float32 [N, length, scalars].

    step_s = 0: one row for each distinct time stamp. hop: rows between two windows. least: rows
    that the first window needs, the cells before them contain the first value; 0: all of them.
    at_blocks: no grid, but one row at the time of each window of the block inputs; a row outside of
    an input's `valid` is not judged, and inputs with resample `mean` are interpolated.
    """

    step_s: Annotated[float, Between(0, 86_400)] = 1.0
    length: Annotated[int, Between(1, 65_536)] = 1
    hop: Annotated[int, Between(1, 65_536)] = 1
    least: Annotated[int, Between(0, 65_536)] = 0
    tensor: str = "x"
    at_blocks: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole manifest of a bundle.

    task: a key of `rules.tasks`. constants: tensors float32 [N, count] with what the config says of
    an asset, such as its bearing's geometry; 0 if it says nothing. threshold: the alarm limit of
    the watched quantity (the score, the probability of any fault, the hours left), with the
    expected false alarms a day there and, in `calibration`, the basis of that figure. contributors:
    the columns of the contributions as `input: feature`, if they are not the scalar inputs. units:
    the assets that the model knows individually; the graph then takes their index as int64 [N],
    tensor `unit`. variants: other files of the same model (int8), of which the device uses the
    fastest. healthy: by scalar input. domain: the inputs that it was trained on, faults included.
    interval: of a remaining life that adapts online. learned_rows: of a baseline whose middle may
    follow the machine, 0 for any other model. season_zone: of a baseline whose middle has a season
    of the day or week: the IANA time zone of its hours. provisional_s: seconds of data of a
    provisional baseline, 0 for any other. kind: a key of KINDS; rules: those of this kind. The free
    maps contain figures as text.
    """

    rules: ClassVar[BundleKind] = WINDOW

    name: Name
    version: Name
    task: str
    inputs: tuple[InputSpec, ...]
    outputs: OutputNames
    constants: dict[str, Annotated[int, Between(1, 1024)]] = field(default_factory=dict)
    window: WindowSpec = field(default_factory=WindowSpec)
    threshold: float = 1.0
    false_alarms_per_day: float | None = None
    calibration: dict[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    healthy: dict[str, Histogram] = field(default_factory=dict)
    domain: Domain | None = None
    interval: Interval | None = None
    provisional_s: Annotated[float, Between(0, 1e9)] = 0.0
    learned_rows: Annotated[int, Between(0, 1 << 40)] = 0
    season_zone: str = ""
    teacher: dict[str, str] = field(default_factory=dict)
    distillation: dict[str, str] = field(default_factory=dict)
    pruning: dict[str, str] = field(default_factory=dict)
    quantization: dict[str, str] = field(default_factory=dict)
    benchmarks: dict[str, str] = field(default_factory=dict)
    training: dict[str, str] = field(default_factory=dict)
    kind: str = WINDOW.name
    remote: RemoteSpec | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def scalars(self) -> tuple[InputSpec, ...]:
        """The channels of the window."""
        return tuple(spec for spec in self.inputs if spec.kind == Kind.SCALAR)

    @property
    def side(self) -> int:
        """Pixels a side of its picture; 0 if it takes none."""
        return next((spec.length for spec in self.inputs if spec.kind == PICTURE_INPUT), 0)

    @property
    def own_tensors(self) -> tuple[InputSpec, ...]:
        """The inputs that are not a channel of the window, but a separate tensor."""
        return tuple(spec for spec in self.inputs if spec.kind != Kind.SCALAR)

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The graph's inputs: name to ("float32" | "int64" | "uint8", shape without the batch)."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        if self.scalars:
            found[self.window.tensor] = ("float32", (self.window.length, len(self.scalars)))
        for spec in self.own_tensors:
            kind = self.rules.inputs.get(spec.kind)
            shape = kind.shape(spec) if kind and kind.shape else ()
            found[spec.name] = (kind.dtype if kind else "float32", shape)
        if self.units:
            found[UNIT_TENSOR] = ("int64", ())
        return found | {name: ("float32", (count,)) for name, count in self.constants.items()}

    @property
    def states_threshold(self) -> bool:
        """True if the graph must return the threshold: only that of pictures must."""
        return False

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.kind != self.rules.name:
            yield "kind", f"is {self.rules.name}, not {self.kind!r}"
        yield from self.input_problems()
        yield from self._task_problems()
        if self.window.length * max(1, len(self.scalars)) > _MAX_CELLS:
            yield "window.length", f"more than {_MAX_CELLS} cells in a window"
        if self.window.least > self.window.length:
            yield "window.least", "more than the window's length"
        if self.window.at_blocks and not (self.scalars and self.own_tensors):
            yield "window.at_blocks", "needs scalar inputs and one of another kind"
        elif self.window.at_blocks and (self.window.length > 1 or self.is_precise):
            yield "window.at_blocks", "has one row, without offset and counter"
        if not self.threshold > 0:
            yield "threshold", "must be above 0"
        if len(set(self.units)) != len(self.units):
            yield "units", "an asset is listed twice"
        yield from self._reference_problems()
        yield from self._contributor_problems()
        if self.interval is not None and "rul" not in self.outputs.named():
            yield "interval", "is only for remaining life"
        if self.season_zone and not is_zone(self.season_zone):
            yield (
                "season_zone",
                f"this machine knows no time zone {self.season_zone[:_MAX_NAMES]!r}",
            )
        yield from self._file_problems()

    def _reference_problems(self) -> Iterator[tuple[str, str]]:
        scalars = {spec.name for spec in self.scalars}
        if self.healthy.keys() - scalars:
            yield "healthy", "is only for scalar inputs"
        if self.domain is not None and self.domain.ranges.keys() - scalars:
            yield "domain", "is only for scalar inputs"
        for name, each in self.healthy.items():
            sizes = {len(each.center), len(each.spread)}
            if sizes not in ({0}, {len(self.units)}):
                yield f"healthy.{name}", "center and spread: one for each unit, or none"

    def _contributor_problems(self) -> Iterator[tuple[str, str]]:
        if self.contributors and not self.outputs.contributions:
            yield "contributors", "is only for models with the output contributions"
        inputs = {spec.name for spec in self.inputs}
        for index, name in enumerate(self.contributors):
            if not _is_name(name) or name.partition(": ")[0] not in inputs:
                yield f"contributors.{index}", "must be `input: feature`, printable and short"

    def _file_problems(self) -> Iterator[tuple[str, str]]:
        valid = all(map(VARIANT.fullmatch, self.variants))
        if not valid or len({*self.variants}) != len(self.variants) or "fp32" in self.variants:
            yield "variants", "lower-case letters, digits and - each, none twice, not fp32"
        variants, pictures = self.rules.max_variants, self.rules.max_pictures
        if len(self.variants) > variants or sum(map(is_picture, self.sha256)) > pictures:
            yield "sha256", f"at most {variants} variants and {pictures} pictures"
        for file, digest in self.sha256.items():
            if not self.rules.is_listed(file) or not _SHA256.fullmatch(digest):
                yield "sha256", f"{file[:_MAX_NAMES]!r}: no file of a bundle, or not 64 hex digits"
        listed = {variant for file in self.sha256 if (variant := variant_of(file))}
        if self.sha256 and listed != {*self.variants}:
            yield "variants", f"each has its file ({variant_file('int8')}), and no other is there"

    def input_problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions in the inputs, as (key, message)."""
        if not self.inputs:
            yield "inputs", "a model needs at least one input"
        names = [spec.name for spec in self.inputs]
        for index, spec in enumerate(self.inputs):
            if not _is_name(spec.name) or names.count(spec.name) > 1:
                yield f"inputs.{index}.name", "must be printable, short and used once"
            kind = self.rules.inputs.get(spec.kind)
            if kind is None:
                known = ", ".join(self.rules.inputs)
                yield f"inputs.{index}.kind", f"{spec.kind!r} is not allowed (known: {known})"
            elif lacks := kind.lacks(spec):
                yield f"inputs.{index}", lacks
        if len({spec.kind for spec in self.own_tensors}) > 1:
            yield "inputs", "scalars and only one other kind are possible"
        yield from self._reading_problems()
        expected = bool(self.scalars) + len(self.own_tensors) + bool(self.units)
        expected += len(self.constants)
        if not all(map(_is_name, self.constants)):
            yield "constants", "a name must be printable and short"
        if len(self.tensors()) != expected:
            blocks = " or ".join(name for name, kind in self.rules.inputs.items() if kind.shape)
            taken = f"{self.window.tensor} or {UNIT_TENSOR}"
            yield "inputs", f"a {blocks} may not be named {taken}"

    def _reading_problems(self) -> Iterator[tuple[str, str]]:
        sizes = {0, 1, max(1, len(self.units))}
        for index, spec in enumerate(self.inputs):
            for key, values in (("offset", spec.offset), ("counter", spec.counter)):
                if len(values) not in sizes:
                    yield f"inputs.{index}.{key}", "one for each unit, or one for all"
                elif values and spec.kind != Kind.SCALAR:
                    yield f"inputs.{index}.{key}", "is only for scalar inputs"
            if not all(map(isfinite, spec.offset)):
                yield f"inputs.{index}.offset", "must be finite"
            if any(spec.counter) and self.window.length < 2:  # noqa: PLR2004
                yield f"inputs.{index}.counter", "needs a window of two rows at least"

    def constants_of(self, known: Mapping[str, Sequence[float]]) -> list[float]:
        """All constants in their order, of an asset; 0 if the config has none of that name."""
        by_name = ((known.get(name, ()), count) for name, count in self.constants.items())
        values = (v if len(v) == count else [0.0] * count for v, count in by_name)
        return [float(each) for v in values for each in v]

    def offset_of(self, unit: int) -> list[float]:
        """The values to subtract from each scalar input of a unit, [C]."""
        return [float(_of_unit(spec.offset, unit, 0.0)) for spec in self.scalars]

    def normal_ranges(self, unit: int) -> dict[str, tuple[float, float]]:
        """The ranges of 99 % of the healthy values of scalar inputs, as read, as far as known."""
        found = {}
        for spec in self.scalars:
            usual = self.healthy[spec.name].usual(unit) if spec.name in self.healthy else None
            if usual is not None:
                offset = float(_of_unit(spec.offset, unit, 0.0))
                found[spec.name] = usual[0] + offset, usual[1] + offset
        return found

    def counter_of(self, unit: int) -> list[bool]:
        """True for the scalar inputs of a unit that are read as steps from row to row, [C]."""
        return [bool(_of_unit(spec.counter, unit, default=False)) for spec in self.scalars]

    def as_read(self, x: NDArray[np.floating], unit: int = 0) -> NDArray[np.float32]:
        """Windows [N, W, C] of readings of a unit's inputs, in the form that the graph takes."""
        return as_read(x, np.array(self.offset_of(unit)), np.array(self.counter_of(unit)))

    @property
    def is_precise(self) -> bool:
        """True if windows must be kept in double precision."""
        return any(any(spec.offset) or any(spec.counter) for spec in self.scalars)

    def _task_problems(self) -> Iterator[tuple[str, str]]:
        if self.task in self.rules.tasks:
            yield from self.task_row.problems(self.task, self, self.outputs)
        else:
            known = ", ".join(self.rules.tasks)
            yield "task", f"{self.task!r} is not allowed (known: {known})"

    @property
    def task_row(self) -> TaskRow:
        """The row of its task."""
        return self.rules.tasks[self.task]

    @property
    def score_falls(self) -> bool:
        """True if its score is alarming when it is low, as hours left are."""
        return self.task_row.falls and not self.outputs.score

    def output_shape(self, role: str) -> tuple[int, ...]:
        """Shape of an output without the batch."""
        return self.task_row.roles[role].shape(self)


def _of_unit(values: tuple[float, ...], unit: int, default: float) -> float:
    if not values:
        return default
    return values[unit] if len(values) > 1 else values[0]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAMES and text.isprintable()
