"""The turbofan recipe's parts that need torch: run by a Python that has it, else skipped."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from test_factory_torch import PYTHON, needs_torch

CHECKS = Path(__file__).with_name("turbofan_checks.py")


@needs_torch
def test_wear_features_interval_and_int8_weights_are_what_they_say() -> None:
    """Nine checks, each named for what it pins."""
    done = subprocess.run(
        [PYTHON, str(CHECKS)], capture_output=True, text=True, timeout=300, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    assert len(found) == 9
    assert not any(found.values()), "\n".join(filter(None, found.values()))
