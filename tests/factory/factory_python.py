"""The Python that has torch; without it what needs torch is skipped.

EDGE_AGENT_FACTORY_PYTHON names that Python; `EDGE_AGENT_FACTORY=1 scripts/test` makes one. Without
it the Python that runs the tests is tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from scripts.rigs import ROOT

PYTHON = os.environ.get("EDGE_AGENT_FACTORY_PYTHON", sys.executable)
# That Python need not have edge_agent installed.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
_NEEDED = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
_PACKAGES = ("torch", "optimum", "sklearn", "matplotlib", "tqdm")


@cache
def has_torch() -> bool:
    command = [PYTHON, "-c", _NEEDED, *_PACKAGES]
    return subprocess.run(command, check=False, timeout=60).returncode == 0


needs_torch = pytest.mark.skipif(
    not has_torch(), reason="the extra compress is not installed (EDGE_AGENT_FACTORY=1)"
)


def factory_run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run that Python to its end; an error of its is ours."""
    return subprocess.run(
        [PYTHON, *words], capture_output=True, text=True, timeout=300, check=True, env=ENVIRONMENT
    )
