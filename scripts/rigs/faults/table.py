"""All promises, by number."""

from __future__ import annotations

from typing import Final

from scripts.rigs.faults.reliability import RELIABILITY
from scripts.rigs.faults.security import SECURITY

PROMISES: Final = tuple(sorted((*RELIABILITY, *SECURITY), key=lambda one: one.number))
