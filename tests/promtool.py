"""Debian's promtool, prometheus and amtool for tests: the queries of dashboards on real scrapes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from scripts.grafana.boards import BOARDS
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = tuple(sorted((PROMETHEUS / "rules").glob("*.yml")))
ALL = {"job": "edge-agent", "instance": ".*", "model": ".*", "source": ".*", "sink": ".*"}
UP = 'up{job="edge-agent",instance="%s"}'  # Prometheus makes it itself
COUNTER = re.compile(r"_(total|bucket|count|sum)$")


class Asked(NamedTuple):
    """A query of a panel, as Grafana sends it; bare: without what stands in for no series."""

    board: str
    panel: str
    expr: str
    bare: str
    optional: bool

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.board}: {self.panel}: {self.bare}"


def asked() -> Iterator[Asked]:
    """Every query of every dashboard, with all gateways, models, sources and sinks chosen."""
    for board in BOARDS:
        for panel in board.panels():
            for one in panel.queries:
                bare = chosen(one.expr.replace("$here", board.here).replace("$every", "1m"))
                expr = chosen(one.asked(board.here).replace("$__rate_interval", "1m"))
                yield Asked(board.uid, panel.title, expr, bare, one.optional)


def chosen(expr: str, values: Mapping[str, str] = ALL) -> str:
    """With the values of Grafana's variables."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


def program(name: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        package = "prometheus-alertmanager" if name == "amtool" else "prometheus"
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def ran(*command: str | Path) -> tuple[int, str]:
    """Exit code and output of a program that must end within a minute."""
    done = subprocess.run(
        [program(str(command[0])), *command[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def series_of(scrape: str) -> Iterator[dict[str, str]]:
    """The series of a scrape for a test of promtool: counters grow by their value each minute."""
    yield from (
        {"series": UP % name, "values": f"{n}x30"} for n, name in enumerate(("gw-2", "gw-1"))
    )
    for line in scrape.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            metric, _, labels = name.partition("{")
            more = f'job="edge-agent",instance="gw-1"{"," if labels else "}"}{labels}'
            grows = f"+{value}" if COUNTER.search(metric) else ""
            times = f"{value}{grows}x30" if value not in {"NaN", "+Inf"} else "0x30"
            yield {"series": f"{metric}{{{more}", "values": times}


def with_data(folder: Path, scrape: str, queries: list[str]) -> list[str]:
    """Those of the queries that promtool answers with numbers on the scrape."""
    one = [{"labels": "{}", "value": 1}]
    tests = [
        {"expr": f"count(({q}) == ({q})) > bool 0", "eval_time": "20m", "exp_samples": one}
        for q in queries
    ]
    whole: dict[str, Any] = {
        "evaluation_interval": "1m",
        "rule_files": [],
        "tests": [
            {
                "interval": "1m",
                "input_series": list(series_of(scrape)),
                "promql_expr_test": tests,
            }
        ],
    }
    file = folder / "queries.yml"
    file.write_text(json.dumps(whole), "utf-8")
    code, said = ran("promtool", "test", "rules", file)
    assert code == 0 or "FAILED" in said, said
    unanswered = [json.loads(f'"{one}"') for one in re.findall(r'expr: "((?:[^"\\]|\\.)*)"', said)]
    return [one for one, test in zip(queries, tests, strict=True) if test["expr"] not in unanswered]
