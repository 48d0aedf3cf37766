"""A DataFrame as far as the SDK looks at it: pandas is not installed here."""

from __future__ import annotations

from typing import Any


class Series:
    """What of a pandas Series is used."""

    def __init__(self, values: list[Any], name: object = None) -> None:
        self.name, self._values = name, values

    def tolist(self) -> list[Any]:
        return self._values

    def __getitem__(self, part: slice) -> Series:
        return Series(self._values[part], self.name)


class Frame:
    """What of a pandas DataFrame is used."""

    def __init__(self, columns: dict[Any, list[Any]], index: Series | None = None) -> None:
        self.columns = list(columns)
        self.index = index or Series(list(range(len(next(iter(columns.values()))))))
        self._data = columns

    def __getitem__(self, name: str) -> Series:
        return Series(self._data[name])
