"""The selection of `scripts/faults` that runs in CI, in its short forms, each with its control."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.rigs.faults.promises import Promise, Run
from scripts.rigs.faults.runner import HELD, NOT_RUN, examine
from scripts.rigs.faults.table import PROMISES

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize(
    "promise", [one for one in PROMISES if one.quick], ids=lambda one: one.name
)
def test_the_promise_is_held_and_its_control_fails(promise: Promise) -> None:
    result = examine(promise, Run(Path(), quick=True, protected=True, tell=lambda _: None))
    if result.verdict == NOT_RUN:
        pytest.skip(result.why)
    print(result.figure, result.control)  # noqa: T201
    assert result.verdict == HELD, result.why
