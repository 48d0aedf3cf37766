"""What left the config leaves the metrics, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from daemon_support import fed_config, unused_url

from edge_agent.daemon import Daemon, load_config

if TYPE_CHECKING:
    from pathlib import Path


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
    await daemon._start()
    try:
        status = daemon.http._status
        status.export()
        before = daemon.metrics.render().decode()
        gone = ('asset="GONE-7"', 'source="old"', 'sink="hook"')
        assert all(one in before for one in gone)
        path.write_text(yaml.safe_dump(slim))
        await daemon.reload()
        status.export()
        after = daemon.metrics.render().decode()
        assert [one for one in gone if one in after] == []
        assert 'asset="P-1"' in after
        assert 'source="plant"' in after
    finally:
        await daemon._shut_down()
