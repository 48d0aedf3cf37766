"""The state of assets for pages that stay open: what may have changed, and a short row of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.detection import STOPPED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from edge_agent.daemon.asset_status import Judgements
    from edge_agent.daemon.runtime import Runtime

_PERCENT: Final = 100  # a page shows the health in whole percents
_NEXT: Final = 1009
_DIGITS: Final = 3


def alarm_marks(runtime: Runtime) -> dict[str, object]:
    """By id, a mark of each alarm that is not normal, which changes with what is shown of it."""
    verdicts = runtime.pipeline.deployments.track_record.verdicts()
    numbers = runtime.alarms.numbers()
    return {one: (number, verdicts.get(one)) for one, number in numbers.items()}


def asset_marks(runtime: Runtime) -> dict[str, object]:
    """By id, a mark of each asset, which changes with its health, inputs, or being stopped.

    What depends on time alone (an old score) or on notes does not change it.
    """
    off, stops = off_counts(runtime), runtime.pipeline.detection.stops
    marks: dict[str, object] = {}
    found = {
        asset.id: int(off[asset.index]) * 4 + stops.truth_of(asset)
        for asset in runtime.plant.assets.values()
    }
    for deployment in runtime.pipeline.deployments:
        for asset, health in zip(deployment.assets, deployment.health.tolist(), strict=False):
            shown = -1 if np.isnan(health) else round(health * _PERCENT)
            found[asset.id] = found.get(asset.id, 0) * _NEXT + shown
    marks.update(found)
    return marks


def off_counts(runtime: Runtime) -> NDArray[np.int64]:
    """How many inputs of each asset are not good now [assets]."""
    signals = runtime.plant.signals
    of_asset = np.fromiter((one.asset.index for one in signals), np.intp, len(signals))
    watch = runtime.pipeline.watch
    bad = (watch.has_problem() | watch.unseen())[: len(signals)]
    return np.bincount(of_asset[bad], minlength=len(runtime.plant.assets))


def asset_states(
    runtime: Runtime, judgements: Judgements, notes: Mapping[str, str], only: Collection[str]
) -> list[dict[str, Any]]:
    """Short rows of some assets: as those of `asset_rows`, without inputs; `off` counts the bad."""
    alarms, off = runtime.alarms.counts_by_asset(but=STOPPED), off_counts(runtime)
    assets = [runtime.plant.assets[one] for one in only if one in runtime.plant.assets]
    return [
        {
            "id": asset.id,
            "path": asset.path,
            "state": judgements.state_of(asset, alarms),
            "alarms": alarms[asset.id],
            "off": int(off[asset.index]),
            "health": _rounded(judgements.found.get(asset.id, {}).get("health")),
            "note": judgements.note_of(asset) or notes.get(asset.id, ""),
        }
        for asset in assets
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
