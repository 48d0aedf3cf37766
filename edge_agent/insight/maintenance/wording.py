"""The reasons of a plan in words: templates in the languages of the plant, no model writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import load_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

    from edge_agent.alarms import Texts
    from edge_agent.config.schema import Alarms

ROOMS: Final = ("edge_agent.alarms", "edge_agent.insight.maintenance")
Row = dict[str, Any]


def texts_of(alarms: Alarms) -> Texts:
    """The texts of plans, with the plant's own over them, in every language that has one."""
    return load_texts(alarms, ROOMS, every=True)


class Wording:
    """Says why a line of a plan is as it is; zone: of times; currency: of costs."""

    def __init__(self, texts: Texts, zone: tzinfo, currency: str) -> None:
        self._texts, self._zone, self._currency = texts, zone, currency
        self.languages = [one.name for one in texts.languages]

    def worded(self, plan: Row) -> Row:
        """The plan with `what` and `why` by language in each line, and `changes` in words."""
        lines = [
            {**line, "what": self.named(line["mode"]), "why": self._by_language(self._why, line)}
            for line in plan["lines"]
        ]
        changes = [
            {**change, "text": self._by_language(self._change, change)}
            for change in plan.get("changes", ())
        ]
        return {**plan, "currency": self._currency, "lines": lines, "changes": changes}

    def named(self, mode: str) -> dict[str, str]:
        """The name of a failure mode by language."""
        found = self._texts.modes.find(mode)
        if found is not None and found[1].name:
            names = found[1].name
            return {one: names.get(one) or names["en"] for one in self.languages}
        return {one: self._mode_text(mode, one) for one in self.languages}

    def _mode_text(self, mode: str, language: str) -> str:
        try:
            return self._texts.say(f"plan_mode_{mode}", language, {})
        except KeyError:
            return mode.replace("_", " ")

    def _by_language(self, say: Any, row: Row) -> dict[str, str]:  # noqa: ANN401 (a method)
        return {one: " ".join(say(row, one)) for one in self.languages}

    # -- one line -----------------------------------------------------------------------------

    def _why(self, line: Row, language: str) -> Iterator[str]:
        yield self._cause(line, language)
        yield self._say(f"plan_{line['status']}", language, self._values(line))
        for one in line["earlier"]:
            yield self._refusal(one, language)
        cost = "plan_cost" if line["stop"] else "plan_cost_none"
        yield self._say(cost, language, self._values(line))
        yield self._say(f"plan_bound_{line['bound']}", language, {})

    def _cause(self, line: Row, language: str) -> str:
        values = self._values(line) | {"mode": self.named(line["mode"])[language]}
        if line["rul_h"] is not None:
            return self._say("plan_cause_rul", language, values | line["rul_h"])
        first = line["alarms"][0]
        priority = self._say(f"notify_{first['priority']}", language, {})
        more = {"alarm_id": first["alarm_id"], "priority": priority}
        return self._say(
            "plan_cause_alarm", language, values | more | {"since": self.time(first["raised_ms"])}
        )

    def _values(self, line: Row) -> Row:
        stop = line["stop"] or {}
        loss = line["loss_formula"]
        return {
            "asset": line["asset"],
            "due": self.time(line["due_ms"]),
            "stop": "" if stop.get("running") else stop.get("name", ""),
            "start": self.time(line["start_ms"]),
            "end": self.time(line["end_ms"]),
            "crew": line["crew"],
            "next": line["next_stop"],
            "next_at": self.time(line["next_ms"]),
            "chance": 100 * line["probability"],
            "next_chance": 100 * line["next_probability"],
            "cost": self.money(line["expected_cost"]),
            "more": self.money(line["wait_cost"]),
            "loss": self.money(line["loss"]),
            "formula": formula(loss),
        }

    def _refusal(self, one: Mapping[str, Any], language: str) -> str:
        values = {
            "stop": one["stop"],
            "at": self.time(one["start_ms"]),
            "names": ", ".join(one["names"]),
            "arrives": self.time(one.get("arrives_ms")),
            "count": one.get("count"),
        }
        return self._say(f"plan_not_{one['rule']}", language, values)

    def _change(self, change: Row, language: str) -> Iterator[str]:
        values = {**change, "at": self.time(change.get("start_ms"))}
        values["was_at"] = self.time(change.get("was_ms"))
        yield self._say(f"plan_change_{change['kind']}", language, values)

    def _say(self, key: str, language: str, values: Mapping[str, Any]) -> str:
        return self._texts.say(key, language, values)

    def time(self, ms: float | None) -> str:
        """A time by the plant's clock."""
        if ms is None:
            return ""
        return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone(self._zone):%Y-%m-%d %H:%M}"

    def money(self, amount: float) -> str:
        """An amount with its currency."""
        return f"{amount:,.0f} {self._currency}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def formula(loss: Mapping[str, float]) -> str:
    """How a loss is computed, with its numbers."""
    shown = {name: f"{value:.10g}" for name, value in loss.items()}
    return "{criticality} × ({failure_cost} + {downtime_h} h × {downtime_cost}/h)".format(**shown)  # noqa: RUF001 (a sign of multiplication)
