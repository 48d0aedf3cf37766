"""Feedback on alarms: counted, a reason to raise a limit within bounds, and kept over restarts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import insight_models
import pytest
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.clock import FakeClock
from edge_agent.config.schema import Signal
from edge_agent.daemon.alarm_feedback import AlarmFeedback, alarm_counts, export_alarm_counts
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.serving.track_record import AlarmRecord, Occurrence
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ALARM = "any.squares"
FAULT = (13.0, 5.0, 20.0)  # 2.5 times the limit
LARGER = (13.5, 5.0, 20.0)
HUGE = (25.0, 5.0, 20.0)


class Saved:
    """The values of the store, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.audited: list[tuple[str, str, str, str]] = []

    async def load(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def save(self, key: str, value: bytes) -> bool:
        self.values[key] = value
        return True

    async def audit(
        self, actor: str, action: str, subjects: Sequence[str], detail: str = ""
    ) -> None:
        self.audited += [(actor, action, one, detail) for one in subjects]


class Site:
    """A plant of one asset, whose operator says what he thinks of its alarms."""

    def __init__(self, folder: Path, saved: Saved | None = None) -> None:
        model = insight_models.squares(folder)
        self.live = Live(of("squares", **{name: Signal(unit="u") for name in NAMES}))
        assert self.live.use(model) == [""]
        self.saved = saved or Saved()
        runtime: Any = SimpleNamespace(pipeline=self.live.pipeline, alarms=self.live.alarms)
        values: Any = self.saved
        self.feedback = AlarmFeedback(lambda: runtime, asyncio.Lock(), values, FakeClock(0))
        asyncio.run(self.feedback.restore())
        self._t = 0

    def runs(self, values: tuple[float, ...], seconds: int = 60) -> int:
        """The alarms that it raises in this time."""
        before = len(self.raised())
        for t in range(self._t, self._t + seconds):
            row = columns([0, 1, 2], [(BEGIN_S + t) * S] * 3, list(values))
            self.live.turn(t, row)
        self._t += seconds
        asyncio.run(self.feedback.save())
        return len(self.raised()) - before

    def raised(self) -> list[Any]:
        return [one for one in self.live.transitions if one.kind == "raise"]

    def says(self, verdict: str, comment: str = "") -> dict[str, Any]:
        return asyncio.run(self.feedback.judge(ALARM, verdict, "anna", comment))

    def counts(self) -> dict[str, Any]:
        return alarm_counts(self.live.pipeline.deployments)["squares"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.runs(HEALTHY)
    return found


def test_what_was_called_false_raises_no_alarm_again(site: Site) -> None:
    """What is larger does; the audit and the answer say by how much the limit was raised."""
    assert site.runs(FAULT) == 1
    site.runs(HEALTHY, 120)
    answer = site.says("false", "new oil")
    assert answer["limit_factor"] == pytest.approx(2.875, rel=1e-3)
    assert (answer["alarms"], answer["called_false"]) == (1, 1)
    ((actor, action, subject, detail),) = site.saved.audited
    assert (actor, action, subject) == ("anna", "feedback", ALARM)
    assert detail == "called false, its limit is 2.88 times the model's (was 1): new oil"
    site.live.alarms.apply_command("ack", ALARM, "anna", "")
    assert site.runs(FAULT) == 0
    site.runs(HEALTHY, 120)
    assert site.runs(LARGER) == 1
    detail = site.raised()[-1].alarm.detail
    assert detail.message_args["limit"] == pytest.approx(4.0 * 2.875, rel=1e-3)


def test_an_alarm_that_is_active_can_be_called_false(site: Site) -> None:
    """Its scores are below the raised limit, so it clears by its own rules."""
    assert site.runs(FAULT) == 1
    assert site.says("false")["limit_factor"] == pytest.approx(2.875, rel=1e-3)
    site.runs(FAULT, 60)
    assert not site.live.alarms.is_active(ALARM)


def test_a_limit_is_raised_at_most_four_times(site: Site) -> None:
    """More is not a limit that was a bit too low."""
    site.runs(HUGE)
    assert site.says("false")["limit_factor"] == 4.0


def test_no_limit_is_raised_over_a_true_alarm(site: Site) -> None:
    """The same alarm would be lost; a second opinion replaces the first."""
    site.runs(FAULT)
    assert site.says("false")["limit_factor"] > 2.5
    assert site.says("true")["limit_factor"] == 1.0
    record = AlarmRecord("1", occurrences=[Occurrence(0, 3.0, "false"), Occurrence(1, 2.0, "true")])
    assert record.margin() == pytest.approx(1.9)


def test_promise_and_count_are_said(site: Site) -> None:
    """By the API and the metrics: alarms, those called false, and the judged hours."""
    site.runs(FAULT)
    site.says("false")
    counts = site.counts()
    assert (counts["alarms"], counts["called_false"], counts["called_true"]) == (1, 1, 0)
    assert counts["judged_h"] == pytest.approx(120 / 3600, abs=0.01)
    assert counts["raised_limits"] == {"any": 2.875}
    export_alarm_counts(site.live.pipeline.deployments, site.live.metrics)
    text = site.live.metrics.render().decode()
    assert 'edge_agent_model_alarms{called="false",model="squares"} 1.0' in text
    assert 'edge_agent_limit_factor{asset="any",model="squares"} 2.8' in text


def test_a_raised_limit_is_kept_over_a_restart(site: Site, tmp_path: Path) -> None:
    """With the counts; another version begins without."""
    site.runs(FAULT)
    site.says("false")
    again = Site(tmp_path, site.saved)
    assert again.counts()["called_false"] == 1
    again.runs(HEALTHY)
    assert again.runs(FAULT) == 0
    raw = site.saved.values["track record"].replace(b'"version":"', b'"version":"older-')
    site.saved.values["track record"] = raw
    other = Site(tmp_path, site.saved)
    other.runs(HEALTHY)
    assert other.runs(FAULT) == 1
    assert other.counts()["called_false"] == 0


def test_a_record_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    """The service starts."""
    saved = Saved()
    saved.values["track record"] = b'{"any.squares": 7}'
    assert Site(tmp_path, saved).counts()["alarms"] == 0


def test_what_has_no_such_alarm_is_said(site: Site) -> None:
    """An alarm that was never raised, one that does not exist."""
    with pytest.raises(EdgeAgentError, match="it was not raised since this version"):
        site.says("false")
    with pytest.raises(NotFoundError, match="no such alarm"):
        asyncio.run(site.feedback.judge("any.nothing", "false", "anna", ""))
