"""Following of slow change: the middle of a learned baseline moves with the machine, within bounds.

Seasons, run-in and new habits move a machine away from what was learned, without a fault. The
middle of each statistic follows its deviation slowly, at most by a budget. It does not follow what
moves in one direction for long (wear), nor anything while the score is at its limit. If an alarm
stands for `settle_after` and nothing moves any more, the new state is accepted: the alarm has been
seen by then, and a later fault must not hide behind it. Only a few states are accepted so, then a
person has to decide. «This is healthy» moves the middle at once, and along with it until its
windows hold nothing from before the change.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.serving.followed import (
    ACCEPTED,
    CONFIRMED,
    FOLLOWED,
    NOTABLE,
    Followed,
    message_args_of,
    moved_notably,
)
from edge_agent.tables import Table, column, occurrence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Follow, ModelUse
    from edge_agent.models import Manifest

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

STATISTICS: Final = ("slow mean", "quick mean", "variability")
FEATURES: Final = ("feature",)  # of waveforms
_KINDS: Final = (FOLLOWED, ACCEPTED, CONFIRMED)
_MEMORY_SHARE: Final = 0.25  # of the rows that were learned
_MEMORY_S: Final = 3600.0  # at least
_MEMORY_ROWS: Final = 32
_SETTLE_ROWS: Final = 64
TURN: Final = 16  # windows of an asset between two moves that the charts see
_BLOCKS: Final = 8  # means of half a memory each that are kept
_WEAR: Final = 1.0  # sigmas in one direction over all of them, as much time as was learned: wear
_UNSETTLED: Final = 0.5  # the same of a state that still moves
_STEP: Final = 4.0  # sigmas; a single window moves the middle by no more than that
_FAR: Final = 50.0  # sigmas; one window further away counts as this far
# Level and bands change with season and run-in. Impacts (kurtosis, crest factor, lines of the
# envelope) do not: if they grow, it is damage.
_SLOW: Final = re.compile(": (level|band .*)$")
_FAR_FEATURE: Final = 1000.0  # of a feature; its sigma is a few per cent
_CLEAR: Final = 0.9  # of the limit
_RECENT: Final = 32  # windows
_OLD: Final = 1 << 40  # windows: for ever


class FollowedWindows(NamedTuple):
    """Windows of assets, in the order of time.

    row, end_us, level: [n]; deviation: [n, S, C], in sigmas from the learned middle; C inputs, or
    features of waveforms.
    """

    row: NDArray[np.intp]
    end_us: NDArray[np.int64]
    level: NDArray[np.float32]
    deviation: NDArray[np.float32]


class Following(Table):
    """The moved middle of each asset of a deployment, `moved` [A, S, C].

    rows: that were learned from; step_s: between two of them. window: windows until one holds only
    new rows. statistics: S names, of numbers or FEATURES. fixed: [C], channels that are not
    followed upwards.
    """

    moved = column(np.float64, 0, "statistics", "channels")
    anchor = column(np.float64, 0, "statistics", "channels")  # that an operator or time approved
    shown = column(np.float64, 0, "statistics", "channels")  # `moved`, as the charts know it
    seen = column(np.int64)  # windows
    recent = column(np.float64, 0, "statistics", "channels")  # mean of the present state
    age = column(np.int64)  # windows since the score went over its limit
    settling = column(np.int64)  # windows that still hold rows from before a confirmed change
    averaged = column(np.int64, _OLD)  # windows in the mean since a confirmed change
    sums = column(np.float64, 0, "statistics", "channels")  # of the open block
    count = column(np.int64)
    blocks = column(np.float64, np.nan, _BLOCKS, "statistics", "channels")  # the newest last
    wears = column(np.bool_, 0, "statistics", "channels")
    over = column(np.bool_)
    standing = column(np.int64)  # windows at the limit, less those below it since
    since_us = column(np.int64)
    kind = column(np.int8)
    accepted = column(np.int64)  # states, since a person confirmed one
    accepted_us = column(np.int64)  # when the first of them was

    def __init__(  # noqa: PLR0913 (a machine, and what of it is followed)
        self,
        channels: int,
        rows: int,
        step_s: float,
        rule: Follow,
        *,
        statistics: tuple[str, ...] = STATISTICS,
        fixed: Sequence[bool] = (),
    ) -> None:
        super().__init__({"channels": channels, "statistics": len(statistics)})
        self.rule = rule
        self.by: dict[int, str] = {}  # who confirmed last, by asset
        self.statistics = statistics
        self.window = 1
        self._upwards = 1.0 - np.array(fixed or [False] * channels, float)
        self._far = _FAR_FEATURE if statistics == FEATURES else _FAR
        self.memory = max(_MEMORY_ROWS, _MEMORY_SHARE * rows, _MEMORY_S / step_s)
        self._step_s = step_s

    @property
    def _settle_rows(self) -> int:
        """Windows that an alarm stands for before its state may be accepted, by the rule of now."""
        return max(_SETTLE_ROWS, round(self.rule.settle_after / self._step_s))

    @property
    def is_moved(self) -> bool:
        """True if the middle of any asset has moved."""
        return bool(self.shown.any())

    def turns_of(self, rows: NDArray[np.intp], ahead: NDArray[np.int64]) -> NDArray[np.intp]:
        """The turn of each window of these assets [n]: the charts learn what moved between turns.

        A turn is so many windows of an asset, counted from its first: the same in a recording,
        which comes in large batches, as live. ahead: [A], windows of each asset that come before
        these; these are added to it.
        """
        before = self.seen[rows] % TURN + ahead[rows] + occurrence(rows)
        np.add.at(ahead, rows, 1)
        return np.asarray(before // TURN)

    def follow(self, windows: FollowedWindows, accepted: Callable[[int], None]) -> None:
        """Follow the windows of a turn; accepted: called with the row of an asset."""
        sound = np.isfinite(windows.level) & np.isfinite(windows.deviation).all(axis=(1, 2))
        turn = occurrence(windows.row)
        for number in range(int(turn.max(initial=-1)) + 1):
            mine = sound & (turn == number)
            self._follow_one_each(FollowedWindows(*(each[mine] for each in windows)), accepted)

    def _follow_one_each(self, windows: FollowedWindows, accepted: Callable[[int], None]) -> None:
        """Follow one window of each of these assets."""
        rows, deviation = windows.row, windows.deviation.astype(np.float64)
        over = self._compare(rows, windows.level)
        self._average_present_state(rows, deviation)
        self.sums[rows] += np.clip(deviation, -self._far, self._far)
        self.count[rows] += 1
        self._close_blocks(rows[self.count[rows] >= self.memory / 2])
        if self.rule.budget:
            self._move(rows[~over], deviation[~over], windows.end_us[~over])
        if self.rule.settle_after:
            for i in np.flatnonzero(self.standing[rows] >= self._settle_rows).tolist():
                if self.accepted[rows[i]] < self.rule.states and self._is_settled(int(rows[i])):
                    self._accept(int(rows[i]), int(windows.end_us[i]), accepted)
        self.seen[rows] += 1
        ended = rows[self.seen[rows] % TURN == 0]
        self.shown[ended] = self.moved[ended]
        if self.settling.any():
            self._go_along(rows[self.settling[rows] > 0])

    def _compare(self, rows: NDArray[np.intp], level: NDArray[np.float32]) -> Mask:
        """Which of these assets are at their limit, and since how many windows."""
        before = self.over[rows]
        over = (level >= 1.0) | (before & (level >= _CLEAR))
        over &= self.settling[rows] == 0
        self.over[rows] = over
        self.standing[rows] = np.maximum(self.standing[rows] + np.where(over, 1, -1), 0)
        self.age[rows] = np.where(over & ~before, 0, self.age[rows] + 1)
        return np.asarray(over)

    def _average_present_state(self, rows: NDArray[np.intp], deviation: Floats) -> None:
        """Only windows without rows from before the score went over its limit are averaged."""
        windows = np.clip(self.age[rows] - self.window, 1, _RECENT)
        self.recent[rows] += (deviation - self.recent[rows]) / windows[:, None, None]

    def _go_along(self, rows: NDArray[np.intp]) -> None:
        """What was confirmed as healthy has not reached the statistics wholly: go along."""
        self.settling[rows] -= 1
        ahead = self.recent[rows] - self.moved[rows]
        ahead[self.settling[rows] == 0] = 0.0
        self.moved[rows] = self.anchor[rows] = self.recent[rows]
        self.shown[rows] = self.moved[rows] + ahead  # the next window will be there
        self.averaged[rows] = 1

    def _close_blocks(self, rows: NDArray[np.intp]) -> None:
        if not len(rows):
            return
        means = self.sums[rows] / self.count[rows, None, None]
        self.blocks[rows] = np.concatenate([self.blocks[rows, 1:], means[:, None]], axis=1)
        self.sums[rows], self.count[rows] = 0.0, 0
        self.wears[rows] = _one_way(self.blocks[rows], _WEAR)

    def _move(self, rows: NDArray[np.intp], found: Floats, end_us: NDArray[np.int64]) -> None:
        self.averaged[rows] += 1
        windows = np.minimum(self.averaged[rows], self.memory)[:, None, None]
        away = np.clip(found - self.moved[rows], -_STEP, _STEP) / windows
        wanted = self.moved[rows] + np.where(self.wears[rows], 0.0, away)
        low = self.anchor[rows] - self.rule.budget
        high = self.anchor[rows] + self.rule.budget * self._upwards
        self.moved[rows] = np.clip(wanted, low, high)
        fresh = self.since_us[rows] == 0
        self.since_us[rows[fresh]] = end_us[fresh]

    def _is_settled(self, row: int) -> bool:
        """True if the blocks of the standing alarm move in no direction."""
        blocks = self.blocks[row]
        blocks = blocks[np.isfinite(blocks).all(axis=(1, 2))]
        seen = self.standing[row] >= 2 * self.memory  # so that several are of the new state
        return bool(seen and not _one_way(blocks[None], _UNSETTLED).any())

    def _accept(self, row: int, at_us: int, accepted: Callable[[int], None]) -> None:
        self._set(row, self.blocks[row, -2:].mean(axis=0), at_us, ACCEPTED)
        self.accepted_us[row] = self.accepted_us[row] or at_us
        self.accepted[row] += 1
        accepted(row)

    def confirm(self, row: int, at_us: int, by: str = "") -> None:
        """An operator says that what the asset does now is healthy."""
        self.by[row] = by
        self.accepted[row] = self.accepted_us[row] = 0
        if not self.over[row]:  # since when is not known: it may be that it changes just now
            self.age[row] = 0
        self._set(row, self.recent[row].copy(), at_us, CONFIRMED)
        self.shown[row] = self.moved[row]
        self.settling[row] = max(0, self.window - int(self.age[row]))
        self.averaged[row] = np.clip(self.age[row] - self.window, 1, _RECENT)
        self.wears[row] = False

    def _set(self, row: int, middle: Floats, at_us: int, kind: str) -> None:
        self.moved[row] = self.anchor[row] = middle
        self.standing[row], self.over[row] = 0, False
        self.since_us[row], self.kind[row] = at_us, _KINDS.index(kind)

    def notable(self) -> NDArray[np.intp]:
        """The assets of which something has moved notably."""
        return np.flatnonzero((np.abs(self.moved) >= NOTABLE).any(axis=(1, 2)))

    def message_args(self, row: int) -> dict[str, Any]:
        """For an alert: how far the middle has moved, and since when; empty if it is little."""
        return message_args_of(self.moved[row], int(self.since_us[row]))

    def of(self, row: int, manifest: Manifest) -> list[Followed]:
        """What has moved notably for an asset, the largest first."""
        like = Followed(
            str(manifest.name),
            since_us=int(self.since_us[row]),
            kind=_KINDS[self.kind[row]],
            budget=self.rule.budget,
            by=self.by.get(row, ""),
            accepted=int(self.accepted[row]),
            accepted_us=int(self.accepted_us[row]),
            states=self.rule.states,
        )
        names = manifest.contributors or [
            f"{spec.name}: {each}" for each in self.statistics for spec in manifest.scalars
        ]
        return moved_notably(like, names, self.moved[row].ravel())

    def state(self, row: int) -> dict[str, Any]:
        """What a restart must keep of an asset."""
        return {
            "moved": self.moved[row].tolist(),
            "anchor": self.anchor[row].tolist(),
            "since_us": int(self.since_us[row]),
            "kind": _KINDS[self.kind[row]],
            "settling": int(self.settling[row]),
            "averaged": int(self.averaged[row]),
            "accepted": int(self.accepted[row]),
            "accepted_us": int(self.accepted_us[row]),
            "by": self.by.get(row, ""),
        }

    def restore(self, row: int, state: dict[str, Any]) -> None:
        """Continue with the state of an earlier run; one of other inputs is ignored."""
        moved, anchor = (np.array(state[key], float) for key in ("moved", "anchor"))
        if moved.shape == anchor.shape == self.moved[row].shape and state["kind"] in _KINDS:
            self.moved[row], self.anchor[row] = moved, anchor
            self.recent[row] = self.shown[row] = moved
            self.since_us[row] = int(state["since_us"])
            self.kind[row] = _KINDS.index(state["kind"])
            self.settling[row] = int(state.get("settling", 0))
            self.averaged[row] = int(state.get("averaged", _OLD))
            self.accepted[row] = int(state.get("accepted", 0))
            self.accepted_us[row] = int(state.get("accepted_us", 0))
            self.by[row] = str(state.get("by", ""))


def following_of(use: ModelUse, manifest: Manifest) -> Following | None:
    """The following of a use of a model; None if it is no learned baseline."""
    if not manifest.learned_rows or not manifest.outputs.deviation:
        return None
    step_s, rows = manifest.window.step_s or 1.0, manifest.learned_rows
    if manifest.contributors:
        fixed = [_SLOW.search(name) is None for name in manifest.contributors]
        return Following(len(fixed), rows, step_s, use.follow, statistics=FEATURES, fixed=fixed)
    found = Following(len(manifest.scalars), rows, step_s, use.follow)
    found.window = ceil(manifest.window.length / max(1, manifest.window.hop))
    return found


def _one_way(blocks: Floats, sigmas: float) -> Mask:
    """True where blocks [n, B, S, C] all move in one direction, by more than `sigmas` in all."""
    steps = np.diff(blocks, axis=1)
    moved = np.abs(blocks[:, -1] - blocks[:, 0]) > sigmas
    return np.asarray(((steps > 0).all(axis=1) | (steps < 0).all(axis=1)) & moved)
