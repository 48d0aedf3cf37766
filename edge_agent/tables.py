"""Growable tables: one row for each asset or signal, named columns that are numpy arrays.

A subclass names its columns as class attributes; each instance has them as plain arrays:

    class Sensors(Table):
        value = column(np.float64, np.nan)
        time_us = column(np.int64, NEVER)

    sensors = Sensors()
    row = sensors.grow()
    sensors.value[row] = 21.5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_LEAST_CAPACITY = 4

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class _Column:
    dtype: type[np.generic]
    fill: object
    sizes: tuple[str | int, ...]


def column(dtype: type[T], fill: object = 0, *sizes: str | int) -> NDArray[T]:
    """Declare a column; `fill` is the value of a new row.

    sizes: lengths of further axes [rows, *sizes], or names of lengths that are given to the
    table's constructor.
    """
    # Typed as on an instance, so that the use of the column is type-checked.
    return cast("NDArray[T]", _Column(dtype, fill, sizes))


class Table:
    """Rows are only added, in amortised constant time.

    A column is a view of the existing rows: write into it and never replace it. Get it again
    after the table has grown: `table.value[table.grow()] = 1` writes into the old rows.
    """

    # Names that a subclass cannot use by accident.
    __columns: ClassVar[dict[str, _Column]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {name: each for name, each in vars(cls).items() if isinstance(each, _Column)}
        cls.__columns = cls.__columns | own

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        dtypes: Mapping[str, type[np.generic]] | None = None,
    ) -> None:
        """sizes: lengths of the further axes, by name; dtypes: of columns with another type."""
        self.__buffers: dict[str, NDArray[Any]] = {}
        self.__n_rows = 0
        for name, each in self.__columns.items():
            shape = [n if isinstance(n, int) else (sizes or {})[n] for n in each.sizes]
            dtype = (dtypes or {}).get(name, each.dtype)
            self.__buffers[name] = np.empty((0, *shape), dtype)
        self._show_rows()

    def __len__(self) -> int:
        return self.__n_rows

    def grow(self, n: int = 1) -> int:
        """Add `n` rows; returns the number of the first of them."""
        first = self.__n_rows
        self.cover(first + n)
        return first

    def cover(self, rows: int) -> None:
        """Grow to at least `rows` rows."""
        if rows <= self.__n_rows:
            return
        capacity = len(next(iter(self.__buffers.values())))
        if rows > capacity:
            self._reserve(max(_LEAST_CAPACITY, 2 * capacity, rows))
        self.__n_rows = rows
        self._show_rows()

    def _reserve(self, capacity: int) -> None:
        for name, old in self.__buffers.items():
            fill = self.__columns[name].fill
            new = np.full((capacity, *old.shape[1:]), fill, old.dtype)
            new[: self.__n_rows] = old[: self.__n_rows]
            self.__buffers[name] = new

    def _show_rows(self) -> None:
        for name, buffer in self.__buffers.items():
            setattr(self, name, buffer[: self.__n_rows])


def occurrence(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many earlier ones of the same row there are, [n]."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered, side="left")
    found = np.empty(len(rows), np.intp)
    found[order] = np.arange(len(rows)) - first
    return found
