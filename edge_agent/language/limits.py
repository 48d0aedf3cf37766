"""The limits of a child process, from now on; nice 19, and the first to go if memory is short."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

_IDLE: Final = 19


def limit_memory(memory_bytes: int, nice: int = _IDLE) -> None:
    """Allow this process so much memory in addition to what it has."""
    with suppress(OSError):  # our systemd unit forbids it
        lowest = max(nice, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, lowest)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _set(resource.RLIMIT_AS, used + memory_bytes)
    _set(resource.RLIMIT_CORE, 0)


def limit_reader(memory_bytes: int, cpu_s: float) -> None:
    """The same for a reader of strangers' files: it writes none, and its work has an end."""
    limit_memory(memory_bytes)
    _set(resource.RLIMIT_CPU, max(1, round(cpu_s)))
    _set(resource.RLIMIT_FSIZE, 0)


def _set(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))
