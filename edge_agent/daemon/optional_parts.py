"""What a config may have beside the path of a value: lines, control charts, a maintenance plan.

Each is made if the config has its section; a gateway without it does not import its modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.cameras import Cameras
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.line_analyses import LineAnalyses
    from edge_agent.daemon.line_publisher import LinePublisher
    from edge_agent.daemon.line_recorder import LineRecorder
    from edge_agent.daemon.maintenance_planner import MaintenancePlanner
    from edge_agent.daemon.quality_recorder import QualityRecorder
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.daemon.trend_recorder import TrendRecorder
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Fault, Observation
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.routes import Route

QUALITY_EVERY_S: Final = 0.5
LINES_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 10.0  # whether a line is due
LINE_FIGURES_EVERY_S: Final = 10.0
PLAN_EVERY_S: Final = 5.0  # between two looks if a new maintenance plan is due


@dataclass(frozen=True, slots=True)
class Around:
    """The parts of the daemon that they use. wake: of the pipeline."""

    runtime: Callable[[], Runtime]
    publisher: Publisher
    values: SavedValues
    wake: Callable[[], None]
    trends: TrendRecorder | None
    cameras: Cameras | None
    metrics: Metrics
    clock: Clock


class OptionalParts:
    """What the config has of them; None: it has no such section."""

    lines: LineRecorder | None = None
    line_publisher: LinePublisher | None = None
    line_analyses: LineAnalyses | None = None
    quality: QualityRecorder | None = None
    maintenance: MaintenancePlanner | None = None

    def __init__(self, config: Config, around: Around) -> None:
        self._around = around
        if config.lines:
            self._build_lines(config)
        if config.control_charts:
            self._build_quality(config)
        if config.maintenance is not None:
            self._build_maintenance()

    def _build_lines(self, config: Config) -> None:
        from edge_agent.daemon import line_analyses, line_publisher, line_recorder  # noqa: PLC0415

        around = self._around
        runtime, metrics, clock, trends = (
            around.runtime,
            around.metrics,
            around.clock,
            around.trends,
        )
        file = line_recorder.line_file(config.store.path)
        lines = line_recorder.LineRecorder(runtime, file, metrics, clock)
        publisher = line_publisher.LinePublisher(runtime, lines, around.publisher, clock)
        self.lines, self.line_publisher = lines, publisher
        self.line_analyses = line_analyses.LineAnalyses(
            lambda: runtime().config,
            lines.ask,
            lambda: lines.work.book,
            publisher.publish_bottleneck,
            self._observe,
            metrics,
            clock,
            lambda: trends.trends if trends else None,
        )

    async def _observe(self, seen: Observation) -> None:
        """Tell the alarm table what was found beside the pipeline."""
        found = self._around.runtime().alarms.accept_observation(seen)
        await self._around.publisher.send(found, self._around.clock.now_us())

    def _build_quality(self, config: Config) -> None:
        from edge_agent.daemon.quality_recorder import QualityRecorder  # noqa: PLC0415
        from edge_agent.insight.quality.part_store import PartStore  # noqa: PLC0415

        around, store = self._around, config.store.path
        parts = PartStore(store.with_name(f"{store.name}.parts"), config.part_records.max_parts)
        self.quality = QualityRecorder(
            around.runtime, parts, around.metrics, around.values.audit, around.wake, around.clock
        )
        if around.cameras is not None:
            around.cameras.on_judged = self.quality.add_picture

    def _build_maintenance(self) -> None:
        from edge_agent.daemon.maintenance_planner import MaintenancePlanner  # noqa: PLC0415

        around = self._around
        self.maintenance = MaintenancePlanner(
            around.runtime, around.publisher, around.values, around.metrics, around.clock
        )

    def faults(self) -> list[Fault]:
        """What keeps them from working."""
        parts = (self.lines, self.quality, self.maintenance)
        return [fault for one in parts if one is not None for fault in one.faults()]

    def routes(self, config: Config) -> list[Route]:
        """What they show over HTTP."""
        found: list[Route] = []
        if self.lines is not None and self.line_analyses is not None:
            from edge_agent.service import bottleneck_api, lines_api  # noqa: PLC0415

            found += lines_api.LinesApi(self.lines, self._around.clock).routes()
            found += bottleneck_api.bottleneck_routes(self.line_analyses)
        if self.quality is not None:
            from edge_agent.service import quality_api  # noqa: PLC0415

            found += quality_api.quality_routes(self.quality)
        if (planner := self.maintenance) is not None:
            from edge_agent.service import plan_api  # noqa: PLC0415

            found += plan_api.plan_routes(lambda: planner.plan, config.alarms.languages[0])
        return found

    def jobs(self, boundary: ErrorBoundary) -> dict[str, Coroutine[Any, Any, None]]:
        """Their permanent tasks, by name."""
        repeat = boundary.repeat
        jobs: dict[str, Coroutine[Any, Any, None]] = {}
        if self.lines is not None and self.line_publisher is not None:
            jobs["lines"] = repeat("lines", LINES_EVERY_S, self.lines.record, first_s=0.0)
            publish = self.line_publisher.publish
            jobs["line figures"] = repeat("line figures", LINE_FIGURES_EVERY_S, publish)
        if self.line_analyses is not None:
            jobs["bottlenecks"] = repeat("bottlenecks", LOOK_EVERY_S, self.line_analyses.look)
        if self.quality is not None:
            jobs["quality"] = repeat("quality", QUALITY_EVERY_S, self.quality.record)
        if self.maintenance is not None:
            jobs["maintenance"] = repeat("maintenance", PLAN_EVERY_S, self.maintenance.tend)
        return jobs

    async def restore(self) -> None:
        """Read what the charts had learned."""
        if self.quality is not None:
            await self.quality.restore()

    async def finish_charts(self) -> None:
        """Hand over what the charts have found, before the pipeline's last turn."""
        if self.quality is not None:
            await self.quality.drain()

    async def stop(self, boundary: ErrorBoundary) -> None:
        """Save and end, after the pipeline's last turn."""
        for one in (self.quality, self.lines):
            if one is not None:
                await boundary.guard("stop", one.stop())
