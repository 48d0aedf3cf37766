"""/metrics: what Prometheus and its checker make of it, and that the docs list every row."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from status_support import ListStatus, serving

from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(edge_agent_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", re.MULTILINE)
QUERY = re.compile(r"^\| [^|]+\? \| (.+) \|$", re.MULTILINE)


def of_registry(metrics: Metrics) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            assert metric._type is not None
            name = metric._name + ("_total" if metric._type == "counter" else "")
            yield name, metric._type, tuple(metric._labelnames), metric._documentation


def filled() -> Metrics:
    """A registry in which every metric has a sample."""
    metrics = Metrics()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            sample: Any = metric.labels(*metric._labelnames) if metric._labelnames else metric
            sample.observe(0.5) if metric._type == "histogram" else sample.inc()
    return metrics


async def scrape(metrics: Metrics, status: ListStatus | None = None) -> tuple[str, str]:
    async with (
        serving(status, metrics) as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/metrics") as answer,
    ):
        return await answer.text(), answer.headers["Content-Type"]


def test_docs_list_the_same_metrics_in_the_same_words(metrics: Metrics) -> None:
    rows = {row[0]: row for row in ROW.findall(DOCS.read_text(encoding="utf-8"))}
    registry = {row[0]: row for row in of_registry(metrics)}
    assert list(rows) == list(registry)
    for name, (_, kind, labels, meaning) in rows.items():
        _, real_kind, real_labels, real_meaning = registry[name]
        assert kind == real_kind, name
        assert tuple(re.findall(r"`(\w+)`", labels)) == real_labels, name
        assert meaning.startswith(real_meaning), name


async def test_prometheus_parses_what_is_served() -> None:
    text, content_type = await scrape(filled())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert content_type.startswith("text/plain")
    assert families["edge_agent_values_received"].samples[0].labels == {"source": "source"}
    assert len([name for name in families if name.startswith("edge_agent_")]) == len(
        list(of_registry(Metrics()))
    )
    assert "process_resident_memory_bytes" in families


async def test_gauges_are_brought_up_to_date_before_each_scrape() -> None:
    status, metrics = ListStatus(), Metrics()
    await scrape(metrics, status)
    await scrape(metrics, status)
    assert status.exports == 2


async def test_a_label_with_any_character_cannot_break_the_format() -> None:
    metrics = Metrics()
    name = 'P-1"\n} 1\nedge_agent_forged 1\n\\'
    metrics.score.labels(name, "m").set(1)
    text, _ = await scrape(metrics)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert "edge_agent_forged" not in families
    assert families["edge_agent_score"].samples[0].labels["asset"] == name


async def test_health_answers_while_a_large_scrape_is_made() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.score.labels(f"P-{number}", "m").set(number)
        metrics.health.labels(f"P-{number}", "m").set(1)
    async with serving(metrics=metrics) as server, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.port}"
        scrapes = [asyncio.create_task(session.get(f"{base}/metrics")) for _ in range(5)]
        async with asyncio.timeout(5), session.get(f"{base}/health/live") as answer:
            assert answer.status == 200
        for done in await asyncio.gather(*scrapes):
            assert len(await done.text()) > 100_000
            done.release()


def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    text = filled().render().decode()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_queries_in_the_docs_are_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    cells = QUERY.findall(DOCS.read_text(encoding="utf-8").replace("\\|", "|"))
    queries = [query for cell in cells for query in re.findall(r"`([^`]+)`", cell)]
    assert len(queries) >= 8
    rules = "".join(f"  - record: q{n}\n    expr: >-\n      {q}\n" for n, q in enumerate(queries))
    file = tmp_path / "rules.yml"
    file.write_text(f"groups:\n- name: docs\n  rules:\n{rules}", encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("label", ["asset", "source", "sink", "model"])
def test_what_is_gone_leaves_no_series(label: str) -> None:
    """Of no metric; those of others stay. A query over all would otherwise count it for ever."""
    metrics = filled()  # the value of each label is its name
    assert f'{label}="{label}"' in metrics.render().decode()
    metrics.forget(label, ["another"])
    assert f'{label}="{label}"' in metrics.render().decode()
    metrics.forget(label, [label])
    text = metrics.render().decode()
    assert f'{label}="{label}"' not in text
    assert 'outcome="outcome"' in text
