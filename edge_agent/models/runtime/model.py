"""A bundle in memory: its manifest, its engine, and the meaning of its outputs."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ModelError
from edge_agent.models.bundle.golden import Golden, differences
from edge_agent.models.bundle.kinds import FP32
from edge_agent.models.bundle.trust import UNSIGNED
from edge_agent.models.bundle.variants import Trial, parity
from edge_agent.models.runtime.isolated_engine import IsolatedEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.tasks import Outputs
    from edge_agent.models.runtime.engine import Engine
    from edge_agent.models.runtime.reference import Reference
    from edge_agent.models.runtime.remote import RemoteEngine
    from edge_agent.models.runtime.run_mark import RunMark

    Floats = NDArray[np.float32]

_FP32_ONLY: Final = Trial()


class Model:
    """A bundle in memory. Calls block; one thread at a time may run it.

    sha256: of its manifest. trial: of its variants; the engine runs the chosen one, and is
    closed when the model has no more references.
    """

    def __init__(
        self, manifest: Manifest, engine: Engine, sha256: str, trial: Trial = _FP32_ONLY
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.sha256 = sha256
        self.trial = trial
        self.variant = trial.chosen
        self.signer = UNSIGNED  # the id of the key
        self.reference: Reference | None = None  # a healthy window, for explanations
        self.remote: RemoteEngine | None = None  # the servers that run it in place of the engine
        self.provider = engine.providers[0] if engine.providers else "none"
        self._task = manifest.task_row
        self._tensors = manifest.outputs.named()
        self._names = tuple(self._tensors.values())
        self._shapes = {role: manifest.output_shape(role) for role in self._tensors}
        self._mark: RunMark | None = None
        self._budget_s: float | None = None  # of a run that is late at a server
        self._label = b""
        weakref.finalize(self, engine.close)

    def use_servers(self, remote: RemoteEngine) -> None:
        """Let servers run it; its own graph remains their replacement."""
        self.remote = remote
        weakref.finalize(self, remote.close)

    def mark_runs(self, mark: RunMark | None) -> None:
        """Mark its runs in this process."""
        self._mark = mark
        if mark is not None:
            self._label = mark.label(self.manifest.name, self.sha256)

    @property
    def is_isolated(self) -> bool:
        """True if it runs in a process of its own."""
        return isinstance(self.engine, IsolatedEngine)

    def replace_engine(self, engine: Engine) -> None:
        """Continue with another engine of the same bundle, between two runs."""
        old, self.engine = self.engine, engine
        weakref.finalize(self, engine.close)
        old.close()

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        budget_s: float | None = None,
        *,
        wait: bool = True,
    ) -> Outputs:
        """Score N windows; ModelError if the engine fails or the inputs do not fit.

        feeds: by tensor of `manifest.tensors()`, the windows first: the window of the scalars,
        float32 [N, length, scalars]; `unit`, int64 [N], index into the manifest's units; each other
        input by its name. budget_s: the maximum time. LateError if it runs in a process of its own
        or on a server and takes longer than a turn should wait (see `late_outputs`); wait: False
        not to wait.
        """
        if self.remote is not None:
            self._budget_s = budget_s
            found = self.remote.infer(feeds, wait=wait)
            if found is not None:
                return self._outputs(found)
        return self.infer_here(feeds, budget_s, wait=wait)

    def infer_here(
        self,
        feeds: Mapping[str, NDArray[Any]],
        budget_s: float | None = None,
        *,
        wait: bool = True,
    ) -> Outputs:
        """The same by its own graph, on this machine."""
        engine = self.engine
        if isinstance(engine, IsolatedEngine):
            return self._outputs(engine.infer(feeds, self._names, budget_s, wait=wait))
        if self._mark is None:
            return self._outputs(engine.infer(feeds, self._names, budget_s))
        self._mark.set(self._label)
        try:
            return self._outputs(engine.infer(feeds, self._names, budget_s))
        finally:
            self._mark.clear()

    def late_outputs(self) -> Outputs:
        """The outputs of a run that was late; LateError if it is still not over."""
        if self.remote is not None and (feeds := self.remote.late_feeds) is not None:
            found = self.remote.late_answer()
            if found is not None:
                return self._outputs(found)
            return self.infer_here(feeds, self._budget_s)
        if not isinstance(self.engine, IsolatedEngine):
            raise ModelError("its run was given up", where=self.manifest.name)
        return self._outputs(self.engine.late_answer())

    def abandon_run(self, reason: str) -> None:
        """End the process with a run that is late."""
        if isinstance(self.engine, IsolatedEngine):
            self.engine.abandon(reason)

    def _outputs(self, found: Tensors) -> Outputs:
        by_role: dict[str, Any] = {
            role: found[tensor].reshape(-1, *self._shapes[role])
            for role, tensor in self._tensors.items()
        }
        return self._task.outputs_of(by_role)

    def self_test(self, golden: Golden | tuple[Tensors, Tensors]) -> None:
        """ModelError unless this engine, on its provider, reproduces the golden vectors.

        A variant other than fp32 must agree with them within the limits of `parity`.
        """
        inputs, expected = golden[:2]
        found = self.engine.infer(inputs, tuple(expected))
        if self.variant == FP32:
            problem = "; ".join(differences(expected, found))
        else:
            _, problem = parity(self.manifest, Golden(*golden), found)
        if problem:
            raise ModelError(problem, where=self.manifest.name)
