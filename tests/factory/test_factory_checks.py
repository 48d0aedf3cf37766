"""The parts of the factory that need torch: checks run by a Python that has it."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest
from factory_python import factory_run, needs_torch

HERE = Path(__file__).parent
FILES = (
    "torch_checks.py",
    "bearing_checks.py",
    "turbofan_checks.py",
    "history_checks.py",
    "picture_checks.py",
)


def checks(file: str) -> list[str]:
    """The names of a file's checks, read without importing torch."""
    functions = (
        each
        for each in ast.parse((HERE / file).read_text()).body
        if isinstance(each, ast.FunctionDef)
    )
    return [
        each.name
        for each in functions
        if not each.args.args and each.returns is not None and ast.unparse(each.returns) == "None"
    ]


@cache
def outcomes(file: str) -> dict[str, str]:
    """What is wrong by check, "" if nothing is; one process for all of a file."""
    done = factory_run(str(HERE / "run_checks.py"), str(HERE / file))
    found: dict[str, str] = json.loads(done.stdout)
    return found


@needs_torch
@pytest.mark.parametrize(("file", "check"), [(file, one) for file in FILES for one in checks(file)])
def test_with_torch(file: str, check: str) -> None:
    """Each check is named for what it pins."""
    assert not outcomes(file)[check], outcomes(file)[check]
