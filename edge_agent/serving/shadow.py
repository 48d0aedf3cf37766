"""A candidate beside the model at work: it scores the live stream, and nothing comes of it.

Its scores reach neither the alarm table nor the bus. Both versions are judged by alarm tables of
their own, by the rules of the use at work, from rest: what is compared is what would be raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.clock import US_PER_MS
from edge_agent.serving.agreement import NOTHING, OUTCOMES, Agreement, Judged, Last
from edge_agent.serving.run_stats import RunStats, Trouble
from edge_agent.serving.runs import Batch, run, usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.messages import Transition
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.run_stats import Budget
    from edge_agent.serving.scores import Scored
    from edge_agent.serving.shadow_alarms import ShadowAlarms
    from edge_agent.serving.standby import Standby


class Shadow:
    """One candidate, what stands beside it, and how the two compare.

    juries: of the version at work and of the candidate. trouble: why it may not go on, or nothing.
    """

    def __init__(
        self,
        model: Model,
        juries: tuple[ShadowAlarms, ShadowAlarms],
        budget: Budget,
        metrics: Metrics,
    ) -> None:
        self.model = model
        self.trouble = ""
        self.standbys: list[Standby] = []
        self._budget = budget
        self._metrics = metrics
        self._skipped = 0
        self._active, self._candidate = RunStats(), RunStats()
        self._active_jury, self._jury = juries
        self._tally = Agreement()
        self._last: dict[Deployment, Last] = {}

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.model.manifest.name

    @property
    def active(self) -> Model | None:
        """The version at work; None where there is none."""
        mains = (one.main for one in self.standbys)
        return next((main.model for main in mains if main is not None), None)

    def adopt(self, old: Shadow) -> None:
        """Go on where the same candidate beside the same version was."""
        for name in ("_skipped", "_active", "_candidate", "_active_jury", "_jury", "_tally"):
            setattr(self, name, getattr(old, name))

    def is_as(self, other: Shadow) -> bool:
        """Whether the same two versions are compared."""
        mine, theirs = (one.active and one.active.sha256 for one in (self, other))
        return self.model.sha256 == other.model.sha256 and mine == theirs

    # -- a turn -------------------------------------------------------------------------------

    def step(self, ran: Iterable[Batch], *, busy: bool) -> list[Transition]:
        """Score the windows of this turn and compare; gives what its alarms would tell.

        ran: what the models at work scored; busy: values wait, so that there is no time for it.
        """
        mine = [batch for batch in ran if batch.model.manifest.name == self.name]
        parts = [part for batch in mine for part in batch.parts]
        found = [usable(due) for one in self.standbys for due in one.windows_of(parts)]
        batch = Batch(self.model, [due for due in found if due.size])
        if busy:
            self._skipped += batch.size
            self._metrics.shadow_windows.labels(self.name, "skipped").inc(batch.size)
            return []
        for each in mine:
            self._active.note(each, self._budget)
        if batch.parts:
            self._run(batch)
        return self._compare([one for each in mine for one in each.scored], batch.scored)

    def _run(self, batch: Batch) -> None:
        run(batch, self._budget.limit_s(batch.size))
        trouble = self._candidate.note(batch, self._budget)
        self._metrics.shadow_seconds.labels(self.name).observe(batch.seconds)
        for outcome, n in (
            ("failed", batch.size if batch.error else 0),
            ("not_a_number", batch.non_finite),
        ):
            if n:
                self._metrics.shadow_windows.labels(self.name, outcome).inc(n)
        if trouble is Trouble.FAILED:
            self.trouble = batch.error
        elif trouble is Trouble.SLOW:
            self.trouble = f"{batch.size} windows take {batch.seconds * 1e3:.3g} ms"

    def _compare(self, active: Sequence[Scored], candidate: Sequence[Scored]) -> list[Transition]:
        before = self._active_jury.raises, self._jury.raises
        theirs, _ = self._active_jury.judge(active)
        ours, told = self._jury.judge(candidate)
        counts = np.zeros(len(OUTCOMES), np.int64)
        for one in self.standbys:
            last = self._last.setdefault(one.group, Last())
            mine = _of(one.group, candidate, ours)
            counts += self._tally.add(_of(one.main, active, theirs), mine, last)
        for outcome, n in zip(OUTCOMES, counts.tolist(), strict=True):
            if n:
                self._metrics.shadow_windows.labels(self.name, outcome).inc(n)
        now = self._active_jury.raises, self._jury.raises
        for mode, n in zip(("active", "shadow"), np.subtract(now, before).tolist(), strict=True):
            self._metrics.shadow_alarms.labels(self.name, mode).inc(n)
        return told

    # -- report -------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """How the candidate compares with the version at work; docs/models.md explains it."""
        names = {a.index: a.id for one in self.standbys for a in one.group.assets}
        active = self.active
        return {
            "model": self.name,
            "compared": self._tally.compared,
            "agreement": self._tally.agreement(),
            "from_ms": self._tally.from_us // US_PER_MS,
            "to_ms": self._tally.to_us // US_PER_MS,
            "outcomes": self._tally.as_dict(),
            "skipped": self._skipped,
            "correlation": self._tally.correlation.value(),
            "active": active and _version(active, self._active, self._active_jury),
            "candidate": _version(self.model, self._candidate, self._jury),
            "assets_served": len(names),
            "worst": self._tally.worst(names),
            "lacking": {k: v for one in self.standbys for k, v in one.lacking.items()},
        }


def _version(model: Model, conduct: RunStats, jury: ShadowAlarms) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "version": manifest.version,
        "sha256": model.sha256,
        **conduct.as_dict(),
        "alarms": jury.raises,
    }


def _of(group: Deployment | None, scored: Sequence[Scored], judged: Sequence[Judged]) -> Judged:
    """The decisions on the windows of one use."""
    found = [j for s, j in zip(scored, judged, strict=True) if s.group is group]
    return Judged(*map(np.concatenate, zip(*found, strict=True))) if found else NOTHING
