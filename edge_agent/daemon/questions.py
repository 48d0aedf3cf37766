"""Questions to the daemon: its rows become facts, and the manuals are searched beside it.

`edge_agent.language` is imported with the first question, so that a gateway that nobody asks pays
nothing for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import NotFoundError
from edge_agent.ops.routes import Refusal
from edge_agent.store import AuditFilter, HistoryFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.status import Status
    from edge_agent.language import Search, Subject
    from edge_agent.service import Question

    Row = dict[str, Any]

MAX_WAITING: Final = 8
_PAST_ROWS: Final = 200
_MAX_TRAINING: Final = 160  # characters


@dataclass(slots=True)
class Questions:
    """Answers to questions (`service.AnswerProvider`), one at a time."""

    runtime: Callable[[], Runtime]
    status: Status
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, question: Question) -> dict[str, Any]:
        """Facts and passages; NotFoundError if there is no such asset or alarm."""
        if self.waiting >= MAX_WAITING:
            raise Refusal(429, "too many questions at once", headers={"Retry-After": "2"})
        self.waiting += 1
        try:
            async with self.turn:
                return await self._answer(question)
        finally:
            self.waiting -= 1

    async def manuals(self) -> dict[str, Any]:
        """The documents of the index."""
        return {"folder": None, "documents": []}

    async def manual_page(self, document: str, number: int) -> str:
        """The text of a page."""
        raise NotFoundError("no such page", where=f"{document}/{number}")

    async def _answer(self, question: Question) -> dict[str, Any]:
        from edge_agent import language as room  # noqa: PLC0415 (see the module's docstring)

        texts = room.load_catalogue(self.runtime().config.alarms)
        known = {one.name.lower() for one in texts.languages}
        asked = (question.language or "").lower()
        spoken = asked if asked in known else asked.split("-", maxsplit=1)[0]
        if spoken not in known:
            spoken = room.language_of(question.text)
        subject = await self._subject(question)
        facts = room.facts_of(subject, spoken, texts)
        return room.compose(facts, await self._search(question), spoken, texts)

    async def _search(self, _question: Question) -> Search:
        from edge_agent import language as room  # noqa: PLC0415

        return room.Search(is_configured=False)

    async def _subject(self, question: Question) -> Subject:
        """The alarm and the asset that a question is about, and what is known of them."""
        from edge_agent import language as room  # noqa: PLC0415

        alarms = {row["alarm_id"]: row for row in self.status.alarms("all")}
        assets = {row["id"]: row for row in self.status.assets()}
        alarm_id = _known(question.alarm, alarms, "alarm")
        asset_id = _known(question.asset, assets, "asset")
        if not alarm_id:
            alarm_id = room.named_in(question.text, alarms)
        if not alarm_id and not asset_id:
            asset_id = room.named_in(question.text, assets)
        standing = [row for row in self.status.alarms(None) if asset_id in {"", row["asset"]}]
        if not alarm_id and asset_id and len(standing) == 1:
            alarm_id = standing[0]["alarm_id"]
        if not alarm_id:
            return room.Subject(asset=assets.get(asset_id), alarms=standing)
        alarm = alarms[alarm_id]
        past = await self.status.history(HistoryFilter(asset=alarm["asset"]), _PAST_ROWS)
        words = await self.status.audit(AuditFilter(asset=alarm["asset"]), _PAST_ROWS)
        asset = assets.get(alarm["asset"])
        return room.Subject(alarm, asset, (alarm,), self._model(alarm), past, words)

    def _model(self, alarm: Row) -> Row | None:
        """What the manifest of an alarm's model says, and its record on this gateway."""
        made_by = (alarm["detail"] or {}).get("model")
        if made_by is None:
            return None
        which = (made_by["name"], made_by["version"])
        deployments = self.runtime().pipeline.deployments
        manifests = (one.model.manifest for one in deployments)
        manifest = next((one for one in manifests if (one.name, one.version) == which), None)
        if manifest is None:
            return None
        rows = self.status.models()
        row = next((r for r in rows if r["name"] == made_by["name"] and r["mode"] == "active"), {})
        counts = ("judged_h", "alarms", "called_false", "called_true")
        return {key: row.get(key) for key in counts} | {
            "task": manifest.task,
            "threshold": manifest.threshold,
            "rate": row.get("false_alarms_per_day"),
            "at_most": row.get("false_alarms_at_most"),
            "inputs": [spec.name for spec in manifest.inputs],
            "classes": list(manifest.classes),
            "training": "; ".join(manifest.training.values())[:_MAX_TRAINING],
        }


def _known(wanted: str | None, rows: dict[str, Row], what: str) -> str:
    if wanted is None:
        return ""
    if wanted not in rows:
        hint = f"`edge-agent {what}s list` shows them"
        raise NotFoundError(f"no such {what}", where=repr(wanted), hint=hint)
    return wanted
