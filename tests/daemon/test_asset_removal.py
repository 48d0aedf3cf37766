"""What is gone leaves nothing behind: assets, sources and sinks of the config, ghosts of topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from daemon_support import fed_config, unused_url

from edge_agent.clock import FakeClock
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.messages import LinkState
from edge_agent.store import AuditFilter, Store
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.plant import PlantAsset

DAY_S = 86_400
BEGIN_US = 1_700_000_000_000_000


async def test_a_reload_takes_the_series_of_what_is_gone(tmp_path: Path) -> None:
    """Of assets, sources and sinks; also after the next scrape, which writes the gauges anew."""
    path = fed_config(tmp_path, ("pump", {"signals": {"flow": {"source": "plant"}}}), "P-{1..2}")
    full = yaml.safe_load(path.read_text())
    full["sources"]["old"] = {**full["sources"]["plant"], "url": unused_url()}
    full["sinks"]["hook"] = {"type": "webhook", "url": "http://127.0.0.1:9/none"}
    full["assets"]["GONE-7"] = {"template": "pump", "signals": {"flow": {"source": "old"}}}
    slim = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(full))
    daemon = Daemon(load_config(path), path=path)
    await daemon.startup()
    try:
        status = daemon.parts.status
        status.export()
        before = daemon.parts.metrics.render().decode()
        gone = ('asset="GONE-7"', 'source="old"', 'sink="hook"')
        assert all(one in before for one in gone)
        path.write_text(yaml.safe_dump(slim))
        await daemon.parts.reloader.reload()
        status.export()
        after = daemon.parts.metrics.render().decode()
        assert [one for one in gone if one in after] == []
        assert 'asset="P-1"' in after
        assert 'source="plant"' in after
    finally:
        await daemon.shutdown()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    signals: dict[str, Any] = {"flow": {}, "pressure": {}}
    path = fed_config(tmp_path, ("pump", {"signals": signals}), "P-{1..2}")
    made = Daemon(load_config(path), path=path, clock=FakeClock(BEGIN_US))
    await made.startup()
    made.runtime.sources["plant"].link.state = LinkState.UP
    try:
        yield made
    finally:
        await made.shutdown()


async def announce(daemon: Daemon, asset_id: str, *signals: str) -> PlantAsset:
    """An asset announces itself with a value of each of these signals; the others speak, too."""
    asset = daemon.runtime.plant.discover(asset_id, "pump")
    assert asset is not None
    now_us = daemon.parts.clock.now_us()
    rows = [asset.signals[name].index for name in signals]
    rows += [
        s.index for one in ("P-1", "P-2") for s in daemon.runtime.plant.assets[one].signals.values()
    ]
    daemon.runtime.intake.append(columns(rows, [now_us] * len(rows), [1.0] * len(rows)))
    await daemon.parts.loop.run_turn()
    return asset


async def test_an_asset_that_announced_itself_is_forgotten_by_hand(daemon: Daemon) -> None:
    """With its alarms and its series; its retained alerts are emptied. One of the config is not."""
    await announce(daemon, "M-O1", "flow")
    alarm_id = "M-O1.flow.quality"
    await daemon.parts.commands.apply_one("shelve", alarm_id, "anna", 60.0)
    daemon.parts.status.export()
    assert 'asset="M-O1"' in daemon.parts.metrics.render().decode()
    answer = await daemon.parts.status.asset_command("forget", "M-O1", "anna", None)
    assert answer == {"asset": "M-O1", "forgotten": True}
    assert sorted(daemon.runtime.plant.assets) == ["P-1", "P-2"]
    assert daemon.runtime.alarms.get(alarm_id) is None
    daemon.parts.status.export()
    assert 'asset="M-O1"' not in daemon.parts.metrics.render().decode()
    (newest, *_) = await daemon.parts.publisher.store.run(Store.history, alarm_id=alarm_id)
    assert (newest["transition"], newest["alarm"]["state"]) == ("clear", "normal")
    assert (await daemon.parts.publisher.load_memory()).discovered == ()
    assert (await daemon.parts.status.audit(AuditFilter(), 1))[0]["action"] == "forget"
    with pytest.raises(EdgeAgentError, match="this asset is in the config"):
        await daemon.parts.removal.remove_by_hand("P-1", "anna")
    with pytest.raises(NotFoundError):
        await daemon.parts.removal.remove_by_hand("M-O1", "anna")


async def test_a_ghost_fades_and_a_machine_that_was_whole_does_not(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """Never all of its signals, and a week of silence; `M-01` was whole once and may be off."""
    assert isinstance(daemon.parts.clock, FakeClock)
    await announce(daemon, "M-O1", "flow")
    await announce(daemon, "M-01", "flow", "pressure")
    await daemon.parts.removal.remove_ghosts()
    for _ in range(6):
        daemon.parts.clock.advance(DAY_S)
        await daemon.parts.removal.remove_ghosts()
    assert "M-O1" in daemon.runtime.plant.assets
    daemon.parts.clock.advance(DAY_S + 60)
    await daemon.parts.removal.remove_ghosts()
    assert sorted(daemon.runtime.plant.assets) == ["M-01", "P-1", "P-2"]
    (line,) = [one for one in caplog.records if one.message == "assets forgotten"]
    assert line.__dict__["assets"] == "M-O1"
