"""The dashboards: what is committed is what is written, and every query has an answer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.metrics import MetricWrapperBase
from promtool import PROMETHEUS, RULES, asked, with_data

from edge_agent.ops.metrics import Metrics
from scripts.grafana.__main__ import FOLDER, differing
from scripts.grafana.panels import GRID_WIDTH

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(FOLDER.glob("*.json"))
TARGET_LABELS = {"job", "instance", "pair"}  # Prometheus adds them
SELECTOR = re.compile(r"\b(edge_agent_\w+)(?:\{([^}]*)\})?")


def labels_by_metric() -> dict[str, set[str]]:
    """The labels of every series of the daemon."""
    found: dict[str, set[str]] = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            labels = set(metric._labelnames)
            if metric._type == "histogram":
                found[f"{metric._name}_bucket"] = labels | {"le"}
                found |= {f"{metric._name}_{part}": labels for part in ("count", "sum")}
            else:
                found[metric._name + ("_total" if metric._type == "counter" else "")] = labels
    return found


def recorded() -> str:
    """A scrape of a real gateway, and what it had no trouble to show."""
    tests = PROMETHEUS / "tests"
    return (tests / "scrape.txt").read_text("utf-8") + (tests / "rare.txt").read_text("utf-8")


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board["panels"]
    return found


def test_the_committed_files_are_those_that_the_tables_give() -> None:
    assert differing() == [], "run scripts/dashboards"
    assert len(FILES) == 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_two_panels_share_a_place_or_a_number(file: Path) -> None:
    board = json.loads(file.read_text("utf-8"))
    cells: set[tuple[int, int]] = set()
    for panel in panels(board):
        at = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not mine & cells, panel["title"]
        assert max(x for x, _ in mine) < GRID_WIDTH, panel["title"]
        cells |= mine
    numbers = [panel["id"] for panel in panels(board)]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_panel_says_what_it_shows(file: Path) -> None:
    for panel in panels(json.loads(file.read_text("utf-8"))):
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"], panel["title"]


def test_every_metric_and_label_of_a_query_is_the_daemons() -> None:
    """A metric that is renamed would leave an empty panel and an alert that never fires."""
    known = labels_by_metric()
    rules = "".join(file.read_text("utf-8") for file in RULES)
    recorded_names = set(re.findall(r"record: (\S+)", rules))
    exprs = [one.bare for one in asked()] + re.findall(
        r"expr: (?:>-\n)?((?:.|\n          )+)", rules
    )
    assert len(exprs) > 100
    for expr in exprs:
        for name, selectors in SELECTOR.findall(re.sub(r"\w+:\w+:\w+", "", expr)):
            assert name in known, f"{name} in {expr}"
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
            assert used <= known[name] | TARGET_LABELS, f"{name} in {expr}"
        assert set(re.findall(r"\w+:\w+:\w+", expr)) <= recorded_names, expr


def test_every_query_has_an_answer_on_a_recorded_scrape(tmp_path: Path) -> None:
    """Without what a panel shows in place of no series."""
    queries = {one.bare: one.name for one in asked()}
    found = with_data(tmp_path, recorded(), list(queries))
    assert [name for bare, name in queries.items() if bare not in found] == []


def test_a_query_without_an_answer_is_found(tmp_path: Path) -> None:
    """The control of the test above: no series, and no number."""
    good, none, nan = "edge_agent_assets", "edge_agent_no_such", "edge_agent_assets / 0 * 0"
    assert with_data(tmp_path, recorded(), [good, none, nan]) == [good]
