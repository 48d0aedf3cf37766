"""What probes look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config


@dataclass(frozen=True, slots=True)
class Examined:
    """A config and its surroundings.

    path: of its file; seconds: for how long to wait for messages; url: where the running daemon
    answers, None if the config has no HTTP; ask: the body that (URL, path) gives, EdgeAgentError if
    nobody answers.
    """

    config: Config
    path: Path
    seconds: float
    clock: Clock
    url: str | None
    ask: Callable[[str, str], bytes]
