"""Debian's Prometheus scrapes a real gateway: every panel and every recorded figure has data."""

from __future__ import annotations

import json
import math
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from monitored_gateway import MonitoredGateway
from promtool import PROMETHEUS, RULES, asked, program

from edge_agent.testing import Program, find_free_port, find_mosquitto, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WAIT_S = 90.0


class Prometheus(Program):
    """A Prometheus that scrapes a gateway each second, with the rules of deploy/prometheus."""

    def __init__(self, folder: Path, target: int) -> None:
        self.url = f"http://127.0.0.1:{find_free_port()}"
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(file) for file in RULES]
        del config["alerting"]
        (job,) = config["scrape_configs"]
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        listens = f"--web.listen-address={self.url.removeprefix('http://')}"
        places = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        super().__init__([program("prometheus"), *places, listens], folder / "prometheus.log")

    def is_ready(self) -> bool:
        """True if it answers queries."""
        try:
            return bool(self.get("/-/ready"))
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 (ours)
            return bytes(answer.read())

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API."""
        words = urllib.parse.urlencode(query)
        return json.loads(self.get(f"/api/v1/{path}?{words}"))["data"]

    def has_data(self, expr: str) -> bool:
        """True if at least one series has a number now."""
        found = self.ask("query", query=expr)["result"]
        return any(not math.isnan(float(one["value"][1])) for one in found)


def unanswered(prometheus: Prometheus, queries: dict[str, str]) -> list[str]:
    """The names of the queries without data."""
    return [name for expr, name in queries.items() if not prometheus.has_data(expr)]


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_every_panel_shows_data_of_a_real_gateway(tmp_path: Path) -> None:
    """Counters of troubles without a trouble show 0; all else is what the gateway says."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    panels = {one.expr: f"{one.board}: {one.panel}: {one.expr}" for one in asked()}
    figures = {
        name: name
        for name in (
            "instance_source:edge_agent_values_received:rate5m",
            "instance_model:edge_agent_windows:rate5m",
            "instance_model:edge_agent_inference_seconds:p95_5m",
            "instance_asset:edge_agent_health:min",
            "instance_priority:edge_agent_alarms_unacknowledged:sum",
        )
    }
    with MonitoredGateway(tmp_path) as gateway, Prometheus(folder, gateway.port) as prometheus:
        wait_until(lambda: prometheus.has_data("edge_agent_build_info"), WAIT_S, "a scrape")
        gateway.live()
        left = panels | figures

        def is_answered() -> bool:
            gateway.go_on()
            for name in [one for one in left if prometheus.has_data(one)]:
                del left[name]
            return not left

        try:
            wait_until(is_answered, WAIT_S, "data of every panel")
        except TimeoutError:
            assert list(left.values()) == []
        rules = prometheus.ask("rules")["groups"]
        unwell = [one for group in rules for one in group["rules"] if one["health"] == "err"]
        assert unwell == []
