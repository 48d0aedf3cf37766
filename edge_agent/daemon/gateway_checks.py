"""`edge-agent doctor`, `browse` and `listen` for the page: the same commands, in a child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.types import Name
from edge_agent.daemon.tables import TYPES
from edge_agent.errors import EdgeAgentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.service import SideCommands, TagQuestion

DOCTOR_S: Final = 90.0
TOPIC_S: Final = 5.0  # how long doctor waits for each topic, and how long topics are heard
BROWSE_S: Final = 15.0
START_S: Final = 30.0  # for the child and the connection, on a busy gateway
MAX_TAGS: Final = 2000


class GatewayChecks:
    """Runs the checks and records who asked; used on one loop, that of the server.

    path: of the config, which the child reads; audit: records (actor, action, subjects, detail).
    """

    def __init__(
        self,
        config: Callable[[], Config],
        path: Path | None,
        side: SideCommands,
        audit: Callable[[str, str, Sequence[str], str], Awaitable[None]],
    ) -> None:
        self._config = config
        self._path = path
        self._side = side
        self._audit = audit

    async def doctor(self, actor: str) -> dict[str, Any]:
        """The findings of `edge-agent doctor`, the most severe first."""
        words = ["doctor", *self._config_words(), "--seconds", f"{TOPIC_S:g}", "--json"]
        await self._audit(actor, "doctor", [str(self._config().gateway.id)], "")
        found = (await self._side.run(words, DOCTOR_S)).value()
        return {"ok": found["ok"], "findings": found["findings"]}

    async def tags(self, question: TagQuestion) -> dict[str, Any]:
        """The tags of a source, at most MAX_TAGS; `stopped`: why there may be more."""
        kind = self._kind(question.source)
        make = {"opcua": self._nodes, "mqtt": self._topics}.get(kind)
        if make is None:
            raise NotFoundError(f"a source of type {kind} has no tags", where=question.source)
        options = self._config_words()
        await self._audit(question.actor, "browse", [question.source], question.pattern)
        return {"source": question.source, "type": kind, **await make(question, options)}

    def _kind(self, source: str) -> str:
        sources = self._config().sources
        struct = sources.get(Name(source))
        if struct is None:
            hint = f"sources: {', '.join(sources)}"
            raise NotFoundError("no such source", where=repr(source), hint=hint)
        return TYPES[type(struct)]

    def _config_words(self) -> list[str]:
        if self._path is None:
            raise EdgeAgentError("the daemon was started without a config file")
        return ["--config", str(self._path)]

    async def _nodes(self, question: TagQuestion, options: list[str]) -> dict[str, Any]:
        limits = ["--seconds", f"{BROWSE_S:g}", "--most", str(MAX_TAGS), "--json"]
        words = ["browse", *options, *limits, "--", question.source, question.pattern]
        found = (await self._side.run(words, BROWSE_S + START_S)).value()
        return {"tags": [_of_node(one) for one in found["nodes"]], "stopped": found["stopped"]}

    async def _topics(self, question: TagQuestion, options: list[str]) -> dict[str, Any]:
        topics = [question.pattern] if question.pattern else []
        limits = ["--seconds", f"{TOPIC_S:g}", "--json"]
        words = ["listen", *options, *limits, "--", question.source, *topics]
        found = (await self._side.run(words, TOPIC_S + START_S)).value()
        more = f"{found['more']} messages of further topics" if found["more"] else ""
        stopped = "; ".join([*found["refused"], more] if more else found["refused"])
        rows = [_of_topic(one) for one in found["topics"][:MAX_TAGS]]
        return {"tags": rows, "stopped": stopped}


def _of_node(node: dict[str, Any]) -> dict[str, Any]:
    """A variable of an OPC UA server; its folder is the path without its last part."""
    return {
        "path": node["path"],
        "address": node["address"],
        "type": f"{node['type']}[]" if node["array"] else node["type"],
        "value": node["value"],
        "unit": node["unit"],
        "status": node["status"],
        "range": None if node["low"] is None else [node["low"], node["high"]],
    }


def _of_topic(topic: dict[str, Any]) -> dict[str, Any]:
    """A topic; rate: of live messages, a second."""
    offset_us = topic["form"]["offset_us"]
    return {
        "path": topic["topic"].split("/"),
        "address": topic["topic"],
        "type": topic["form"]["kind"],
        "value": topic["sample"],
        "unit": topic["form"]["unit"],
        "rate": topic["rate"],
        "retained": topic["retained"],
        "lag_s": None if offset_us is None else -offset_us / 1e6,
    }
