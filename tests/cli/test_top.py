"""`edge-agent top`: figures of two scrapes, a picture that fits, no daemon."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import time
from typing import Any

import pytest
from status_support import ListStatus, alarm_row, model_row, plant_of, serving

from edge_agent.cli import main, top
from edge_agent.cli.figures import Scrape, quantile, rate
from edge_agent.cli.top_view import clipped, columns_of, view
from edge_agent.ops.metrics import Metrics

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two scrapes of one picture follow at once."""
    monkeypatch.setattr(top, "_FIRST_S", 0.0)


def metrics_of_a_plant() -> Metrics:
    metrics = Metrics()
    metrics.assets.set(500)
    for asset, health in (("P-1", 0.97), ("P-2", 0.6), ("P-3", 0.2)):
        metrics.health.labels(asset, "pump").set(health)
        metrics.health.labels(asset, "bearing").set(0.99)
    metrics.alarms.labels("unack", "high").set(2)
    metrics.alarms.labels("acked", "low").set(1)
    metrics.alarms.labels("normal", "low").set(7)
    metrics.end_to_end_seconds.labels("bus").observe(0.07)
    return metrics


async def printed(
    capsys: pytest.CaptureFixture[str], *words: str, status: ListStatus | None = None
) -> str:
    """What `top` prints about a plant."""
    async with serving(status or plant_of(500), metrics_of_a_plant()) as server:
        url = f"http://127.0.0.1:{server.port}"
        code = await asyncio.to_thread(main, ["top", *words, "--url", url])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out


def scrape(at_s: float, **counters: float) -> Scrape:
    lines = [f'edge_agent_{name}{{source="plc"}} {value}' for name, value in counters.items()]
    return Scrape("\n".join(["# HELP x y", *lines]), at_s)


# Figures ------------------------------------------------------------------------------------------


def test_a_rate_is_the_growth_by_the_time() -> None:
    old, new = scrape(10.0, values_received_total=100), scrape(12.0, values_received_total=150)
    assert rate(old, new, "values_received_total") == 25.0
    assert rate(old, new, "values_received_total", source="bus") == 0.0


def test_a_counter_of_a_new_process_counts_from_zero() -> None:
    old, new = scrape(10.0, values_received_total=100), scrape(12.0, values_received_total=8)
    assert rate(old, new, "values_received_total") == 4.0


def test_a_label_may_hold_any_text() -> None:
    metrics = Metrics()
    metrics.health.labels('P-1"\n} 1 \\', "m").set(0.5)
    (one,) = Scrape(metrics.render().decode(), 0.0).of("health")
    assert (one.labels["asset"], one.value) == ('P-1"\n} 1 \\', 0.5)


def test_a_quantile_is_that_of_what_came_between_the_scrapes() -> None:
    metrics = Metrics()
    for _ in range(100):
        metrics.inference_seconds.labels("pump").observe(0.0004)
    old = Scrape(metrics.render().decode(), 0.0)
    for _ in range(10):
        metrics.inference_seconds.labels("pump").observe(0.03)
    new = Scrape(metrics.render().decode(), 1.0)
    recent = quantile(old, new, 0.5, "inference_seconds")
    assert recent is not None
    assert 0.025 < recent <= 0.05
    whole = quantile(new, new, 0.5, "inference_seconds")  # nothing came: of all
    assert whole is not None
    assert whole < 0.001
    assert quantile(old, new, 0.5, "inference_seconds", model="fan") is None


def test_a_quantile_above_all_bounds_is_the_last_bound() -> None:
    metrics = Metrics()
    metrics.inference_seconds.labels("pump").observe(99.0)
    found = Scrape(metrics.render().decode(), 0.0)
    assert quantile(found, found, 0.5, "inference_seconds") == 1.0


# Pictures -----------------------------------------------------------------------------------------


async def test_one_picture_has_the_worst_of_all_and_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("LANG", "C")
    lines = (await printed(capsys, "--once")).splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert len(lines) <= 24
    assert max(map(columns_of, lines)) <= 80
    assert lines[0].startswith("edge-agent gw-07  acme/hamburg/water/line1  0.1.0  up")
    assert lines[1] == "machines 500:  1 well  1 fair  1 ill  497 without a score"
    assert lines[2] == "alarms 3:  2 to acknowledge  (2 high)"
    assert "12 wait oldest 95 s" in text
    assert "P-042.model unack critical P-042: bearing wear, drive end" in text
    assert "P-042 alarm 34% ###......." in text
    assert "pump-vibration" in text
    assert "… 494 more" in text
    assert "\x1b" not in text


async def test_the_facts_are_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, Any] = json.loads(await printed(capsys, "--json"))
    assert facts["machines"] == {
        "total": 500,
        "well": 1,
        "fair": 1,
        "ill": 1,
        "without_score": 497,
        "unjudged": 0,
    }
    assert facts["alarms"] == {"open": 3, "unacknowledged": 2, "by_priority": {"high": 2}}
    assert facts["latency"]["alarm_p50"] == pytest.approx(0.075)
    assert facts["sinks"][0]["rows"] == 12
    assert facts["worst"][0]["id"] == "P-042"
    assert len(facts["worst"]) == 100


async def test_names_from_the_plant_cannot_draw_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An alarm or a model whose name holds control characters."""
    status = ListStatus([], [alarm_row("P-1\x1b[2J.m")], [model_row(name="\x1b]0;x\x07")])
    assert not set("\x1b\x07") & set(await printed(capsys, status=status))


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (20, 3), (80, 1)])
async def test_a_picture_fits_every_terminal(
    capsys: pytest.CaptureFixture[str], size: tuple[int, int]
) -> None:
    facts = json.loads(await printed(capsys, "--json"))
    facts["open_alarms"][0]["message"] = {"en": "泵的轴承磨损" * 20}
    facts["troubles"] = ["a long trouble " * 20] * 5
    lines = view(facts, *size, colour=False)
    assert len(lines) <= size[1]
    assert max(map(columns_of, lines)) <= size[0]


def test_wide_characters_take_two_columns() -> None:
    assert (columns_of("泵a"), clipped("泵泵泵", 4), clipped("泵泵", 4)) == (3, "泵…", "泵泵")


def test_without_a_daemon_one_picture_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--url", "http://127.0.0.1:9"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "is the daemon running" in captured.err


async def test_on_a_terminal_it_draws_until_q_and_leaves_it_as_it_was() -> None:
    """With colours and the other screen; the daemon may be away meanwhile."""
    async with serving(plant_of(50), metrics_of_a_plant()) as server:
        url = f"http://127.0.0.1:{server.port}"
        code, seen = await asyncio.to_thread(_on_a_terminal, ["--url", url], b"P-007", b"q")
    assert code == 0
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l")
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l")
    assert b"\x1b[31;1m" in seen


def test_on_a_terminal_it_waits_for_a_daemon() -> None:
    code, seen = _on_a_terminal(["--url", "http://127.0.0.1:9"], b"trying again", b"q")
    assert code == 0
    assert b"no answer" in seen


def _on_a_terminal(words: list[str], awaited: bytes, key: bytes) -> tuple[int, bytes]:
    """Run `top` on a pseudo terminal, press a key once something is seen; exit code and output."""
    main_end, other_end = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "top", *words],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        env=environment,
    ) as process:
        os.close(other_end)
        seen, deadline_s = b"", time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            if not select.select([main_end], [], [], 1.0)[0]:
                continue
            try:
                seen += os.read(main_end, 65_536)
            except OSError:  # the other end is closed
                break
            if awaited in seen and key:
                os.write(main_end, key)
                key = b""
        process.kill()
    os.close(main_end)
    return process.returncode, seen
