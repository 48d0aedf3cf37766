"""Run all checks of a file in a Python that has torch: python tests/factory/run_checks.py FILE.

A check is a function without arguments that returns nothing. Prints {check: traceback or ""} as
JSON. A process of its own, because torch need not be installed and its dependencies warn.
"""

from __future__ import annotations

import inspect
import json
import runpy
import sys
import traceback
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def is_check(value: object, file: str) -> bool:
    """Whether a global of the file is a check."""
    if not inspect.isfunction(value) or value.__code__.co_filename != file:
        return False
    signature = inspect.signature(value)
    return not signature.parameters and signature.return_annotation == "None"


def outcome(check: Callable[[], Any]) -> str:
    torch.manual_seed(0)
    try:
        check()
    except Exception:  # noqa: BLE001 (told to the test, which fails)
        return traceback.format_exc()
    return ""


def main(file: str) -> None:
    torch.set_num_threads(1)
    found = runpy.run_path(file)
    checks = {name: value for name, value in found.items() if is_check(value, file)}
    sys.stdout.write(json.dumps({name: outcome(check) for name, check in checks.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
