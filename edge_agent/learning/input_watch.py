"""Inputs that delay learning: reported after a time, and left out after a grace period."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.learning.progress import log_input, reason_of, time_of_day
from edge_agent.values import BAD_TYPE_MISMATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.learning.progress import Training
    from edge_agent.learning.time_scale import TimeScale
    from edge_agent.signals import Acceptance, QualityWatch


class InputWatch:
    """Follows the inputs of the assets of a `Learning`.

    trainings: of these assets, a list that grows. rows_needed: rows below which nothing can be
    learned; is_running: false for the row of an asset that is stopped on purpose.
    """

    def __init__(
        self,
        inputs: tuple[str, ...],
        trainings: Sequence[Training],
        scale: TimeScale,
        rows_needed: int,
        is_running: Callable[[int], bool],
    ) -> None:
        self._inputs = inputs
        self._trainings = trainings
        self._rows_needed = rows_needed
        self._is_running = is_running
        self._first_rows = scale.stages[0]
        self._step_us = scale.step_us
        self._grace_us = round(scale.grace_s * US_PER_S)
        self._patience_us = round(scale.patience_s * US_PER_S)

    def check_inputs(self, signals: Acceptance) -> None:
        """Leave out inputs that delay learning."""
        watch = signals.watch
        grace_rows = max(1, round(self._grace_us / self._step_us))
        for row, one in enumerate(self._trainings):
            at_us = signals.event_us(one.asset)
            if one.is_done or at_us <= 0:
                continue
            one.choice.begin(at_us)
            if not self._is_running(row):
                one.choice.excuse(at_us)
                continue
            numbers = [one.asset.signals[name].index for name in self._inputs]
            never = (watch.status[numbers] & 0xFFFF_0000) == BAD_TYPE_MISMATCH
            change = one.choice.look(at_us, self._grace_us, grace_rows, never)
            for index in change.left_out:
                self._leave_out(one, index, reason_of(watch, numbers[index]))
            for index in change.again:
                one.left_out.pop(index, None)
            for index in change.back:
                again = "is learned again" if index in change.again else "is in the next learning"
                log_input(logging.INFO, f"input delivers, {again}", one, self._inputs[index])

    def _leave_out(self, one: Training, index: int, reason: str) -> None:
        one.left_out[index] = reason
        log_input(
            logging.WARNING, "input left out of learning", one, self._inputs[index], reason=reason
        )

    def leave_out_slow(self, watch: QualityWatch, causes: Mapping[int, str] | None = None) -> None:
        """Leave out inputs that would leave too few complete rows; all data is collected.

        causes: by signal, why it has no values, if the reader of a recording knows.
        """
        for one in self._trainings:
            for index in one.choice.leave_out_slow(self._rows_needed):
                signal = one.asset.signals[self._inputs[index]].index
                self._leave_out(one, index, (causes or {}).get(signal) or reason_of(watch, signal))

    def obstacle(self, one: Training, signals: Acceptance) -> str:
        """Why an asset's learning is stopped, and since when; empty if it continues."""
        choice, now_us = one.choice, signals.event_us(one.asset)
        if not (one.is_done or one.rows.has_moved) and choice.complete() >= self._first_rows:
            return f"since {time_of_day(choice.begun_us)}: no input has moved"
        if one.is_done or choice.grown_us <= 0 or now_us - choice.grown_us < self._patience_us:
            return ""
        why = one.closed or self._silent(one, now_us, signals.watch)
        return f"since {time_of_day(choice.grown_us)}: {why}"

    def _silent(self, one: Training, now_us: int, watch: QualityWatch) -> str:
        silent = one.choice.chosen & (one.choice.silent_us(now_us) >= self._patience_us)
        named = [
            f"{self._inputs[i]} {reason_of(watch, one.asset.signals[self._inputs[i]].index)}"
            for i in np.flatnonzero(silent).tolist()
        ]
        return ", ".join(named) or "its inputs are not usable at the same time"
