"""Makes maintenance plans beside the pipeline: now and then, and soon after new alarms.

The work is done by a niced process of its own; the daemon's loop only collects facts in small
steps and keeps the answer. A plan is a proposal: nothing is ordered or commanded.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.daemon.maintenance_facts import Calendars, collect_facts
from edge_agent.errors import EdgeAgentError, StoreError
from edge_agent.insight.maintenance import (
    STATUSES,
    Question,
    known_places,
    make_plan,
    places_of,
)
from edge_agent.messages import Detail, Fault
from edge_agent.models import local_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.saved_values import SavedValues
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics

_KEY: Final = "maintenance"  # of the store

log = logging.getLogger("edge_agent.daemon")

Row = dict[str, Any]


class MaintenancePlanner:
    """Keeps the present plan; plan: None before the first one, and while the config has none."""

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        publisher: Publisher,
        values: SavedValues,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.plan: Row | None = None
        self._runtime = runtime
        self._publisher = publisher
        self._values = values
        self._metrics = metrics
        self._clock = clock
        self._calendars = Calendars(clock)
        self._before: dict[str, Row] = {}
        self._trouble = ""
        self._made_s = -math.inf
        self._alarms: frozenset[str] = frozenset()
        self._is_restored = False

    def faults(self) -> list[Fault]:
        """Why the last plan could not be made, and calendars that cannot be read."""
        troubles = self._calendars.troubles
        told = [self._trouble] if self._trouble else []
        reasons = [*told, *(f"{name}: {text}" for name, text in troubles.items())]
        if not reasons:
            return []
        text = "; ".join(reasons)[:400]
        return [Fault("maintenance", text, Detail("maintenance_trouble", {"reason": text}))]

    async def tend(self) -> None:
        """Make a new plan if it is time."""
        config = self._runtime().config
        if config.maintenance is None or not self._publisher.is_active:
            self.plan = None
            return
        age_s = self._clock.monotonic_s() - self._made_s
        is_new = bool(self._present_alarms() - self._alarms)
        settings = config.maintenance
        if age_s >= settings.every or (is_new and age_s >= settings.settle):
            await self.replan(config)

    def _present_alarms(self) -> frozenset[str]:
        return frozenset(self._runtime().alarms.numbers())

    async def replan(self, config: Config) -> None:
        """Make a plan, keep it, and propose what is new; the old one stays after an error."""
        if not self._is_restored:
            await self._restore()
        began_s = self._made_s = self._clock.monotonic_s()
        self._alarms = self._present_alarms()
        try:
            plan = await self._made(config)
        except EdgeAgentError as error:
            self._trouble = str(error)
            self._metrics.maintenance_plans.labels("failed").inc()
            return
        self._trouble = ""
        self._metrics.maintenance_plans.labels(plan["by"]).inc()
        self._metrics.maintenance_plan_seconds.set(self._clock.monotonic_s() - began_s)
        self._export(plan)
        await self._keep(config, plan)

    async def _made(self, config: Config) -> Row:
        settings = config.maintenance
        assert settings is not None  # noqa: S101 (asked before)
        calendars = await self._calendars.read(settings)
        zone = settings.timezone or config.notify.timezone or local_zone()
        known = known_places(self._before)
        facts = await collect_facts(
            self._runtime(),
            self._publisher.failure_mode_of,
            self._clock.now_us(),
            calendars,
            known,
        )
        return await make_plan(Question(settings, config.alarms, facts, zone, self._before))

    async def _restore(self) -> None:
        """The places of the last plan of an earlier run, so that a restart moves nothing."""
        self._is_restored = True
        try:
            raw = await self._values.load(_KEY)
            self._before = {
                str(job): dict(place) for job, place in orjson.loads(raw or b"{}").items()
            }
        except (StoreError, orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            log.warning("the last maintenance plan is not restored")

    async def _keep(self, config: Config, plan: Row) -> None:
        """Store the places together with the proposals of lines that are new or have moved."""
        settings = config.maintenance
        assert settings is not None  # noqa: S101 (asked before)
        places = places_of(plan["lines"])
        changed = {
            job for job, place in places.items() if not _is_same(self._before.get(job), place)
        }
        lines = [line for line in plan["lines"] if line["job"] in changed]
        self.plan, self._before = plan, places
        raw = orjson.dumps(places)
        messages = self._proposals(config, plan, lines) if settings.sink else []
        await self._publisher.store_proposals(_KEY, raw, messages)

    def _proposals(self, config: Config, plan: Row, lines: Sequence[Row]) -> list[Message]:
        from edge_agent.delivery import proposals  # noqa: PLC0415 (only with a sink)

        return proposals.messages_of(config, plan, lines, self._clock.now_us())

    def _export(self, plan: Row) -> None:
        counts = Counter(line["status"] for line in plan["lines"])
        for status in STATUSES:
            self._metrics.maintenance_jobs.labels(status).set(counts[status])
        self._metrics.maintenance_expected_cost.set(plan["expected_cost"])
        self._metrics.maintenance_plan_time.set(plan["at_ms"] / 1000)


def _is_same(was: Row | None, now: Row) -> bool:
    return was is not None and (was["stop"], was["crew"]) == (now["stop"], now["crew"])
