"""What the daemon tells about itself: the rows that `/api` gives and the page shows.

Times are milliseconds since the epoch. docs/http.md shows each row as JSON.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, Protocol, TypedDict

from edge_agent.errors import EdgeAgentError

CommandKind = Literal[
    "ack",
    "shelve",
    "unshelve",
    "suppress",
    "unsuppress",
    "remove_from_service",
    "return_to_service",
]
COMMANDS: Final[tuple[CommandKind, ...]] = CommandKind.__args__  # type: ignore[attr-defined]


class UnknownAlarmError(EdgeAgentError):
    """A command names an alarm that does not exist."""


class LinkRow(TypedDict):
    """A source or sink; `state` is a `LinkState`."""

    name: str
    type: str
    state: str
    detail: str
    since_ms: int


class ModelRow(TypedDict):
    """An active model; `assets` counts those it watches, `provider` is the one in use."""

    name: str
    version: str
    assets: int
    provider: str


class LearningRow(TypedDict):
    """An asset that learns its baseline; `progress` 0..1."""

    asset: str
    progress: float


class OutboxRow(TypedDict):
    """Messages that wait for one sink."""

    sink: str
    rows: int
    bytes: int
    oldest_s: float


class Summary(TypedDict):
    """The daemon at a glance."""

    gateway: str
    version: str
    uptime_s: float
    sources: list[LinkRow]
    sinks: list[LinkRow]
    models: list[ModelRow]
    learning: list[LearningRow]
    outbox: list[OutboxRow]


class InputRow(TypedDict):
    """The latest value of a signal; quality `good`, `uncertain`, `bad` or `stale`."""

    name: str
    value: float | None
    unit: str
    time_ms: int | None
    quality: str


class AssetRow(TypedDict):
    """A machine.

    state: `normal`, `abnormal` (a score over its limit), `no_data` (inputs bad or stale),
    `learning` or `no_model`; health 0..1; score and limit of the model that is nearest to its
    limit; alarms: how many are not normal.
    """

    id: str
    path: str
    state: str
    health: float | None
    score: float | None
    limit: NotRequired[float | None]
    inputs: list[InputRow]
    alarms: int


class StatusProvider(Protocol):
    """What the HTTP server asks the daemon. All but `history` and `command` return at once."""

    def live(self) -> tuple[bool, str]:
        """Whether the process does its work, and if not why."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether all sources and sinks are started, with the state of each."""

    def summary(self) -> Summary:
        """The daemon at a glance."""

    def assets(self) -> list[AssetRow]:
        """All assets."""

    def alarms(self, state: str | None) -> list[dict[str, Any]]:
        """Alarms in `state`; without it all that are not normal. Rows as docs/http.md says."""

    async def history(
        self, asset: str | None, alarm_id: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Past transitions, newest first, at most `limit`."""

    async def command(
        self, kind: CommandKind, alarm_id: str, actor: str, duration_s: float | None
    ) -> dict[str, Any]:
        """Carry out an operator's command and return the alarm's row.

        Raises UnknownAlarmError, UsageError for arguments that do not fit, and any other
        EdgeAgentError where the alarm's state does not allow it.
        """
