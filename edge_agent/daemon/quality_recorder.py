"""Runs the control charts on a thread of their own, and keeps their parts and their state.

The path of a value only keeps references; what the charts find is applied to the alarm table in the
next turn.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edge_agent.errors import NotFoundError
from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.picture_views import SeenPicture
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.insight.quality.charts import ControlCharts
    from edge_agent.insight.quality.part_store import PartFilter, PartStore
    from edge_agent.messages import Observation
    from edge_agent.ops.metrics import Metrics

    Audit = Callable[[str, str, Sequence[str], str], Awaitable[None]]

T = TypeVar("T")

CLOSE_S: Final = 5.0
_SAVE_EVERY_S: Final = 300.0  # the longest loss of points by a crash; less would wear flash disks
_EXPORT_EVERY_S: Final = 10.0
STATES: Final = {"learning": 0, "ready": 1, "in_control": 1, "out_of_control": 2}


class QualityRecorder:
    """The thread of the charts. wake: lets the pipeline turn, so that what was found is applied."""

    def __init__(  # noqa: PLR0913, PLR0917 (the parts that it joins)
        self,
        runtime: Callable[[], Runtime],
        store: PartStore,
        metrics: Metrics,
        audit: Audit,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._metrics = metrics
        self._audit = audit
        self._wake = wake
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quality")
        self._work: asyncio.Future[list[Observation]] | None = None
        self._saved_s = self._exported_s = clock.monotonic_s()
        self._counted: dict[tuple[str, str, str], dict[str, int]] = {}

    def faults(self) -> list[Fault]:
        """The fault of the file of parts, if it cannot be used."""
        text = self._store.trouble
        return [Fault("parts", text, Detail("parts_trouble", {"reason": text}))] if text else []

    async def restore(self) -> None:
        """Let the charts continue where they were; before the sources start."""
        charts = self._charts
        if charts is not None:
            charts.is_apart = True
            charts.restore(await self._run(self._store.load_charts))

    async def record(self) -> None:
        """Judge what has come, on the thread; applies what the last call found. Returns at once."""
        charts = self._charts
        if charts is None or (self._work is not None and not self._work.done()):
            return
        charts.is_apart = True
        if self._work is not None:
            self._apply(self._work.result())
        now_s = self._clock.monotonic_s()
        is_save = now_s - self._saved_s >= _SAVE_EVERY_S
        self._saved_s = now_s if is_save else self._saved_s
        loop = asyncio.get_running_loop()
        self._work = loop.run_in_executor(self._thread, partial(self._evaluate, charts, is_save))
        self._work.add_done_callback(lambda _: self._wake())

    async def drain(self) -> None:
        """Judge what is there and hand it to the last turn; before `stop`."""
        charts = self._charts
        if charts is not None:
            self._apply(await self._run(charts.evaluate))

    async def stop(self) -> None:
        """Save everything, within CLOSE_S; safe when repeated."""
        charts = self._charts
        if charts is not None:
            closing = asyncio.ensure_future(self._run(partial(self._evaluate, charts, True)))  # noqa: FBT003
            await asyncio.wait([closing], timeout=CLOSE_S)
        await asyncio.wait([asyncio.ensure_future(self._run(self._store.close))], timeout=CLOSE_S)
        self._thread.shutdown(wait=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quality")
        self._work = None

    # -- for the API --------------------------------------------------------------------------

    async def charts(self) -> list[dict[str, Any]]:
        """A row for each chart and product."""
        charts = self._charts
        return [] if charts is None else await self._run(charts.shown)

    async def points(self, asset: str, chart: str, product: str) -> list[dict[str, Any]]:
        """The last points of a chart; NotFoundError if there is none."""
        charts = self._charts
        found = None
        if charts is not None:
            found = await self._run(partial(charts.points, asset, chart, product))
        if found is None:
            where = f"{asset}/{chart}" + (f"/{product}" if product else "")
            raise NotFoundError("no such chart", where=where, hint="GET /api/quality")
        return found

    async def parts(self, wanted: PartFilter) -> list[dict[str, Any]]:
        """Parts, the newest first."""
        return await self._run(partial(self._store.find_parts, wanted))

    def add_picture(self, seen: SeenPicture) -> None:
        """Join a camera's verdict with its part; called for each picture that a model judged."""
        charts = self._charts
        if charts is None or seen.score is None:
            return
        found = {
            "defect": seen.limit is not None and seen.score >= seen.limit,
            "score": seen.score,
            "limit": seen.limit,
            "picture": seen.picture_id,
        }
        charts.add_inspection(seen.asset, seen.camera, seen.part or "", seen.at_us, found)

    async def begin_anew(
        self, asset: str, chart: str, *, learn: bool, actor: str, comment: str
    ) -> dict[str, Any]:
        """After a tool change; learn: the limits anew, too. NotFoundError if there is no chart."""
        charts = self._charts
        known = charts is not None and await self._run(
            partial(charts.begin_anew, asset, chart, learn=learn)
        )
        if not known:
            raise NotFoundError("no such chart", where=f"{asset}/{chart}", hint="GET /api/quality")
        action = "chart_learn" if learn else "chart_reset"
        await self._audit(actor, action, [asset], f"{chart}: {comment}" if comment else chart)
        return {"asset": asset, "chart": chart, "action": action}

    # -- on the thread, and back --------------------------------------------------------------

    @property
    def _charts(self) -> ControlCharts | None:
        return self._runtime().pipeline.charts

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _apply(self, found: list[Observation]) -> None:
        """Hand over what was found; a reload may have removed the chart meanwhile."""
        pipeline = self._runtime().pipeline
        known = [one for one in found if pipeline.alarms.rules(one.alarm_id) is not None]
        pipeline.reported.extend(known)

    def _evaluate(self, charts: ControlCharts, is_save: bool) -> list[Observation]:  # noqa: FBT001
        found = charts.evaluate()
        changed = charts.parts.drain_changed()
        if changed:
            self._store.save_parts(changed)
        if is_save:
            self._store.save_charts(charts.as_json())
        if self._clock.monotonic_s() - self._exported_s >= _EXPORT_EVERY_S:
            self._exported_s = self._clock.monotonic_s()
            self._export(charts.shown())
        return found

    def _export(self, rows: list[dict[str, Any]]) -> None:
        """The metrics: of several products of a chart, of the one with the worst state."""
        metrics, worst = self._metrics, dict[tuple[str, str], int]()
        for row in rows:
            place = row["asset"], row["chart"]
            worst[place] = max(worst.get(place, 0), STATES[row["state"]])
            if row["capability"]:
                metrics.control_chart_cpk.labels(*place).set(row["capability"]["cpk"]["value"])
            before = self._counted.get((*place, row["product"]), {})
            for outcome, n in row["counts"].items():
                grown = max(0, n - before.get(outcome, 0))
                metrics.control_chart_points.labels(*place, outcome).inc(grown)
            self._counted[*place, row["product"]] = row["counts"]
        for place, state in worst.items():
            metrics.control_chart_state.labels(*place).set(state)
