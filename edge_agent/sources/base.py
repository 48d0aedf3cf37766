"""The part that all sources share: their constructor, their link, and their start and stop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from edge_agent.sources.source_clock import SourceClock
from edge_agent.transport import LinkReporter, Reconnector, Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway, TimeOf
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant
    from edge_agent.values import Intake

C = TypeVar("C")


class ConnectedSource(ABC, Generic[C]):
    """A source that keeps one connection; see `messages.Source`.

    A subclass makes its own parts in `_prepare`, and serves one connection in `_serve`. waits:
    between two attempts; target: what the link shows while it connects.
    """

    waits: ClassVar[Waits] = Waits()
    target = ""

    def __init__(  # noqa: PLR0913, PLR0917 (the same for all sources)
        self,
        name: str,
        config: C,
        plant: Plant,
        intake: Intake,
        metrics: Metrics,
        clock: Clock,
        gateway: Gateway,
    ) -> None:
        self.name = name
        self._config = config
        self._plant = plant
        self._intake = intake
        self._metrics = metrics
        self._clock = clock
        self._gateway = gateway
        self._reporter = LinkReporter("source", name, metrics.source_up.labels(name), clock)
        self.link = self._reporter.link
        self._reconnector = Reconnector(
            self._reporter,
            self._serve,
            clock,
            waits=self.waits,
            reconnects=metrics.source_reconnects.labels(name),
        )
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Make the parts of this kind of source."""

    @abstractmethod
    async def _serve(self) -> None:
        """Serve one connection from start to end; EdgeAgentError has the reason of its end."""

    def _make_source_clock(self, time_of: TimeOf) -> SourceClock:
        """The clock behind the values; the link shows if it is wrong."""
        parts = self.name, time_of, self._plant, self.link, self._metrics, self._clock
        source_clock = SourceClock(*parts, self._reporter.refresh)
        self._reporter.view = source_clock.shown
        return source_clock

    def received_until(self) -> dict[str, int]:
        """The stamp (us) of the newest value of each signal, by `ASSET.SIGNAL`, as sent.

        Empty if the other side stores nothing, or delivers by itself what was missed.
        """
        return {}

    def resume_after(self, received_until: Mapping[str, int]) -> None:
        """What came after this was missed: the service did not run. Call it before the start."""

    async def start(self) -> None:
        """Start to connect; returns at once, even if the other side does not answer."""
        await self._reconnector.start(self.target)

    async def stop(self) -> None:
        """Stop delivering and disconnect; waits for at most a few seconds; safe when repeated."""
        await self._reconnector.stop()
