"""The candidates of all bundles, at most one each."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edge_agent.serving.deployment import Deployment
from edge_agent.serving.shadow import Shadow
from edge_agent.serving.standby import Standby

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.config.schema import ModelUse
    from edge_agent.messages import Transition
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.run_stats import Budget
    from edge_agent.serving.runs import Batch
    from edge_agent.serving.shadow_alarms import ShadowAlarms
    from edge_agent.signals import Bindings

log = logging.getLogger("edge_agent.serving")


class State(StrEnum):
    """Of a shadow."""

    RUNNING = "running"
    DROPPED = "dropped"  # it failed, or took too long
    ENDED = "ended"  # it is at work now, or was called off


class Shadows:
    """Candidates by the name of their bundle.

    past: the reports of those that score no more. groups: the models at work; replayed: the stream
    is a recording.
    """

    def __init__(
        self,
        groups: list[Deployment],
        bindings: Bindings,
        jury: Callable[[str], ShadowAlarms],
        budget: Budget,
        metrics: Metrics,
    ) -> None:
        self.running: dict[str, Shadow] = {}
        self.past: dict[str, dict[str, Any]] = {}
        self._groups = groups
        self._bindings = bindings
        self._jury = jury
        self._budget = budget
        self._metrics = metrics

    def standbys(self) -> Iterator[Standby]:
        """All that must be fed."""
        for shadow in self.running.values():
            yield from shadow.standbys

    def set(self, name: str, model: Model | None) -> None:
        """Let this candidate of a bundle score from now on; None: no more."""
        have = self.running.get(name)
        if model is None:
            if have is not None:
                self._end(have, State.ENDED, "called off")
            if name in self.past:  # one that was dropped may try again after this
                self.past[name] |= {"state": State.ENDED.value}
        elif have is None or have.model.sha256 != model.sha256:
            self.past.pop(name, None)
            self.running[name] = self._begin(model)

    def _begin(self, model: Model) -> Shadow:
        shadow = Shadow(
            model, (self._jury("active"), self._jury("shadow")), self._budget, self._metrics
        )
        name = model.manifest.name
        mains = [group for group in self._groups if group.model.manifest.name == name]
        shadow.standbys = [Standby.beside(main, model, self._bindings) for main in mains]
        extra = {"model": name, "version": model.manifest.version}
        log.info("shadow begins", extra=extra)
        return shadow

    def _end(self, shadow: Shadow, state: State, reason: str) -> None:
        del self.running[shadow.name]
        self.past[shadow.name] = shadow.report() | {"state": state.value, "reason": reason}
        level = logging.INFO if state is State.ENDED else logging.WARNING
        extra = {"model": shadow.name, "state": state.value, "reason": reason}
        log.log(level, "shadow ends", extra=extra)

    def add(self, group: Deployment, asset: PlantAsset) -> None:
        """A model was put to work on one more asset."""
        shadow = self.running.get(group.model.manifest.name)
        if shadow is None:
            return
        beside = next((one for one in shadow.standbys if one.main is group), None)
        if beside is None:
            shadow.standbys.append(Standby.beside(group, shadow.model, self._bindings))
        else:
            beside.add(asset, self._bindings)

    def add_alone(self, model: Model, place: str, use: ModelUse, asset: PlantAsset) -> str:
        """Let a candidate score an asset for which nothing is at work; gives what is missing."""
        name = model.manifest.name
        if name not in self.running:
            self.running[name] = self._begin(model)
        standbys = self.running[name].standbys
        one = next((c for c in standbys if c.main is None and c.group.use is use), None)
        if one is None:
            one = Standby(Deployment(place, use, model), None)
            standbys.append(one)
        return one.add(asset, self._bindings)

    def ready(self, model: Model) -> dict[Deployment, Standby]:
        """The companions of this very version, by the group that they stand beside."""
        shadow = self.running.get(model.manifest.name)
        if shadow is None or shadow.model.sha256 != model.sha256:
            return {}
        return {one.main: one for one in shadow.standbys if one.main is not None}

    def renew(self, active: Model) -> None:
        """Another version is at work: a comparison with it begins anew."""
        name = active.manifest.name
        shadow = self.running.get(name)
        if shadow is None:
            return
        if shadow.model.sha256 == active.sha256:
            self._end(shadow, State.ENDED, "it is at work now")
        else:
            self.running[name] = self._begin(shadow.model)

    def take_over(self, old: Shadows) -> None:
        """A new config does not end a comparison of the same two versions, nor begin one again."""
        self.past |= old.past
        for name, before in old.running.items():
            now = self.running[name] = self._begin(before.model)
            if now.is_as(before):
                now.adopt(before)

    def has(self, name: str, version: str) -> bool:
        """Whether this candidate scores, or was dropped."""
        report = self.report(name)
        if report is None or report["state"] == State.ENDED.value:
            return False
        return bool(report["candidate"]["version"] == version)

    def report(self, name: str) -> dict[str, Any] | None:
        """How the candidate of a bundle compares; None where there was none."""
        shadow = self.running.get(name)
        if shadow is None:
            return self.past.get(name)
        return shadow.report() | {"state": State.RUNNING.value, "reason": ""}

    def step(self, ran: Sequence[Batch], *, busy: bool) -> list[Transition]:
        """The candidates' turn; gives what their alarms would tell. Blocking."""
        told: list[Transition] = []
        for shadow in list(self.running.values()):
            try:
                told += shadow.step(ran, busy=busy)
            except Exception as error:
                # A candidate must do no harm, whatever it brings about.
                log.exception("shadow stumbles", extra={"model": shadow.name})
                shadow.trouble = f"{type(error).__name__}: {error}"
            if shadow.trouble:
                self._end(shadow, State.DROPPED, shadow.trouble)
        return told
