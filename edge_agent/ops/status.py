"""What the HTTP server asks the daemon; docs/http.md shows the fields of each row."""

from __future__ import annotations

from typing import Any, Final, Protocol

COMMANDS: Final = (
    "ack",
    "shelve",
    "unshelve",
    "suppress",
    "unsuppress",
    "remove_from_service",
    "return_to_service",
)


ASSET_COMMANDS: Final = ("failed", "overhauled", "learn", "forget")


class StatusProvider(Protocol):
    """The daemon as plain data; times in milliseconds since the epoch.

    All but `history` and `command` return at once: they run between two turns of the pipeline.
    """

    def live(self) -> tuple[bool, str]:
        """Whether the process does its work, and if not why."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is started, with the reasons."""

    def export(self) -> None:
        """Bring the gauges up to date; called before each scrape."""

    def summary(self) -> dict[str, Any]:
        """Gateway, version, sources, sinks, models, learning, outbox, troubles."""

    def models(self) -> list[dict[str, Any]]:
        """All models, at work, refused, and as shadows."""

    def model_report(self, name: str) -> dict[str, Any]:
        """How a shadow compares with the model at work; NotFoundError where there is none."""

    def assets(self) -> list[dict[str, Any]]:
        """All assets with state, health, score, inputs and number of alarms."""

    def alarms(self, state: str | None) -> list[dict[str, Any]]:
        """Alarms in `state` or `all`; by default those not normal. The most severe first."""

    async def history(
        self, asset: str | None, alarm_id: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Past transitions, newest first, at most `limit`."""

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        """Who did what, newest first, at most `limit`."""

    async def command_several(
        self,
        kind: str,
        wanted: dict[str, Any],
        actor: str,
        duration_s: float | None,
        comment: str,
    ) -> list[dict[str, Any]]:
        """Carry out one of COMMANDS on all selected alarms where it is possible; their rows.

        wanted: pattern, asset, state, ids, as far as they are given.
        """

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> dict[str, Any]:
        """Carry out one of COMMANDS and return the alarm's row.

        Raises NotFoundError, UsageError for arguments that do not fit, and any other
        EdgeAgentError where the alarm's state does not allow it.
        """

    async def asset_command(
        self, kind: str, asset: str, actor: str, at_ms: float | None
    ) -> dict[str, Any]:
        """Carry out one of ASSET_COMMANDS and say what came of it; at_ms: now unless given.

        Raises NotFoundError, UsageError and other EdgeAgentErrors as `command` does.
        """
