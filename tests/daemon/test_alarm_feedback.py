"""Feedback on alarms: counted, a reason to raise a limit within bounds, and kept over restarts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import insight_models
import orjson
import pytest
from insight_models import HEALTHY, NAMES
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.alarms import Judgement
from edge_agent.clock import FakeClock
from edge_agent.config.schema import Signal
from edge_agent.daemon.alarm_feedback import AlarmFeedback, export_alarm_counts
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.serving.alarm_record import AlarmCounts, AlarmRecord, Occurrence
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
        return asyncio.run(self.feedback.judge(ALARM, Judgement(verdict, comment=comment), "anna"))

    def says_healthy(self) -> None:
        """As `Deployments.recentre` passes it on."""
        deployments = self.live.pipeline.deployments
        (deployment,) = deployments
        deployments.track_record.confirm_healthy(deployment, 0)

    def counts(self) -> dict[str, Any]:
        deployments = self.live.pipeline.deployments
        return deployments.track_record.counts(deployments)["squares"]


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
    said = [Occurrence(0, 3.0, "1", "false"), Occurrence(1, 2.0, "1", "true")]
    record = AlarmRecord("any", "1", occurrences=said)
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
    """With the counts; another version begins without, and what earlier ones did is still known."""
    site.runs(FAULT)
    site.says("false")
    again = Site(tmp_path, site.saved)
    assert again.counts()["called_false"] == 1
    again.runs(HEALTHY)
    assert again.runs(FAULT) == 0
    raw = site.saved.values["track record"].replace(b'"1"', b'"0.9"')  # as if of that version
    site.saved.values["track record"] = raw
    other = Site(tmp_path, site.saved)
    assert other.says("true")["called_true"] == 0, "its last alarm was one of the version before"
    assert other.counts()["all_versions"]["called_true"] == 1
    assert other.says("false")["limit_factor"] == 1.0
    other.runs(HEALTHY)
    assert other.runs(FAULT) == 1
    counts = other.counts()
    assert (counts["alarms"], counts["called_false"]) == (1, 0)
    assert (counts["all_versions"]["alarms"], counts["all_versions"]["called_false"]) == (2, 1)
    assert counts["all_versions"]["judged_h"] > counts["judged_h"] > 0


def test_a_record_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    """The service starts."""
    saved = Saved()
    saved.values["track record"] = b'{"any.squares": 7}'
    assert Site(tmp_path, saved).counts()["alarms"] == 0


def test_what_has_no_such_alarm_is_said(site: Site) -> None:
    """An alarm that was never raised, one that does not exist."""
    with pytest.raises(EdgeAgentError, match="it was never raised"):
        site.says("false")
    with pytest.raises(NotFoundError, match="no such alarm"):
        asyncio.run(site.feedback.judge("any.nothing", Judgement("false"), "anna"))


def test_a_machine_that_was_called_healthy_had_one_false_alarm(site: Site) -> None:
    """However often it is said, and in which words; the middle moved, so the limit stays."""
    site.runs(FAULT)
    assert site.says("false")["limit_factor"] > 2.5
    for _ in range(2):
        site.says_healthy()
        counts = site.counts()
        assert (counts["alarms"], counts["called_false"], counts["raised_limits"]) == (1, 1, {})
    assert site.says("false")["limit_factor"] == 1.0
    assert site.counts()["called_false"] == 1


def test_an_alarm_that_was_called_true_stays_true_when_the_machine_is_mended(site: Site) -> None:
    site.runs(FAULT)
    site.says("true")
    site.says_healthy()
    assert (site.counts()["called_true"], site.counts()["called_false"]) == (1, 0)


def test_healthy_without_an_alarm_calls_none_false(site: Site) -> None:
    """The last alarm is over and acknowledged: nothing is said of it."""
    site.runs(FAULT)
    site.runs(HEALTHY, 120)
    site.live.alarms.apply_command("ack", ALARM, "anna", "")
    site.runs(HEALTHY)
    site.says_healthy()
    assert site.counts()["called_false"] == 0


@pytest.mark.parametrize(
    ("false", "days", "promised", "refuted"),
    [
        (0, 0.0, 0.1, False),
        (1, 30.0, 0.1, False),
        (1, 0.3, 0.1, True),  # 95 % confidence: at least .05 in truth
        (9, 30.0, 0.1, True),
        (9, 30.0, None, False),
        (5, 1.0, 2.9, False),
    ],
)
def test_a_promise_is_refuted_by_what_happened(
    false: int, days: float, promised: float | None, *, refuted: bool
) -> None:
    """Only if so many false alarms are improbable at the promised rate (Poisson, 95 %)."""
    counts = AlarmCounts(alarms=false, called_false=false, judged_s=days * 86_400)
    assert counts.refutes(promised) is refuted


def test_a_record_in_the_format_before_versions_were_counted_is_kept(tmp_path: Path) -> None:
    """An upgrade loses no verdict, no count and no raised limit."""
    site = Site(tmp_path)
    (deployment,) = site.live.pipeline.deployments
    verdicts = ("", "true", "false")
    occurrences = [{"raised_us": i, "peak": 1.0 + i, "verdict": v} for i, v in enumerate(verdicts)]
    old = {"version": str(deployment.model.manifest.version), "judged_s": 7200.0, "raises": 9}
    record = deployment.alarm_ids[0], {**old, "occurrences": occurrences}
    assert site.live.pipeline.deployments.track_record.restore(orjson.dumps(dict([record])))
    counts = site.counts()
    assert (counts["alarms"], counts["called_false"], counts["called_true"]) == (9, 1, 1)
    assert counts["judged_h"] == 2.0
    found = site.live.pipeline.deployments.track_record[ALARM]
    assert found.asset == "any"
    assert found.margin() == pytest.approx(2.0 * 0.95)


def test_counts_are_kept_of_every_version_and_judged_alarms_longest() -> None:
    """Of versions long ago in one sum; alarms that nobody judged are given up first."""
    record = AlarmRecord("any", "0")
    for version in range(20):
        record.set_version(str(version))
        record.add_occurrence(version, 2.0)
        if version == 3:
            record.judge("false")
    assert len(record.counts) <= 9
    assert (record.total().alarms, record.total().called_false) == (20, 1)
    assert record.active.alarms == 1
    for number in range(100):
        record.add_occurrence(number, 1.5)
    assert [one.verdict for one in record.occurrences].count("false") == 1
    record.set_version("3")
    assert record.margin() == pytest.approx(2.3), "it is active again, with what was said of it"


def test_an_asset_that_is_gone_is_forgotten(site: Site) -> None:
    site.runs(FAULT)
    record = site.live.pipeline.deployments.track_record
    record.forget({"an"})
    assert ALARM in record
    record.forget({"any"})
    assert not record


def test_precision_and_false_alarms_a_day_are_counted_by_version_and_asset(site: Site) -> None:
    """Planned work counts in neither; they are metrics, and stand on the card of the version."""
    for verdict in ("true", "false", "planned"):
        site.runs(HUGE, 5)
        site.says(verdict)
        site.runs(HEALTHY, 120)
        site.live.alarms.apply_command("ack", ALARM, "anna", "")
    deployments = site.live.pipeline.deployments
    card = deployments.track_record.judged(deployments, "squares", "1")
    said = {key: card[key] for key in ("called_true", "called_false", "called_planned")}
    assert said == {"called_true": 1, "called_false": 1, "called_planned": 1}
    assert card["precision"] == 0.5
    assert card["false_a_day"] == pytest.approx(24 / card["judged_h"], rel=0.05)
    assert deployments.track_record.judged(deployments, "squares", "0") == {}
    metrics = site.live.metrics
    export_alarm_counts(deployments, metrics)
    assert metrics.alarm_precision.labels("any", "squares")._value.get() == 0.5
    rate = metrics.false_alarms_per_day.labels("any", "squares")._value.get()
    assert rate == pytest.approx(card["false_a_day"])
    planned = metrics.model_alarms.labels("squares", "planned")._value.get()
    assert planned == 1
