"""`edge-agent run`: what the process of the daemon lets nobody have."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from edge_agent.cli.run import forbid_core_dumps
{call}
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.parametrize(("call", "said"), [("forbid_core_dumps()", "0 0 0"), ("", "1 ")])
def test_the_daemon_leaves_no_core_dump(call: str, said: str) -> None:
    """By its flag (prctl(2)), whatever the kernel does with cores, and by its limit."""
    command = [sys.executable, "-c", PROGRAM.format(call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)
