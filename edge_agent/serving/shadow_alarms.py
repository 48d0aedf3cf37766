"""An alarm table of its own for each of two versions: what each would raise, by the same rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.alarms import AlarmPolicy, AlarmTable
from edge_agent.clock import FakeClock
from edge_agent.messages import TransitionKind
from edge_agent.serving.agreement import Judged
from edge_agent.serving.scores import alarm_id, observation, reportable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Alarms
    from edge_agent.messages import Observation, Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.scores import Scored


class ShadowAlarms:
    """Judges the windows of one version; begins from rest.

    mode: what its alarms say of their model; rules: those at work, by alarm id, and where there are
    none those of the version's own use; replayed: the stream is a recording. raises: alarms so far.
    """

    def __init__(
        self,
        mode: str,
        rules: Callable[[str], AlarmPolicy | None],
        limits: Alarms,
        *,
        replayed: bool,
    ) -> None:
        self.raises = 0
        self._mode = mode
        self._rules = rules
        self._uses: dict[str, tuple[PlantAsset, Deployment]] = {}  # by alarm id
        self._replayed = replayed
        self._table = AlarmTable(self._policy, limits, FakeClock())

    def judge(self, found: Sequence[Scored]) -> tuple[list[Judged], list[Transition]]:
        """The decision on each window, in the order given, and what the table would tell."""
        judged = [_undecided(scored) for scored in found]
        seen = [
            (self._said(scored, i), one, i)
            for scored, one in zip(found, judged, strict=True)
            for i in reportable(scored, self._engaged(scored.group)).tolist()
        ]
        seen.sort(key=lambda each: (each[0].at_us, each[0].alarm_id))
        told: list[Transition] = []
        for said, one, i in seen:
            told += self._table.observe(said)
            alarm = self._table.get(said.alarm_id)
            one.is_on[i] = alarm is not None and alarm.active
        for asset in tuple(self._table.flooded) if found else ():
            told += self._table.advance(asset, max(int(one.end_us.max()) for one in judged))
        self.raises += sum(one.kind is TransitionKind.RAISE for one in told)
        return judged, told

    def _said(self, scored: Scored, i: int) -> Observation:
        said = observation(scored, i, replayed=self._replayed)
        if said.detail.model is None:
            return said
        model = replace(said.detail.model, mode=self._mode)
        return replace(said, detail=replace(said.detail, model=model))

    def _engaged(self, group: Deployment) -> NDArray[np.bool_]:
        """Assets whose alarm is not at rest."""
        ids = [alarm_id(asset, group) for asset in group.assets]
        for one, asset in zip(ids, group.assets, strict=True):
            self._uses[one] = asset, group
        return np.array([one in self._table.watched for one in ids], bool)

    def _policy(self, wanted: str) -> AlarmPolicy | None:
        policy = self._rules(wanted)
        if policy is None and wanted in self._uses:
            asset, group = self._uses[wanted]
            policy = AlarmPolicy(asset.id, asset.path, group.use.alarm)
        return policy


def _undecided(scored: Scored) -> Judged:
    number = np.array([asset.index for asset in scored.group.assets], np.intp)
    rest = np.zeros(len(scored.row), bool)
    return Judged(number[scored.row], scored.end_us, rest, scored.level)
