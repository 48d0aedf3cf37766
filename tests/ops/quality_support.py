"""A process with two charts, one of which shifts, and a camera that finds a defect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.config.control_charts import ChartKind, ControlChart, Part, Specification
from edge_agent.config.types import Name
from edge_agent.insight.quality.records import Inspection, RecentParts
from edge_agent.insight.quality.watched import WatchedChart, point_json

if TYPE_CHECKING:
    from edge_agent.insight.quality.part_store import PartFilter

S = 1_000_000
NOON_S = 1_767_268_800
ASSET = "PRESS-1"


class ShownQuality:
    """What `quality_routes` asks: an X-bar chart whose last subgroups are high, and an EWMA."""

    def __init__(self) -> None:
        self.commanded: list[tuple[Any, ...]] = []
        self.recent = RecentParts()
        signals = {"bore": SimpleNamespace(config=SimpleNamespace(unit="mm"))}
        asset: Any = SimpleNamespace(id=ASSET, signals=signals)
        part = Part(Name("done"), Name("serial"))
        bore = ControlChart(
            ASSET,
            Name("bore"),
            part,
            ChartKind.XBAR_R,
            rules=("western_electric",),
            specification=Specification(9.9, 10.1, 10.0),
        )
        drift = ControlChart(ASSET, Name("bore"), part, ChartKind.EWMA)
        self.charts_ = [WatchedChart("bore", bore, asset), WatchedChart("drift", drift, asset)]
        self._run()

    def _run(self) -> None:
        values = np.random.default_rng(5).normal(10, 0.02, 5 * 60)
        values[-15:] += 0.03
        for serial, value in enumerate(values.tolist()):
            record = self.recent.record_of(ASSET, str(4000 + serial), (NOON_S + 20 * serial) * S)
            record.measurements["bore"] = round(value, 4)
            record.in_spec["bore"] = abs(value - 10) <= 0.1
            record.process["force"] = round(80 + value, 1)
            for one in self.charts_:
                point, _ = one.measure(record, "", value, 1.0)
                if point is not None:
                    one.observe(point, "", set())
        newest = (NOON_S + 20 * (len(values) - 1)) * S
        found = {"defect": True, "score": 1.8}
        self.recent.add_inspection(Inspection(ASSET, "top", "4298", newest, found), S)

    async def charts(self) -> list[dict[str, Any]]:
        return [row for one in self.charts_ for row in one.shown()]

    async def points(self, asset: str, chart: str, product: str) -> list[dict[str, Any]]:
        (one,) = [one for one in self.charts_ if (one.asset.id, one.name) == (asset, chart)]
        return [point_json(point) for point in one.charts[product].points]

    async def parts(self, wanted: PartFilter) -> list[dict[str, Any]]:
        rows = [one.as_json() for one in self.recent.drain_changed()]
        for one in rows:  # they are asked for again
            self.recent.record_of(one["asset"], one["part"], one["at_ms"] * 1000)
        return rows[::-1][: wanted.limit]

    async def begin_anew(
        self, asset: str, chart: str, *, learn: bool, actor: str, comment: str
    ) -> dict[str, Any]:
        self.commanded.append((asset, chart, learn, actor, comment))
        return {"asset": asset, "chart": chart, "action": "chart_learn" if learn else "chart_reset"}
