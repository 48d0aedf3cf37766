"""The bottleneck of a running line: asked in a process, answered, published, raised as an alarm."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
from line_tables import slow_second

from edge_agent.alarms import AlarmCatalogue
from edge_agent.clock import FakeClock
from edge_agent.config.lines import Line, LineBottleneck, LineMachine
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.daemon import line_analyses
from edge_agent.daemon.line_analyses import LineAnalyses, observation_of, products
from edge_agent.errors import NotFoundError
from edge_agent.insight import LineBook, LineSignals
from edge_agent.ops.metrics import Metrics
from edge_agent.service.bottleneck_api import table_of
from scripts.rigs.lines import data_of

if TYPE_CHECKING:
    from edge_agent.messages import Observation

BEGIN_US = 1_772_431_200_000_000  # 2026-03-02T06:00Z
NAMES = ("S1", "S2", "S3")
SCHEMA = json.loads(resources.files("edge_agent.insight").joinpath("kpi.schema.json").read_text())
LIMIT = {**SCHEMA["$defs"]["bottleneck"], "$defs": SCHEMA["$defs"]}


class Gateway:
    """A line of three machines with four hours behind it; its thread is this one."""

    def __init__(self, **config: Any) -> None:
        line, recorded = slow_second()
        self.data = data_of(line, recorded)
        machines = {name: LineMachine(packml="state") for name in NAMES}
        self.line = Line(machines, bottleneck=LineBottleneck(**config))
        self.clock = FakeClock(self.data.to_ns // 1000)
        self.metrics = Metrics()
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.seen: list[Observation] = []
        shift = {"start_ms": self.data.from_ns // 1_000_000}
        self.book: Any = SimpleNamespace(
            lines={"main": self.line},
            log=lambda _: self.data.log,
            counts=lambda _: self.data.counts,
            current=lambda _: {"current": shift},
        )
        self.config: Any = SimpleNamespace(lines={"main": self.line, "other": Line(machines)})
        self.analyses = LineAnalyses(
            lambda: self.config,
            self._ask,
            lambda: self.book,
            self._publish,
            self._observe,
            self.metrics,
            self.clock,
        )

    async def _ask(self, question: Any, *args: Any) -> Any:
        return question(*args)

    async def _publish(self, line: str, answer: Any) -> None:
        self.published.append((line, answer))

    async def _observe(self, seen: Observation) -> None:
        self.seen.append(seen)


async def test_a_line_is_looked_at_and_told_everywhere() -> None:
    """One look gives the API, the bus and the metrics the same name; the next waits for `every`."""
    gateway = Gateway(drift_alarm=True)
    with pytest.raises(NotFoundError, match="not looked at yet"):
        gateway.analyses.row("main")
    await gateway.analyses.look()
    answer = gateway.analyses.row("main")
    assert (answer["shift"]["verdict"], answer["shift"]["named"]) == ("named", ["S2"])
    assert gateway.analyses.rows() == [answer]
    assert gateway.published == [("main", answer)]
    jsonschema.validate(answer, LIMIT)
    shown = gateway.metrics.render().decode()
    assert 'edge_agent_line_bottleneck{asset="S2",line="main"} 1.0' in shown
    assert 'edge_agent_line_bottleneck{asset="S1",line="main"} 0.0' in shown
    assert [one.alarm_id for one in gateway.seen] == ["S1.cycle", "S2.cycle", "S3.cycle"]
    assert [one.level for one in gateway.seen] == [0.0, 0.0, 0.0]
    await gateway.analyses.look()
    assert len(gateway.published) == 1
    gateway.clock.advance(301)
    await gateway.analyses.look()
    assert len(gateway.published) == 2


async def test_a_line_that_does_not_ask_for_it_is_left_alone() -> None:
    """Without the section there is no answer, and the error names the key."""
    gateway = Gateway()
    await gateway.analyses.look()
    assert [line for line, _ in gateway.published] == ["main"]
    with pytest.raises(NotFoundError) as found:
        gateway.analyses.row("other")
    assert "lines.other.bottleneck" in str(found.value)
    assert gateway.seen == []


async def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer in time is no answer; the old one stays, and the next look comes."""
    gateway = Gateway()
    monkeypatch.setattr(line_analyses, "TIMEOUT_S", 0.0)
    await gateway.analyses.look()
    assert gateway.published == []
    assert gateway.analyses.rows() == []


async def test_a_process_that_fails_is_no_fault_of_the_daemon() -> None:
    """Bytes that are no question end the process with an error, which is logged."""
    assert await line_analyses.answer_of(b"nothing", "main") is None


def drift_row(**changed: Any) -> dict[str, Any]:
    row = {
        "machine": "S2",
        "drifts": True,
        "limit": 0.05,
        "change": 0.1,
        "before_s": 30.0,
        "now_s": 33.0,
        "explained": [
            {"signal": "torque", "kind": "follows", "rank": 0.8, "before": 5.0, "after": 8.0},
        ],
    }
    return row | changed


def test_a_drift_is_an_alarm_with_its_signals() -> None:
    """The level is how far it is over its limit; only signals that follow it are contributors."""
    seen = observation_of(drift_row(), 7)
    assert (seen.alarm_id, seen.level, seen.at_us) == ("S2.cycle", 2.0, 7)
    assert seen.detail.message_args["signals"] == "torque"
    assert [one.input for one in seen.detail.contributors] == ["torque"]
    moved = [{"signal": "hall", "kind": "moved_too", "rank": 0.0, "before": 1.0, "after": 2.0}]
    other = observation_of(drift_row(explained=moved), 7)
    assert other.detail.contributors == ()
    assert "signals" not in other.detail.message_args
    assert observation_of(drift_row(drifts=False), 7).level == 0.0


def test_only_asked_for_cycles_are_in_the_catalogue() -> None:
    """The alarm of a cycle exists for machines of lines that want it; low, maintenance required."""
    asset: Any = SimpleNamespace(
        id="S2",
        path="a/b",
        signals={},
        cameras={},
        template=SimpleNamespace(quality_alarm=None, learn=None, models=()),
    )
    gateway: Any = SimpleNamespace(id="gw")
    catalogue = AlarmCatalogue(gateway, cycles={"S2"})
    catalogue.add_asset(asset)
    policy = catalogue.policy_of("S2.cycle")
    assert policy is not None
    assert (policy.rule.severity, policy.rule.ne107) == (300, "maintenance_required")
    catalogue = AlarmCatalogue(gateway)
    catalogue.add_asset(asset)
    assert catalogue.policy_of("S2.cycle") is None


def test_the_product_of_each_part_comes_from_its_signal() -> None:
    """The newest mean of the signal before a part was counted is its product."""
    gateway = Gateway()
    data = gateway.data
    machines = {name: LineMachine(packml="state", product="type") for name in NAMES}
    middle_s = (data.from_ns + data.to_ns) / 2e9
    series = (np.array([data.from_ns / 1e9, middle_s]), np.array([7.0, 8.0]))
    found = products(data, replace(gateway.line, machines=machines), {"S1": {"type": series}})
    mine = data.counts.machine == 0
    late = data.counts.at_ns >= middle_s * 1e9
    assert set(found[mine & ~late].tolist()) == {7}
    assert set(found[mine & late].tolist()) == {8}
    assert set(found[~mine].tolist()) == {0}


async def test_the_table_for_spreadsheets() -> None:
    """A row for each machine, over the shift and now."""
    gateway = Gateway()
    await gateway.analyses.look()
    rows = list(csv.DictReader(io.StringIO(table_of(gateway.analyses.row("main")).decode())))
    assert [(row["span"], row["machine"]) for row in rows] == [
        (span, name) for span in ("shift", "now") for name in NAMES
    ]
    assert float(rows[1]["faster_parts_per_h"]) > float(rows[0]["faster_parts_per_h"])


RULES = """\
states:
  - {state: running, when: State == 0}
  - {state: blocked, when: State == 2}
  - {state: starved, when: State == 3}
  - {state: down, when: State == 4}
parts: Parts
"""


def book_of_signals() -> LineBook:
    """A real book of lines that got the states and the counters of the recorded line as values."""
    line, recorded = slow_second()
    machine = parse_struct(RULES, Path(__file__), LineMachine)
    config = Line(dict.fromkeys(NAMES, machine), bottleneck=LineBottleneck())
    book = LineBook({Name("main"): config}, {}, BEGIN_US)
    numbers = {name: {"State": 2 * at, "Parts": 2 * at + 1} for at, name in enumerate(NAMES)}
    book.bind(LineSignals(numbers, np.full(6, 1 << 60, np.int64)))
    begin_s = min(row[2] for row in recorded.rows)
    values = [(2 * at, a - begin_s, state) for at, state, a, _ in recorded.rows]
    counted = dict.fromkeys(range(line.stations), 0)
    values += [(2 * at + 1, 0.0, 0) for at in counted]
    for at, when_s in recorded.parts:
        counted[at] += 1
        values.append((2 * at + 1, when_s - begin_s, counted[at]))
    signal, when, value = (
        np.array(column) for column in zip(*sorted(values, key=_when), strict=True)
    )
    time_us = BEGIN_US + (when * 1e6).astype(np.int64)
    book.accept(signal.astype(np.intp), time_us, value.astype(np.float64))
    book.finish(BEGIN_US + round((max(row[3] for row in recorded.rows) - begin_s) * 1e6))
    return book


def _when(value: tuple[int, float, float]) -> float:
    return value[1]


async def test_from_the_values_of_signals_to_the_name() -> None:
    """States by rules and counters of a real book give the same name."""
    gateway = Gateway()
    gateway.book = book = book_of_signals()
    gateway.config.lines = book.lines
    gateway.clock = FakeClock(book.machines[0].until_ns // 1000)
    gateway.analyses._clock = gateway.clock
    await gateway.analyses.look()
    shift = gateway.analyses.row("main")["shift"]
    assert (shift["verdict"], shift["named"], shift["by_active"]) == ("named", ["S2"], "S2")
    assert shift["coverage"] > 0.99
    assert shift["parts_per_h"] == pytest.approx(110, rel=0.15)
