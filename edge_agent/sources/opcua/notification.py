"""The content of a notification, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The content of a row's Variant; from OTHER on it is the first byte of the Variant's encoding.
NUMBER: Final = 0
NOTHING: Final = 1  # no Variant, or a null Variant
OTHER: Final = 12  # a string, a structure, an array ...: Part 6, 5.1.2
ARRAY: Final = 0x80


@dataclass(frozen=True, slots=True)
class Rows:
    """n values of one notification, columns of equal length.

    handle: the client handle; time_us: the source's time stamp, server_us: the server's, each 0 if
    there is none; value: NaN if `kind` is not NUMBER.
    """

    handle: NDArray[np.uint32]
    time_us: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    server_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.handle)

    @property
    def stamp_us(self) -> NDArray[np.int64]:
        """The source's time stamps, as they are; the server's where there is none."""
        return np.where(self.time_us > 0, self.time_us, self.server_us)

    def where(self, which: NDArray[np.generic]) -> Rows:
        """Some of the rows: `which` is a mask [n], or row numbers."""
        return Rows(*(getattr(self, name)[which] for name in Rows.__slots__))

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """The rows of all parts (at least one), in their order."""
        names = Rows.__slots__
        return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Samples:
    """An array of numbers of one item: float32 [n]."""

    handle: int
    time_us: int
    status: int
    samples: NDArray[np.float32]
    server_us: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """A String or LocalizedText of one item; rows: that one item, without a number."""

    text: str
    rows: Rows


@dataclass(slots=True)
class Notification:
    """The content of one PublishResponse; data: True if its sequence number is to be acknowledged.

    more: it did not contain everything that the server had to send; the rest follows in the next.
    ended: the status with which the server closed the subscription, None while it is alive.
    """

    subscription: int
    sequence: int
    data: bool
    rows: list[Rows] = field(default_factory=list)
    arrays: list[Samples] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    ended: int | None = None
    more: bool = False
