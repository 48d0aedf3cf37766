"""What a package is made for: a processor and a version of Python; and what a lock means there."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Final

from packaging.requirements import Requirement

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's word: the kernel's word
GLIBC: Final = ("2_28", "2_27", "2_17")  # of manylinux wheels that Debian 12 and RHEL 8 can load
_NAMED: Final = re.compile(r"^[A-Za-z0-9]", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """A processor (Debian's word) and a Python ("3.11")."""

    arch: str
    python: str

    @property
    def machine(self) -> str:
        """The processor as the kernel and wheels name it."""
        return MACHINES[self.arch]

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that run there."""
        return [
            *(f"manylinux_{one}_{self.machine}" for one in GLIBC),
            f"manylinux2014_{self.machine}",
        ]

    @property
    def markers(self) -> dict[str, str]:
        """The environment markers of a lock there (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def main() -> int:
    """Print the lock on stdin as it is for a machine and a Python: two arguments."""
    machine, python = sys.argv[1:]
    arch = next((arch for arch, name in MACHINES.items() if machine in {arch, name}), None)
    if arch is None:
        print(f"{machine}: not one of {', '.join(MACHINES.values())}", file=sys.stderr)
        return 2
    print(lock_for(sys.stdin.read(), Target(arch, python)), end="")
    return 0


def lock_for(text: str, target: Target) -> str:
    """The entries of a lock that apply to a target, without markers.

    pip judges markers by the Python that runs it, also when it collects wheels for another one.
    """
    starts = [match.start() for match in _NAMED.finditer(text)]
    ends = [*starts[1:], len(text)]
    entries = (text[start:end] for start, end in zip(starts, ends, strict=True))
    return "".join(kept for entry in entries if (kept := _entry_for(entry, target)))


def _entry_for(entry: str, target: Target) -> str:
    head, hashes = entry.split("\\\n", 1)
    requirement = Requirement(head.strip())
    if requirement.marker and not requirement.marker.evaluate(dict(target.markers)):
        return ""
    requirement.marker = None
    return f"{requirement} \\\n{hashes}"


if __name__ == "__main__":
    raise SystemExit(main())
