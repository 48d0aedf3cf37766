"""Readings that a model of somebody else's cannot tell apart are said, not silently rounded."""

from __future__ import annotations

from types import SimpleNamespace as Simple
from typing import Any

import numpy as np
import pytest

from edge_agent.daemon.asset_learning import ResolutionWatch
from edge_agent.models.bundle.manifest import InputSpec


def pipeline(spec: InputSpec, value: float, **calibration: str) -> Any:
    manifest = Simple(calibration=calibration)
    signal = Simple(index=0)
    group = Simple(
        scalars=[spec],
        model=Simple(manifest=manifest),
        assets=[Simple(id="P-1")],
        signal_of=lambda _asset, _name: signal,
    )
    return Simple(deployments=[group], watch=Simple(value=np.array([value])))


@pytest.mark.parametrize(
    ("spec", "value", "calibration", "said"),
    [
        (InputSpec("energy"), 4.2e9, {}, True),
        (InputSpec("energy"), -4.2e9, {}, True),
        (InputSpec("energy"), 1e6, {}, False),
        (InputSpec("energy"), np.nan, {}, False),
        (InputSpec("energy", offset=(4e9,)), 4.2e9, {}, False),
        (InputSpec("energy", counter=(True,)), 4.2e9, {}, False),
        (InputSpec("energy"), 4.2e9, {"held_out_asset_days": "1"}, False),
        (
            InputSpec("energy"),
            4.2e9,
            {"held_out_asset_days": "1", "judged_by_their_rate": "hours, energy"},
            True,
        ),
    ],
)
def test_what_float32_does_not_resolve_is_said_once(
    spec: InputSpec,
    value: float,
    calibration: dict[str, Any],
    *,
    said: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of learned baselines only those that were learned before offsets were."""
    watch = ResolutionWatch()
    for _ in range(3):
        watch.compare(pipeline(spec, value, **calibration))
    assert len(caplog.records) == int(said)
    assert list(watch.notes()) == ["P-1"] * said
    if said:
        assert vars(caplog.records[0])["resolution"] == 256.0
