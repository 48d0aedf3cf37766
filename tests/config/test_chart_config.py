"""Control charts in a config: every way in which they cannot be meant, with the key."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_agent.config.control_charts import ChartKind
from edge_agent.config.problem import ConfigErrors
from edge_agent.daemon.tables import load_config

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, **chart: Any) -> Path:
    """A config with one chart of one press."""
    source = {
        "type": "mqtt",
        "url": "mqtt://127.0.0.1",
        "subscribe": [{"topic": "a/{asset}/{signal}"}],
    }
    signals = {"bore": {}, "done": {}, "wave": {"kind": "waveform"}}
    config: dict[str, Any] = {
        "sources": {"bus": source},
        "templates": {"press": {"signals": signals}},
        "assets": {"M-{1..3}": {"template": "press"}},
    }
    if chart:
        config["control_charts"] = {"b": {"asset": "M-{1..2}", "signal": "bore", **chart}}
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_chart_has_defaults_that_work(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, chart="xbar_s", rules=["western_electric", "run_of_8"]))
    (chart,) = config.control_charts.values()
    assert (chart.chart, chart.group_size) == (ChartKind.XBAR_S, 5)
    assert chart.rule_names == ("beyond_limits", "two_of_three", "four_of_five", "run_of_8")
    assert chart.part == type(chart.part)()


@pytest.mark.parametrize(
    ("chart", "key", "said"),
    [
        ({"asset": "M-9"}, "b.asset", "no asset 'M-9'"),
        ({"asset": "M-{5..1}"}, "b.asset", "names no assets"),
        ({"asset": "M-{1..99999999}"}, "b.asset", "names no assets"),
        ({"signal": "bor"}, "b.signal", "no signal 'bor'"),
        ({"signal": "wave"}, "b.signal", "no number"),
        ({"part": {"trigger": "don"}}, "b.part.trigger", "did you mean 'done'?"),
        ({"process": ["bore", "x"]}, "b.process[1]", "no signal 'x'"),
        ({"rules": ["nelsen"]}, "b.rules[0]", "no rule 'nelsen'"),
        ({"rules": []}, "b.rules", "is empty"),
        ({"chart": "xbar_r", "subgroup": 1}, "b.subgroup", "at least 2"),
        ({"chart": "p", "subgroup": 5}, "b.subgroup", "is 1"),
        ({"limits": {"center": 1}}, "b.limits.sigma", "is missing"),
        ({"chart": "p", "limits": {"center": 2}}, "b.limits.center", "below 1"),
        ({"specification": {"low": 2, "high": 1}}, "b.specification.low", "below high"),
        ({"specification": {"target": 1}}, "b.specification", "needs low, high or both"),
        ({"chart": "c", "specification": {"low": 1}}, "b.specification", "no meaning"),
        ({"chart": "c", "autocorrelation": "residuals"}, "b.autocorrelation", "subgroup 1"),
    ],
)
def test_a_chart_that_makes_no_sense_is_refused(
    tmp_path: Path, chart: dict[str, Any], key: str, said: str
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(written(tmp_path, **chart))
    (problem,) = caught.value.problems
    assert problem.key_path == f"control_charts.{key}"
    assert said in str(problem)


def test_a_gateway_without_charts_imports_nothing_of_them(tmp_path: Path) -> None:
    """Neither the pipeline nor the daemon."""
    code = (
        "import sys; from pathlib import Path;"
        "from edge_agent.daemon.tables import load_config;"
        "from edge_agent.daemon.build import Parts;"
        "from edge_agent.clock import SystemClock;"
        f"path = Path({str(written(tmp_path))!r}); Parts(load_config(path), path, SystemClock());"
        "print([one for one in sys.modules if 'insight.quality' in one or 'quality_' in one])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]", done.stderr
