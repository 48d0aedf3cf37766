"""Versions of the models at work: how one gives way to another without losing a window.

Beside each model at work the version before it stays ready. Whatever the new one does wrong (a
score that is no number, a run that fails, runs that take too long), the same windows are scored by
the old one in the same turn, and it is at work again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.serving.run_stats import RunStats, Trouble
from edge_agent.serving.runs import Batch, run, usable
from edge_agent.serving.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.run_stats import Budget
    from edge_agent.signals import Bindings

log = logging.getLogger("edge_agent.serving")

_GRACE_S: Final = 60.0
_WINDOWS_AWAITED: Final = 2  # a plant that is silent for so long will not fill them


@dataclass(frozen=True, slots=True)
class Rollback:
    """A version gave way to the one before it."""

    bad: Model
    good: Model
    trouble: Trouble
    text: str

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bad.manifest.name


@dataclass(slots=True)
class Arrival:
    """A version whose windows fill beside the one at work, which goes on until they are full.

    scored_us: when the assets of the one at work were last scored as this began [A]; full: assets
    of which a window has closed.
    """

    standby: Standby
    until_s: float
    scored_us: NDArray[np.int64]
    full: set[str] = field(default_factory=set)

    def is_ready(self, main: Deployment, monotonic_s: float) -> bool:
        """Whether every asset that is being scored has a window of the new kind."""
        for due in self.standby.due:
            rows = [w.asset for w in due.waves] if due.windows is None else due.windows.asset
            self.full |= {self.standby.group.assets[row].id for row in set(map(int, rows))}
        known = len(self.scored_us)
        scored = main.scored_us[:known] != self.scored_us
        awaited = {main.assets[row].id for row in scored.nonzero()[0].tolist()}
        awaited -= self.standby.lacking.keys()
        return (bool(self.full) and awaited <= self.full) or monotonic_s >= self.until_s


class Versions:
    """What stands ready beside the models at work.

    groups: the models at work; replace: puts one group in the place of another. rollbacks and
    failing tell the daemon what has happened: versions that gave way, and by name what is wrong
    with a model that has no better version.
    """

    def __init__(
        self,
        groups: list[Deployment],
        bindings: Bindings,
        budget: Budget,
        replace: Callable[[Deployment, Deployment], None],
    ) -> None:
        self.rollbacks: list[Rollback] = []
        self.failing: dict[str, tuple[Model, str]] = {}
        self._groups = groups
        self._bindings = bindings
        self._budget = budget
        self._replace = replace
        self._kept: dict[str, Model] = {}  # by name: the versions to fall back on
        self._previous: dict[Deployment, Standby] = {}
        self._next: dict[Deployment, Arrival] = {}
        self._conduct: dict[str, tuple[str, RunStats]] = {}  # by name, with the digest
        self._monotonic_s = 0.0

    # -- what there is ------------------------------------------------------------------------

    def standbys(self) -> Iterator[Standby]:
        """All that must be fed."""
        yield from self._previous.values()
        yield from (arrival.standby for arrival in self._next.values())

    def add(self, group: Deployment, asset: PlantAsset) -> None:
        """A model was put to work on one more asset."""
        for standby in self.standbys():
            if standby.main is group:
                standby.add(asset, self._bindings)
        self._complete(group)

    def keep(self, model: Model) -> None:
        """Have this version of a bundle ready to fall back on."""
        self._kept[model.manifest.name] = model
        for group in self._of(model.manifest.name):
            self._previous.pop(group, None)
            self._complete(group)

    def drop(self, name: str) -> None:
        """There is no version of a bundle to fall back on."""
        self._kept.pop(name, None)
        for group in self._of(name):
            self._previous.pop(group, None)

    def _complete(self, group: Deployment) -> None:
        """A group has its version to fall back on, where there is one."""
        model = self._kept.get(group.model.manifest.name)
        if model is not None and model is not group.model and group not in self._previous:
            self._previous[group] = Standby.beside(group, model, self._bindings)

    def previous(self, name: str) -> Model | None:
        """The version to fall back on."""
        return self._kept.get(name)

    def arriving(self, name: str) -> Model | None:
        """The version whose windows are filling."""
        found = (self._next.get(group) for group in self._of(name))
        return next((one.standby.group.model for one in found if one is not None), None)

    def conduct(self, model: Model) -> RunStats:
        """How a version has run since it is at work."""
        digest, found = self._conduct.get(model.manifest.name, ("", RunStats()))
        if digest != model.sha256:
            found = RunStats()
            self._conduct[model.manifest.name] = (model.sha256, found)
        return found

    def take_over(self, old: Versions) -> None:
        """A new config does not make a version new, nor does it take away the one before."""
        self._conduct = old._conduct
        self.rollbacks, self.failing = old.rollbacks, old.failing
        for group in self._groups:
            before = old._of(group.model.manifest.name)
            if not before:
                continue
            there = before[0].model
            is_same = there.sha256 == group.model.sha256
            kept = old._kept.get(group.model.manifest.name) if is_same else there
            if kept is not None:
                self.keep(kept)

    def _of(self, name: str) -> list[Deployment]:
        return [group for group in self._groups if group.model.manifest.name == name]

    # -- one gives way to another -------------------------------------------------------------

    def exchange(self, new: Model, ready: Mapping[Deployment, Standby]) -> dict[str, str]:
        """Another version takes over: at once where its windows are the same, else when full.

        ready: companions of that version that are there already. Gives the assets that it cannot
        serve, with the reason.
        """
        lost: dict[str, str] = {}
        for group in self._of(new.manifest.name):
            if new is group.model:
                self._next.pop(group, None)
                continue
            standby = ready.get(group) or Standby.beside(group, new, self._bindings)
            lost |= standby.lacking
            if not standby.shares:
                self._next[group] = self._arrival(group, standby)
                continue
            self._kept[new.manifest.name] = group.model
            group.swap(new)
            self._next.pop(group, None)
            self._previous.pop(group, None)
            self._complete(group)
        return lost

    def _arrival(self, group: Deployment, standby: Standby) -> Arrival:
        window = standby.group.model.manifest.window
        span_s = _WINDOWS_AWAITED * max(window.step_s, 1.0) * window.length
        until_s = self._monotonic_s + span_s + _GRACE_S
        return Arrival(standby, until_s, group.scored_us.copy())

    def begin(self, monotonic_s: float) -> None:
        """A turn begins: versions whose windows are full take over."""
        self._monotonic_s = monotonic_s
        for group, arrival in list(self._next.items()):
            if arrival.is_ready(group, monotonic_s):
                del self._next[group]
                new = arrival.standby.group
                self._succeed(group, new)
                self._kept[new.model.manifest.name] = group.model
                self._previous[new] = Standby(group, new)  # its windows go on

    def _succeed(self, old: Deployment, new: Deployment) -> None:
        new.inherit(old)
        self._replace(old, new)
        self._previous.pop(old, None)
        arrival = self._next.pop(old, None)
        if arrival is not None:
            arrival.standby.main = new
            self._next[new] = arrival

    # -- runs ---------------------------------------------------------------------------------

    def run(self, batch: Batch) -> Batch:
        """Score a batch, by the version before where the one at work fails; blocking."""
        previous = {g: self._previous[g] for g in self._at_work(batch) if g in self._previous}
        limit_s = self._budget.limit_s(batch.size) if previous else None
        run(batch, limit_s)
        conduct = self.conduct(batch.model)
        trouble = conduct.note(batch, self._budget)
        if trouble is not None and previous:
            again = self._run_again(batch, trouble, previous)
            if again is not None:
                return again
            conduct.forgive()
        self._note(batch, trouble)
        return batch

    def _at_work(self, batch: Batch) -> list[Deployment]:
        return [group for group in self._groups if group.model is batch.model]

    def _run_again(
        self, batch: Batch, trouble: Trouble, previous: dict[Deployment, Standby]
    ) -> Batch | None:
        """The same windows, by the version before; None where that is no better."""
        good = next(iter(previous.values())).group.model
        found = [usable(d) for c in previous.values() for d in c.windows_of(batch.parts)]
        again = Batch(good, [part for part in found if part.size])
        if again.parts:
            run(again, self._budget.limit_s(again.size))
            if RunStats().note(again, self._budget) is not None or self._is_slow(again, trouble):
                return None
        text = _said(batch, trouble, self._budget)
        self.rollbacks.append(Rollback(batch.model, good, trouble, text))
        self.failing.pop(batch.model.manifest.name, None)
        self._kept.pop(batch.model.manifest.name, None)
        for standby in previous.values():
            again.scored = [standby.as_main(scored) for scored in again.scored]
        for group, standby in previous.items():
            self._put_back(group, standby)
        return again

    def _is_slow(self, again: Batch, trouble: Trouble) -> bool:
        """Then it is the machine that is slow, not the version."""
        if trouble is not Trouble.SLOW:
            return False
        warm = run(Batch(again.model, again.parts))  # its first run after long is not its pace
        return warm.seconds > self._budget.of(again.size)

    def _put_back(self, group: Deployment, standby: Standby) -> None:
        if standby.shares:
            del self._previous[group]
            group.swap(standby.group.model)
        else:
            self._succeed(group, standby.group)

    def _note(self, batch: Batch, trouble: Trouble | None) -> None:
        """One line when a model begins to fail, one when it works again."""
        model, name = batch.model, batch.model.manifest.name
        if trouble in {Trouble.FAILED, Trouble.NOT_A_NUMBER}:
            text = _said(batch, trouble, self._budget)
            if name not in self.failing:
                extra = {"model": name, "version": model.manifest.version, "reason": text}
                log.error("model fails", extra=extra)
            self.failing[name] = (model, text)
        elif self.failing.pop(name, None) is not None:
            log.info("model works again", extra={"model": name})


def _said(batch: Batch, trouble: Trouble | None, budget: Budget) -> str:
    """The trouble in words."""
    if trouble is Trouble.FAILED:
        return batch.error
    if trouble is Trouble.NOT_A_NUMBER:
        return f"{batch.non_finite} of {batch.size} scores are not a number"
    budget_ms = budget.of(batch.size) * 1e3
    return f"{batch.size} windows take {batch.seconds * 1e3:.3g} ms, more than {budget_ms:g} ms"
