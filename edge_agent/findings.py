"""What an examination found: plain data for `check --connect`, `doctor` and their `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Severity(StrEnum):
    """ERROR: it does not work, or something is not watched. WARNING: it works, but look at it."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


RANKS: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.OK: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    where: a part of the config (`source plc`, `http`), a file or a signal; what: what is there;
    mend: what to do about it, empty if nothing. No field ever holds a secret.
    """

    severity: Severity
    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.mend})" if self.mend else "")


def error(where: str, what: str, mend: str = "") -> Finding:
    """A finding that makes the examination fail."""
    return Finding(Severity.ERROR, where, what, mend)


def warning(where: str, what: str, mend: str = "") -> Finding:
    """A finding that somebody should look at."""
    return Finding(Severity.WARNING, where, what, mend)


def fine(where: str, what: str = "ok") -> Finding:
    """A finding that all is as it should be."""
    return Finding(Severity.OK, where, what)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, the most severe first, else in the order in which they were found."""
    return sorted(dict.fromkeys(findings), key=lambda one: RANKS[one.severity])


def first_of(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c and 7 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
