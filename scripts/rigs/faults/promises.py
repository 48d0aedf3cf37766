"""What a promise is: its tests, its rig, its negative control, and what it needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.testing import find_mosquitto
from scripts.rigs import find_node_modules

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a machine may lack; install: how to get it."""

    name: str
    is_there: Callable[[], bool]
    install: str


# Debian installs some programs outside a user's PATH.
SBIN: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MOSQUITTO: Final = Need(
    "mosquitto", lambda: find_mosquitto() is not None, "apt-get install mosquitto"
)
NODE_OPCUA: Final = Need(
    "node-opcua", lambda: find_node_modules() is not None, "scripts/test installs it with npm"
)
OPEN62541: Final = Need(
    "o6 (open62541)", lambda: importlib.util.find_spec("o6") is not None, "pip install o6"
)
ROOT_USER: Final = Need("root", lambda: os.geteuid() == 0, "run it as root")
NSPAWN: Final = Need(
    "systemd-nspawn",
    lambda: shutil.which("systemd-nspawn") is not None,
    "apt-get install systemd-container",
)
STRACE: Final = Need("strace", lambda: shutil.which("strace") is not None, "apt-get install strace")
NAMESPACES: Final = Need(
    "unshare and ip",
    lambda: all(shutil.which(one, path=SBIN) for one in ("unshare", "ip")),
    "apt-get install util-linux iproute2",
)
CORE_FILES: Final = Need(
    "a core pattern that names a file of the folder",
    lambda: Path("/proc/sys/kernel/core_pattern").read_text()[:1] not in {"|", "/", "\n"},
    "sysctl kernel.core_pattern=core",
)
USER_MODE_LINUX: Final = Need(
    "linux.uml", lambda: shutil.which("linux.uml") is not None, "apt-get install user-mode-linux"
)
EXT4_TOOLS: Final = Need(
    "mkfs.ext4 and debugfs",
    lambda: (
        shutil.which("debugfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
    ),
    "apt-get install e2fsprogs",
)
ATHERIS: Final = Need(
    "atheris", lambda: importlib.util.find_spec("atheris") is not None, "pip install atheris"
)

SCHEMATHESIS: Final = Need(
    "schemathesis",
    lambda: shutil.which("schemathesis") is not None,
    "pip install schemathesis, in an environment of its own, and put its bin on the PATH",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rig measured, in words, and whether the promise held."""

    figure: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Run:
    """How a rig runs.

    folder: an empty one for its files; quick: the short form, for CI; protected: False for the
    negative control; tell: shows progress; seconds: instead of the rig's own time, 0 for that.
    """

    folder: Path
    quick: bool
    protected: bool
    tell: Callable[[str], None]
    seconds: float = 0.0


class Rig(Protocol):
    """A measurement with real programs; an exception counts as broken."""

    def __call__(self, run: Run, /) -> Measured:
        """Measure; without the protection, `holds` must be False."""
        ...


@dataclass(frozen=True, slots=True)
class Control:
    """The negative control: without the protection, the same steps must fail.

    what: what is switched off, in words. One of:
    - tests: they switch it off themselves and expect the failure, so they must pass;
    - failing: tests that must fail with `without`, a function of `unprotected.py`;
    - neither: the rig runs again with `protected=False`.
    """

    what: str
    tests: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    without: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """A row of the table. tests: pytest ids below `tests/`; number: of the list of promises.

    quick: in the selection of CI; page: of docs/, which shows its figure; unmeasured: why nothing
    runs for it yet, which counts as not run.
    """

    number: int
    name: str
    title: str
    tests: tuple[str, ...] = ()
    rig: Rig | None = None
    control: Control | None = None
    needs: tuple[Need, ...] = ()
    quick: bool = False
    page: str = "reliability"
    unmeasured: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of the tests of one run: by id, and the figures they reported."""

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # id: reason
    figures: list[str] = field(default_factory=list)
    output: str = ""
