"""The findings of an examination: plain data for `check --connect`, `doctor` and their `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Severity(StrEnum):
    """ERROR: something does not work or is not monitored. WARNING: it works, but needs a check."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


RANKS: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.OK: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    where: a part of the config (`source plc`, `http`), a file or a signal; what: the result;
    mend: the fix, empty if none is needed. No field ever contains a secret.
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
    """A finding that needs a check by a person."""
    return Finding(Severity.WARNING, where, what, mend)


def fine(where: str, what: str = "ok") -> Finding:
    """A finding of a check that passed."""
    return Finding(Severity.OK, where, what)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, the most severe first, otherwise in their order."""
    return sorted(dict.fromkeys(findings), key=lambda one: RANKS[one.severity])


def first_of(names: Sequence[str], most: int = 5) -> str:
    """`a, b, c and 7 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
