"""The bearing model's parts: run by a Python that has torch, in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("bearing_checks.py")
PYTHON = os.environ.get("EDGE_AGENT_FACTORY_PYTHON", sys.executable)
NEEDED = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
PACKAGES = ("torch", "sklearn")


def checks() -> list[str]:
    """The names of the checks, read without importing torch."""
    tree = ast.parse(CHECKS.read_text())
    plain = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    return [name for name in plain if name not in {"main", "learned"}]


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    command = [PYTHON, "-c", NEEDED, *PACKAGES]
    if subprocess.run(command, check=False, timeout=60).returncode:
        pytest.skip("the extra compress is not installed (EDGE_AGENT_FACTORY=1)")
    done = subprocess.run(
        [PYTHON, str(CHECKS)], capture_output=True, text=True, timeout=300, check=True
    )
    result: dict[str, str] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("check", checks())
def test_with_torch(check: str, found: dict[str, str]) -> None:
    assert not found[check], found[check]
