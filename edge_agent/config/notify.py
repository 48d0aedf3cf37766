"""Routes: who is told of which alarms, when it is quiet, and who is told if nobody answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from edge_agent.config.local_time import Day, hours_problems
from edge_agent.config.types import Between, Duration, Name
from edge_agent.messages import TransitionKind

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet hours: from `start` to `end` by the plant's clock, also over midnight."""

    start: str = "22:00"
    end: str = "06:00"
    days: tuple[Day, ...] = tuple(Day)  # on which they begin

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        yield from hours_problems(self.start, self.end)
        if self.start == self.end:
            yield "end", "is the same as start: write two entries, or 00:00 and 23:59"


@dataclass(frozen=True, slots=True)
class Route:
    """A sink that tells people, and which alarms it tells."""

    sink: Name = Name("")
    language: str = ""  # default: the first of alarms.languages
    severity: Annotated[int, Between(1, 1000)] = 1  # at least
    assets: tuple[str, ...] = ("*",)  # ids; * stands for any text
    events: tuple[TransitionKind, ...] = (TransitionKind.RAISE,)
    quiet: tuple[Quiet, ...] = ()
    pass_severity: Annotated[int, Between(1, 1001)] = 801  # is told in quiet hours too
    # More messages than this in the time are held, and told as one when it has passed.
    limit: Annotated[int, Between(1, 10_000)] = 30
    limit_window: Annotated[Duration, Between(10, 86_400)] = Duration(600)
    escalate_after: Annotated[Duration, Between(10, 604_800)] | None = None
    escalate_to: Name = Name("")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.sink:
            yield "sink", "name a sink: a webhook with a template, or smtp"
        if bool(self.escalate_to) != (self.escalate_after is not None):
            yield "escalate_to", "escalate_after and escalate_to belong together"


@dataclass(frozen=True, slots=True)
class Notify:
    """Messages to people."""

    timezone: str = ""  # of quiet hours and of times in messages; default: the gateway's
    url: str = ""  # of the status page, for the link in messages
    routes: dict[Name, Route] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if self.timezone and not _is_zone(self.timezone):
            yield "timezone", f"{self.timezone!r} is no time zone such as Europe/Berlin"
        if self.url and not self.url.startswith(("http://", "https://")):
            yield "url", "write http://host:port/ or https://host:port/"
        for name, route in self.routes.items():
            if route.escalate_to and route.escalate_to not in self.routes:
                yield f"routes.{name}.escalate_to", f"there is no route {route.escalate_to!r}"
            elif self._is_circle(name):
                yield f"routes.{name}.escalate_to", "leads back to this route"

    def _is_circle(self, name: Name) -> bool:
        seen: set[str] = set()
        at = name
        while at in self.routes and at not in seen:
            seen.add(at)
            at = self.routes[at].escalate_to
        return at == name


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True
