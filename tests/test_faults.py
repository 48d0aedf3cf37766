"""`scripts/faults`: its table is sound, and its verdicts are strict."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.store import Store
from scripts.rigs import ROOT
from scripts.rigs.faults import report, runner, soak, unprotected
from scripts.rigs.faults.__main__ import select
from scripts.rigs.faults.promises import Control, Measured, Need, Outcome, Promise, Run
from scripts.rigs.faults.runner import BROKEN, HELD, NOT_RUN, Result, examine
from scripts.rigs.faults.soak import Sample
from scripts.rigs.faults.table import PROMISES

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.rigs.faults.promises import Rig

PLAIN = Promise(1, "a", "a promise")
OFF = Control("something")


def examined(promise: Promise) -> Result:
    return examine(promise, Run(Path(), quick=True, protected=True, tell=lambda _: None))


def rig(*, holds: bool, without: bool) -> Rig:
    return lambda run: Measured("1 of 2", holds if run.protected else without)


def functions_of(file: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one.name)
def test_every_test_of_the_table_is_there(promise: Promise) -> None:
    control = promise.control or OFF
    for test in (*promise.tests, *control.tests, *control.failing):
        name, _, function = test.partition("::")
        assert (ROOT / "tests" / name).is_file(), test
        wanted = function.partition("[")[0]
        assert not wanted or wanted in functions_of(ROOT / "tests" / name), test


def test_every_number_is_there_and_every_name_is_used_once() -> None:
    """The list of promises has 21 numbers."""
    assert len({one.name for one in PROMISES}) == len(PROMISES)
    assert {one.number for one in PROMISES} == set(range(1, 22))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one.name)
def test_a_row_has_something_to_run_and_its_protection_exists(promise: Promise) -> None:
    assert bool(promise.tests or promise.rig) != bool(promise.unmeasured)
    if promise.control is not None:
        control = promise.control
        assert bool(control.failing) == bool(control.without)
        assert not control.without or hasattr(unprotected, control.without)
        assert control.tests or control.failing or promise.rig


@pytest.mark.parametrize(
    ("holds", "without", "verdict"),
    [(True, False, HELD), (False, False, BROKEN), (True, True, BROKEN), (False, True, BROKEN)],
)
def test_a_promise_holds_only_if_its_control_fails(
    *, holds: bool, without: bool, verdict: str
) -> None:
    made = dataclasses.replace(PLAIN, rig=rig(holds=holds, without=without), control=OFF)
    assert examined(made).verdict == verdict


def test_a_rig_that_breaks_is_broken_in_the_control_too() -> None:
    """A control whose rig does not even start proves nothing."""

    def broken(run: Run) -> Measured:
        if run.protected:
            return Measured("fine", holds=True)
        raise OSError("no port")

    assert examined(dataclasses.replace(PLAIN, rig=broken, control=OFF)).verdict == BROKEN


def test_what_is_missing_is_not_run_and_says_how_to_get_it() -> None:
    need = Need("a broker", lambda: False, "apt-get install it")
    found = examined(dataclasses.replace(PLAIN, rig=rig(holds=True, without=False), needs=(need,)))
    assert (found.verdict, found.why) == (NOT_RUN, "a broker is missing: apt-get install it")


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome(passed=["t"]), HELD),
        (Outcome(passed=["t"], failed=["u"]), BROKEN),
        (Outcome(passed=["t"], skipped={"u": "no root"}), NOT_RUN),
        (Outcome(passed=["t"], failed=["v"], skipped={"u": "no root"}), BROKEN),
    ],
)
def test_a_skipped_test_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, verdict: str
) -> None:
    monkeypatch.setattr(runner, "run_tests", lambda *_, **__: outcome)
    assert examined(dataclasses.replace(PLAIN, tests=("t",))).verdict == verdict


def test_tests_run_with_their_figures_and_their_protection_off() -> None:
    """The real pytest, on this file's own last test."""
    own = "test_faults.py::test_of_the_protection_itself"
    assert runner.run_tests((own,)).figures == ["1 measured"]
    without = runner.run_tests((own,), without="forgotten_messages")
    assert without.failed == [f"tests/{own}"]
    assert runner.run_tests(("test_faults.py::test_that_does_not_exist",)).failed


def test_of_the_protection_itself(record_property: Callable[[str, object], None]) -> None:
    """Run by the test above, with and without: `unprotected` is its protection."""
    record_property("figure", "1 measured")
    assert Store.open.__name__ == "open"


def test_results_are_merged_and_a_missing_program_forgets_no_figure(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    other = dataclasses.replace(PLAIN, name="b", number=2)
    report.save(file, [Result(PLAIN, HELD, "1 of 1"), Result(other, HELD, "2 of 2")], quick=False)
    report.save(file, [Result(other, NOT_RUN), Result(PLAIN, BROKEN, "0 of 1")], quick=False)
    found = json.loads(file.read_text())
    assert [(name, one["verdict"], one["figure"]) for name, one in found.items()] == [
        ("a", BROKEN, "0 of 1"),
        ("b", HELD, "2 of 2"),
    ]


def test_promises_are_selected_by_number_and_name() -> None:
    assert {one.number for one in select(["5"], quick=False)} == {5}
    assert [one.name for one in select(["store-fails"], quick=False)] == ["store-fails"]
    assert select(["5", "no-such"], quick=False) == []


@pytest.mark.parametrize("page", sorted({one.page for one in PROMISES}))
def test_the_tables_of_docs_are_current(page: str) -> None:
    """`scripts/faults --write-docs` writes them from the table and docs/faults.json."""
    text = report.page_of(page).read_text()
    mine = [one for one in PROMISES if one.page == page]
    assert report.with_table(text, mine, report.load()) == text


def samples_of(
    minutes: int, slope_mib_h: float, *, children_until: int = 0, per_h: int = 0
) -> list[Sample]:
    """One every six seconds, with a saw of 1 MiB."""
    return [
        Sample(
            minute * 60.0,
            100 + slope_mib_h * minute / 60 + n % 10 / 10 + 20 * (minute >= children_until),
            120.0 if minute < children_until else 0.0,
            18 + int(per_h * minute / 60),
            8,
            14,
        )
        for n, minute in enumerate(m / 10 for m in range(minutes * 10))
    ]


@pytest.mark.parametrize(
    ("samples", "holds"),
    [
        (samples_of(120, 0.0), True),
        (samples_of(120, 6.0), False),
        (samples_of(120, 0.0, children_until=60), True),
        (samples_of(120, 6.0, children_until=60), False),
        (samples_of(120, 0.0, per_h=6), False),
    ],
    ids=["steady", "memory", "a model moves into the daemon", "and grows", "descriptors"],
)
def test_a_soak_finds_what_grows(samples: list[Sample], *, holds: bool) -> None:
    """A proven model moves into the daemon after an hour: a step of its memory is no growth."""
    assert soak.verdict_of(samples, missing=0, alarms=100, share=1.0).holds == holds


def test_a_soak_that_misses_an_alarm_is_broken() -> None:
    samples = samples_of(120, 0.0)
    assert not soak.verdict_of(samples, missing=1, alarms=100, share=1.0).holds
