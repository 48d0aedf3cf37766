"""The engine of graphs that are not trusted yet: each runs in a process of its own.

A graph that hangs is killed, one that needs too much memory fails, one that crashes takes only its
own process with it. A caller waits for a run for a short time only (`LateError`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.kinds import variant_file
from edge_agent.models.runtime.engine import BusyError, LateError
from edge_agent.models.runtime.graph_session import signature_of
from edge_agent.models.runtime.tensor_channel import RowType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.runtime.engine import LoadRequest
    from edge_agent.models.runtime.model_process import Launcher, ModelProcess

TEST_S: Final = 60.0  # the limit of loading, and of a run without a limit of its own
_COPIES: Final = 4  # of the graph in memory: its bytes, the session, and two while it is opened
_COMPUTING: Final = 2 / 3  # of the patience, as time of a processor
_PAUSES_S: Final = (10.0, 60.0, 600.0)  # before the first, second and every later restart


@dataclass(frozen=True, slots=True)
class Limits:
    """What an isolated model may take.

    patience_s: how long a caller waits for a run of `max_batch` rows; in proportion for more.
    memory_bytes: in addition to its graph.
    """

    patience_s: float
    memory_bytes: int


@dataclass(slots=True)
class _Run:
    """A run that is not over: it is ended at `until_s` by the monotonic clock.

    It goes in parts of as many rows as the shared memory holds. sent: rows so far; parts: the
    outputs of those that are over.
    """

    feeds: Mapping[str, NDArray[Any]]
    names: Sequence[str]
    rows: int
    begin_s: float
    until_s: float
    enough_cpu_s: float = inf  # of the process: a run that has used this much is slow by itself
    sent: int = 0
    parts: list[Tensors] = field(default_factory=list)
    outputs: Tensors = field(default_factory=dict)  # of the present part, in the shared memory


class IsolatedEngine:
    """A graph in a process of its own. Calls block; one thread at a time.

    rows: that it has answered, with those of earlier engines of the bundle. deaths: how often its
    process ended or had to be killed; reason: why it did the last time; unreported: the reasons
    that `drain_deaths` has not returned yet. request: to load the graph again.
    """

    def __init__(self, request: LoadRequest, launcher: Launcher, limits: Limits) -> None:
        self.signature = signature_of(request.manifest)
        self.providers: tuple[str, ...] = ()
        self.rows = 0
        self.deaths = 0
        self.reason = ""
        self.unreported: list[str] = []
        self.request = request
        self._returned = self.signature.outputs
        self._where: str = request.manifest.name
        self._launcher = launcher
        self._limits = limits
        self._process: ModelProcess | None = None
        self._run: _Run | None = None
        self._restart_s = 0.0
        self._start()

    # -- runs ---------------------------------------------------------------------------------

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        budget_s: float | None = None,
        *,
        wait: bool = True,
    ) -> Tensors:
        """Run N rows; LateError if the answer is not there when the patience ends.

        Then `late_answer` returns it later; another `infer` discards it, or raises BusyError.
        budget_s: after this time the process is killed; None: wait up to `TEST_S`. wait: False to
        have LateError at once.
        """
        rows = len(next(iter(feeds.values())))
        if any(len(tensor) != rows for tensor in feeds.values()):
            raise ModelError("its inputs have different numbers of rows", where=self._where)
        self._finish_earlier_run()
        process, now_s = self._running(), time.monotonic()
        limit_s = TEST_S if budget_s is None else budget_s
        patience_s = limit_s if budget_s is None else min(self._patience_s(rows), limit_s)
        self._run = run = _Run(feeds, names, rows, now_s, now_s + limit_s)
        self._send_part(run, process)
        run.enough_cpu_s = process.cpu_s() + _COMPUTING * patience_s
        return self._answer(patience_s if wait else 0.0)

    def _finish_earlier_run(self) -> None:
        """Discard the answer of a run that was late; BusyError if it is not there."""
        try:
            if self._run is not None:
                self.late_answer()
        except LateError as error:
            raise BusyError(error.message, where=self._where) from error
        except ModelError:  # its failure is no longer of interest; `_running` knows if it died
            return

    def late_answer(self) -> Tensors:
        """The outputs of the run that was late; LateError if it is still not over."""
        return self._answer(0.0)

    def abandon(self, reason: str) -> None:
        """Kill the process now."""
        self._died(ModelError(reason))

    def _send_part(self, run: _Run, process: ModelProcess) -> None:
        """Write the next rows into the shared memory, and let the process run them."""
        try:
            returned = [RowType(name, *self._returned[name]) for name in run.names]
        except KeyError as error:
            self._run = None
            raise ModelError(f"has no output {error}", where=self._where) from error
        try:
            number, layout = process.channel.layout(run.feeds, returned, self.request.max_batch)
            rows = min(layout.most, run.rows - run.sent)
            if not rows:
                raise ModelError("one row does not fit into the shared memory", where=self._where)
            inputs, run.outputs = layout.views(rows)
            for name, place in inputs.items():
                place[...] = run.feeds[name][run.sent : run.sent + rows]
            process.channel.send_run(number, rows)
        except (OSError, ValueError) as error:
            raise self._died(error) from error
        run.sent += rows

    def _answer(self, patience_s: float) -> Tensors:
        run, process = self._run, self._running()
        if run is None:
            raise ModelError("there is no run", where=self._where)
        until_s = None
        while True:
            problem = self._receive(run, process, patience_s)
            if problem:
                self._run = None
                raise ModelError(_printable(problem), where=self._where)
            run.parts.append({name: place.copy() for name, place in run.outputs.items()})
            if run.sent == run.rows:
                return self._finished(run)
            until_s = until_s or time.monotonic() + patience_s
            self._send_part(run, process)
            patience_s = max(0.0, until_s - time.monotonic())

    def _receive(self, run: _Run, process: ModelProcess, patience_s: float) -> str:
        try:
            return process.channel.receive(patience_s)
        except TimeoutError as error:
            raise self._late(run, process) from error
        except (OSError, ValueError) as error:
            raise self._died(error) from error

    def _finished(self, run: _Run) -> Tensors:
        self._run = None
        self.rows += run.rows
        if len(run.parts) == 1:
            return run.parts[0]
        return {name: np.concatenate([part[name] for part in run.parts]) for name in run.names}

    def _late(self, run: _Run, process: ModelProcess) -> ModelError:
        now_s = time.monotonic()
        if now_s >= run.until_s:
            return self._died(ModelError(f"no answer after {now_s - run.begin_s:.3g} s"))
        waited_s = now_s - run.begin_s
        text, is_computing = (
            f"no answer after {waited_s:.3g} s",
            process.cpu_s() >= run.enough_cpu_s,
        )
        return LateError(text, where=self._where, is_computing=is_computing)

    def _patience_s(self, rows: int) -> float:
        return self._limits.patience_s * max(1, ceil(rows / self.request.max_batch))

    # -- the process --------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """True if it has a process."""
        return self._process is not None

    @property
    def needs_restart(self) -> bool:
        """True if its process has died and the pause before the next one is over."""
        return self._process is None and time.monotonic() >= self._restart_s

    def drain_deaths(self) -> list[str]:
        """Why its process ended, for each time since the last call."""
        found, self.unreported = self.unreported, []
        return found

    def restart(self) -> None:
        """Start it again; blocking, not on the thread of the runs. ModelError if that fails."""
        self._pause()
        self._start()

    def close(self) -> None:
        """Let the process end."""
        process, self._process = self._process, None
        if process is not None:
            process.release()
        self._restart_s, self.reason = float("inf"), self.reason or "it is closed"

    def _start(self) -> None:
        request = self.request
        raw = request.read(variant_file(request.variant))
        process = self._launcher.start()
        head = {
            "providers": list(request.providers),
            "max_batch": request.max_batch,
            "where": self._where,
            "memory_bytes": self._limits.memory_bytes + _COPIES * len(raw),
        }
        try:
            answer = process.channel.load(head, raw, self._row_bytes(), TEST_S)
        except (OSError, ValueError) as error:
            text = process.end() or f"its process does not answer: {error}"
            raise ModelError(text, where=self._where) from error
        if "error" in answer:
            process.end()
            raise ModelError(_printable(answer["error"]), where=self._where)
        self.providers = tuple(answer["providers"])
        self._process = process

    def _row_bytes(self) -> int:
        """Bytes of a row of all tensors."""
        every = (*self.signature.inputs.items(), *self.signature.outputs.items())
        return sum(RowType(name, *kind).row_bytes for name, kind in every)

    def _running(self) -> ModelProcess:
        if self._process is None:
            raise ModelError(self.reason, where=self._where)
        return self._process

    def _died(self, error: Exception) -> ModelError:
        """Its process is lost, or must go: there is none until `restart`."""
        process, self._process, self._run = self._process, None, None
        said = str(error) if isinstance(error, ModelError) else ""
        ended = process.end() if process is not None else ""
        self.reason = said or ended or "its process ended"
        self._pause()
        self.deaths += 1
        self.unreported.append(self.reason)
        return ModelError(self.reason, where=self._where)

    def _pause(self) -> None:
        pause_s = _PAUSES_S[min(self.deaths, len(_PAUSES_S) - 1)]
        self._restart_s = time.monotonic() + pause_s


def _printable(text: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text)[:400])
