"""Questions to the daemon: its rows become facts, and the manuals are searched beside it.

`edge_agent.language` is imported with the first question, so that a gateway that nobody asks pays
nothing for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import NotFoundError
from edge_agent.ops.routes import Refusal
from edge_agent.store import AuditFilter, HistoryFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from edge_agent.alarms import Texts
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Alarms, Config
    from edge_agent.config.settings import Manuals
    from edge_agent.language.facts import Subject
    from edge_agent.language.manuals import ManualSearch
    from edge_agent.models import Manifest
    from edge_agent.service.ask_api import Question
    from edge_agent.service.status_provider import StatusProvider

    Row = dict[str, Any]

MAX_WAITING: Final = 8
EVERY_S: Final = 15.0  # between two looks at the work of the manuals
_MAX_COMMENTS: Final = 2000
# Commands with which people write what they found; other entries of the audit are not words.
_SAYING: Final = frozenset(
    {"ack", "shelve", "unshelve", "suppress", "remove_from_service", "return_to_service"}
    | {"feedback", "failed", "overhauled", "healthy", "learn"}
)
_PAST_ROWS: Final = 200
_MAX_TRAINING: Final = 160  # characters


class Questions:
    """Answers to questions (`ask_api.AnswerProvider`), one at a time.

    config, manifests: the present ones; manifests: of the models in service.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        manifests: Callable[[], Iterable[Manifest]],
        status: StatusProvider,
        clock: Clock,
    ) -> None:
        self._config, self._manifests = config, manifests
        self._status, self._clock = status, clock
        # Adds words of a language model to an answer, beside its facts and quotes.
        self.words_for: Callable[[Row], Awaitable[list[Row]]] | None = None
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._manuals: Manuals | None = None
        self._search: ManualSearch | None = None
        self._texts: tuple[Alarms, Texts] | None = None
        self._comments: list[Row] = []  # of the audit, the newest first

    async def ask(self, question: Question) -> dict[str, Any]:
        """Facts and passages; NotFoundError if there is no such asset or alarm."""
        if self._waiting >= MAX_WAITING:
            raise Refusal(429, "too many questions at once", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            async with self._turn:
                return await self._answer(question)
        finally:
            self._waiting -= 1

    async def manuals(self) -> dict[str, Any]:
        """The documents of the index, with how each was calibrated."""
        if self._config().manuals.folder is None:
            return {"folder": None, "documents": []}
        return await (await self._manual_search()).documents()

    async def manual_page(self, document: str, number: int) -> str:
        """The text of a page; NotFoundError if there is none."""
        text = None
        if self._config().manuals.folder is not None:
            text = await (await self._manual_search()).page(document, number)
        if text is None:
            hint = "the manual may have a newer revision: ask again"
            raise NotFoundError("no such page", where=f"{document}/{number}", hint=hint)
        return text

    async def tend(self) -> None:
        """Index the manuals when it is time; does nothing if there are none."""
        if self._search is not None or self._config().manuals.folder is not None:
            await (await self._manual_search()).tend()

    async def close(self) -> None:
        """End the children."""
        if self._search is not None:
            await self._search.close()

    async def _manual_search(self) -> ManualSearch:
        """The search of the present config."""
        from edge_agent.language import manuals  # noqa: PLC0415 (see the module's docstring)

        config = self._config()
        if self._search is None or self._manuals != config.manuals:
            await self.close()
            index = config.store.path.with_suffix(".manuals.db")
            self._manuals = config.manuals
            self._search = manuals.ManualSearch(config.manuals, index, self._clock)
        return self._search

    async def _new_comments(self) -> list[Row]:
        """What people wrote with their commands: rows of the audit, the newest first."""
        known = self._comments[0]["row"] if self._comments else 0
        found: list[Row] = []
        before = None
        while len(found) < _MAX_COMMENTS:
            page = await self._status.audit(AuditFilter(before=before), _PAST_ROWS)
            new = [row for row in page if row["row"] > known]
            found += new
            if not page or len(new) < len(page):
                break
            before = page[-1]["row"]
        said = [_comment(row) for row in found if row["action"] in _SAYING and row["detail"]]
        self._comments = (said + self._comments)[:_MAX_COMMENTS]
        return self._comments

    def _texts_of(self, alarms: Alarms) -> Texts:
        """The texts of answers, which are read once per config."""
        from edge_agent.language import facts  # noqa: PLC0415 (see the module's docstring)

        if self._texts is None or self._texts[0] is not alarms:
            self._texts = alarms, facts.load_catalogue(alarms)
        return self._texts[1]

    async def _answer(self, question: Question) -> dict[str, Any]:
        from edge_agent.language import answers, facts, words  # noqa: PLC0415 (same)

        texts = self._texts_of(self._config().alarms)
        known = {one.name.lower() for one in texts.languages}
        asked = (question.language or "").lower()
        spoken = asked if asked in known else asked.split("-", maxsplit=1)[0]
        if spoken not in known:
            spoken = words.language_of(question.text)
        subject = await self._subject(question)
        known_facts = facts.facts_of(subject, spoken, texts)
        search = await self._manual_search()
        # That of the answer may be another one.
        asked_in = words.language_of(question.text)
        found = await search.search(question.text, asked_in, await self._new_comments())
        answer = answers.compose(known_facts, found, spoken, texts)
        if self.words_for is not None:
            answer["wording"] = [
                row | {"label": texts.say("wording_label", spoken, row)}
                for row in await self.words_for(answer)
            ]
        return answer

    async def _subject(self, question: Question) -> Subject:
        """The alarm and the asset that a question is about, and what is known of them."""
        from edge_agent.language import answers, facts  # noqa: PLC0415 (same)

        alarm_ids, asset_ids = self._status.alarm_ids(), self._status.asset_ids()
        alarm_id = _known(question.alarm, alarm_ids, "alarm")
        asset_id = _known(question.asset, asset_ids, "asset")
        if not alarm_id:
            alarm_id = answers.named_in(question.text, alarm_ids)
        if not alarm_id and not asset_id:
            asset_id = answers.named_in(question.text, asset_ids)
        if not alarm_id:
            standing = [row for row in self._status.alarms(None) if asset_id in {"", row["asset"]}]
            if asset_id and len(standing) == 1:
                alarm_id = standing[0]["alarm_id"]
        if not alarm_id:
            return facts.Subject(asset=self._status.asset(asset_id), alarms=standing)
        alarm = self._status.alarm(alarm_id)
        assert alarm is not None  # noqa: S101 (its id is known)
        past = await self._status.history(HistoryFilter(asset=alarm["asset"]), _PAST_ROWS)
        words = await self._status.audit(AuditFilter(asset=alarm["asset"]), _PAST_ROWS)
        asset = self._status.asset(alarm["asset"])
        return facts.Subject(alarm, asset, (alarm,), self._model(alarm), past, words)

    def _model(self, alarm: Row) -> Row | None:
        """What the manifest of an alarm's model says, and its record on this gateway."""
        made_by = (alarm["detail"] or {}).get("model")
        if made_by is None:
            return None
        which = (made_by["name"], made_by["version"])
        manifest = next(
            (one for one in self._manifests() if (one.name, one.version) == which), None
        )
        if manifest is None:
            return None
        rows = self._status.models()
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


def _comment(row: Row) -> Row:
    """A row of the audit as it is searched and shown."""
    kept = {key: row[key] for key in ("row", "subject", "action", "at_ms")}
    return kept | {"by": row["actor"], "text": row["detail"]}


def _known(wanted: str | None, ids: Collection[str], what: str) -> str:
    if wanted is None:
        return ""
    if wanted not in ids:
        hint = f"`edge-agent {what}s list` shows them"
        raise NotFoundError(f"no such {what}", where=repr(wanted), hint=hint)
    return wanted
