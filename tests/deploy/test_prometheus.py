"""Rules, alerts and routes of deploy/prometheus, checked by promtool and amtool."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from promtool import PROMETHEUS, RULES, ran

from scripts.rigs import ROOT

PAGE = ROOT / "docs" / "monitoring.md"
TESTS = PROMETHEUS / "tests"
SEVERITIES = ("critical", "warning", "info")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_takes_the_rules_and_the_config() -> None:
    code, said = ran("promtool", "check", "rules", *RULES)
    assert code == 0, said
    code, said = ran("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert code == 0, said


@pytest.mark.parametrize("name", ["alerts", "recording"])
def test_the_rules_do_what_their_cases_say(name: str) -> None:
    """Each alert fires when it must, not before, and not for the neighbour that is well."""
    code, said = ran("promtool", "test", "rules", TESTS / f"{name}.yml")
    assert code == 0, said


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((TESTS / "alerts.yml").read_text("utf-8"))["tests"]
    told = {
        case["name"]: [bool(one["exp_samples"]) for one in case["promql_expr_test"]]
        for case in cases
    }
    assert told == {one["alert"]: [False, True] for one in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=lambda one: str(one["alert"]))
def test_the_docs_say_what_to_do(alert: dict[str, Any]) -> None:
    """A person who is woken by an alert finds its name, its severity and the mend."""
    assert alert["labels"]["severity"] in SEVERITIES
    assert {"summary", "description"} <= alert["annotations"].keys()
    row = re.search(rf"^\| `{alert['alert']}` \|.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert row is not None
    assert f"| {alert['labels']['severity']} |" in row[0]


def test_alertmanager_takes_the_routes() -> None:
    code, said = ran("amtool", "check-config", PROMETHEUS / "alertmanager.yml")
    assert code == 0, said


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("critical", "on-duty"), ("warning", "maintenance-office"), ("info", "weekly")],
)
def test_an_alert_reaches_its_receiver(severity: str, receiver: str) -> None:
    file = f"--config.file={PROMETHEUS / 'alertmanager.yml'}"
    code, said = ran("amtool", "config", "routes", "test", file, f"severity={severity}", "job=x")
    assert (code, said.splitlines()[0]) == (0, receiver)
