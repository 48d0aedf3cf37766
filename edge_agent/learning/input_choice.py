"""Which inputs of an asset are learned: all that deliver; a silent one is left out after a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.clock import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_TOO_SLOW: Final = 0.25  # of the rows are complete: learning would take four times as long
_MAX_KINDS: Final = 4096  # distinct patterns of usable inputs
_AS_FAST: Final = 0.9  # of the complete rows stay complete with an input that is included again


class Change(NamedTuple):
    """Inputs left out, and inputs learned again; back: deliver again, but stay left out."""

    left_out: list[int]
    again: list[int]
    back: list[int]


class InputChoice:
    """Counts rows by which of the C inputs were usable in them.

    complete: rows in which all chosen inputs were. grown_us: the last of them, or the begin.
    """

    def __init__(self, inputs: int) -> None:
        self.chosen = np.ones(inputs, bool)
        self.heard_us = np.full(inputs, NEVER, np.int64)  # when each was usable last
        self.begun_us = NEVER
        self.grown_us = NEVER
        self.rows = 0
        self._by_usable: dict[bytes, int] = {}
        self._complete = 0  # of the chosen; kept as a running count, since it is read each second
        self._told_back: set[int] = set()

    def begin(self, now_us: int) -> None:
        """Start to wait for the inputs that have not delivered yet."""
        if self.begun_us == NEVER:
            self.begun_us = self.grown_us = now_us

    def hear(self, usable: Mask, end_us: int) -> None:
        """Inputs were usable in the row that ends then, even if it is not kept."""
        self.begin(end_us)
        self.heard_us[usable] = end_us

    def count(self, usable: Mask, end_us: int) -> None:
        """Count a row that was kept."""
        self._add(usable, 1)
        if usable[self.chosen].all():
            self.grown_us = end_us

    def discount(self, usable: Mask) -> None:
        """Subtract a row that was taken back."""
        self._add(usable, -1)

    def _add(self, usable: Mask, rows: int) -> None:
        self.rows += rows
        if usable[self.chosen].all():
            self._complete += rows
        key = usable.tobytes()
        if key in self._by_usable or len(self._by_usable) < _MAX_KINDS:
            self._by_usable[key] = self._by_usable.get(key, 0) + rows

    def choose(self, chosen: Mask) -> None:
        """Require complete rows in these inputs from now on."""
        self.chosen = chosen
        self._complete = self._rows_with(chosen)

    def complete(self) -> int:
        """Rows in which all chosen inputs were usable."""
        return self._complete

    def _rows_with(self, inputs: Mask) -> int:
        return sum(
            rows
            for key, rows in self._by_usable.items()
            if np.frombuffer(key, np.bool_)[inputs].all()
        )

    def usable_rows(self) -> NDArray[np.int64]:
        """The number of rows in which each input was usable, [C]."""
        found = np.zeros(len(self.chosen), np.int64)
        for key, rows in self._by_usable.items():
            found += rows * np.frombuffer(key, np.bool_)
        return found

    def silent_us(self, now_us: int) -> NDArray[np.int64]:
        """The time since each input was last usable, [C]."""
        return np.asarray(now_us - np.maximum(self.heard_us, self.begun_us))

    def look(self, now_us: int, grace_us: int, grace_rows: int, never: Mask) -> Change:
        """Leave out inputs that delay learning longer than `grace_us`, include those that are back.

        never: inputs [C] that can never be numbers. At least one input stays.
        """
        silent_us = self.silent_us(now_us)
        out = self.chosen & (never | (silent_us > grace_us))
        if out[self.chosen].all():  # no input delivers: there is nothing to learn from
            out[:] = False
        left_out = np.flatnonzero(out).tolist()
        if left_out:
            self.choose(self.chosen & ~out)
        if self.rows >= grace_rows:
            left_out += self.leave_out_slow()
        again = [i for i in self._delivering(silent_us, grace_us, never) if self._is_cheap(i)]
        if again:
            self.choose(self._with(again))
        return Change(left_out, again, self._newly_back(silent_us, grace_us, never))

    def leave_out_slow(self, needed: int = 0) -> list[int]:
        """Leave out the least usable inputs until enough rows are complete; returns them.

        needed: also until so many rows are complete, unless no choice of inputs has them.
        """
        gone = self._leave_out_until(_TOO_SLOW * self.rows)
        before = self.chosen
        more = self._leave_out_until(needed)
        if self.complete() < needed:
            self.choose(before)
            return gone
        return gone + more

    def _leave_out_until(self, complete: float) -> list[int]:
        gone = []
        usable = self.usable_rows()
        while self.chosen.sum() > 1 and self.complete() < complete:
            worst = int(np.argmin(np.where(self.chosen, usable, np.iinfo(np.int64).max)))
            self.choose(self.chosen & (np.arange(len(usable)) != worst))
            gone.append(worst)
        return gone

    def _delivering(self, silent_us: NDArray[np.int64], grace_us: int, never: Mask) -> list[int]:
        """Inputs that are left out, and usable now."""
        now = ~self.chosen & ~never & (silent_us < grace_us) & (self.heard_us > NEVER)
        return np.flatnonzero(now).tolist()

    def _is_cheap(self, index: int) -> bool:
        return self._rows_with(self._with([index])) >= max(1.0, _AS_FAST * self.complete())

    def _with(self, more: list[int]) -> Mask:
        found = self.chosen.copy()
        found[more] = True
        return found

    def _newly_back(self, silent_us: NDArray[np.int64], grace_us: int, never: Mask) -> list[int]:
        found = set(self._delivering(silent_us, grace_us, never)) - self._told_back
        self._told_back |= found
        return sorted(found)

    def shift_clock(self, step_us: int) -> None:
        """Shift all times of the asset; the gateway's clock was moved."""
        self.heard_us[self.heard_us > NEVER] += step_us
        self.begun_us += step_us if self.begun_us > NEVER else 0
        self.grown_us += step_us if self.grown_us > NEVER else 0

    def excuse(self, now_us: int) -> None:
        """The machine is stopped: silence until now does not delay learning."""
        self.begun_us = self.grown_us = now_us

    def forget_time(self) -> None:
        """The asset's clock was set back: times count from the next row."""
        self.heard_us[:] = self.begun_us = self.grown_us = NEVER
