"""What the status API shows and commands: the daemon as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.alarms import Judgement
    from edge_agent.store import AuditFilter, HistoryFilter


class StatusProvider(Protocol):
    """The daemon as plain data; times in milliseconds since the epoch.

    What is not `async` returns at once: it runs between two turns of the pipeline.
    """

    def live(self) -> tuple[bool, str]:
        """True if the process does its work, and if not why."""

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """True if all is started, with the reasons."""

    def export(self) -> None:
        """Bring the gauges up to date; called before each scrape."""

    def summary(self) -> dict[str, Any]:
        """Gateway, version, sources, sinks, models, learning, outbox, troubles."""

    def models(self) -> list[dict[str, Any]]:
        """All models: active, refused, and shadows."""

    def model_report(self, name: str) -> dict[str, Any]:
        """How a shadow compares with the active version; NotFoundError if there is none."""

    def assets(self, only: Collection[str] | None = None) -> list[dict[str, Any]]:
        """All assets, or those of `only`: state, health, score, inputs, number of alarms."""

    def asset_marks(self) -> dict[str, object]:
        """By id of all assets, a mark that changes when the row of `asset_states` may change."""

    def asset_states(self, only: Collection[str]) -> list[dict[str, Any]]:
        """Short rows of some assets: id, path, state, alarms, off, health, note."""

    def alarm_marks(self) -> dict[str, object]:
        """By id of the alarms that are not normal, a mark that changes when the row may change."""

    def alarms(
        self, state: str | None, only: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Alarms in `state` or `all`; by default those not normal. The most severe first.

        only: ids, of those that are asked for.
        """

    def asset(self, asset_id: str) -> dict[str, Any] | None:
        """The row of one asset; None if there is none."""

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        """The row of one alarm; None if there is none."""

    async def guidance(self, alarm_id: str) -> dict[str, Any]:
        """Causes, checks and mends of an alarm, and what was written about it last time.

        Both are None if there are none; NotFoundError if there is no such alarm.
        """

    def asset_ids(self) -> Collection[str]:
        """The ids of all assets."""

    def alarm_ids(self) -> Collection[str]:
        """The ids of all alarms that ever left normal."""

    async def history(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        """Past transitions, newest first, at most `limit`, and a page of them."""

    async def audit(self, wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
        """Who did what, newest first, at most `limit`, and a page of it."""

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
        EdgeAgentError if the alarm's state does not allow it.
        """

    async def feedback(self, alarm_id: str, judgement: Judgement, actor: str) -> dict[str, Any]:
        """Say what the last occurrence of a model's alarm was; its counts and its limit.

        Raises NotFoundError, and EdgeAgentError if it is no alarm of an anomaly model.
        """

    async def asset_command(
        self, kind: str, asset: str, actor: str, at_ms: float | None, comment: str
    ) -> dict[str, Any]:
        """Carry out one of ASSET_COMMANDS and say what came of it; at_ms: now unless given.

        Raises NotFoundError, UsageError and other EdgeAgentErrors as `command` does.
        """
