"""The SDK works where nothing else of this package, and none of its dependencies, is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import edge_agent

ROOT = Path(edge_agent.__file__).parents[1]
# Nothing but the standard library and edge_agent can be imported, and of this only the client.
CODE = """
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        ours = name == "edge_agent" or name.startswith("edge_agent.client")
        if not ours and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Guard())
sys.path.insert(0, sys.argv[1])
from edge_agent.client import AsyncClient, Client, UnreachableError
try:
    Client("http://127.0.0.1:1", retries=0).models()
except UnreachableError:
    print(*sorted(name for name in sys.modules if name.startswith("edge_agent")))
import {more}
"""


def run(more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", CODE.replace("{more}", more), str(ROOT)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_needs_the_standard_library_alone() -> None:
    done = run("json")
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert loaded[0] == "edge_agent"
    assert all(name.startswith("edge_agent.client") for name in loaded[1:])


def test_the_guard_above_can_fail() -> None:
    for more in ("numpy", "edge_agent.errors"):
        assert run(more).returncode == 1


def test_the_extra_brings_no_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["optional-dependencies"]["client"] == []
