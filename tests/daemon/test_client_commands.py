"""The SDK's other calls against a daemon: alarms, commands, history, feedback, and key scopes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from daemon_support import Running, fed_config
from support import until

from edge_agent.client import (
    AsyncClient,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)
from edge_agent.ops.key_file import changed_keys, new_key
from edge_agent.testing import mean_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PUMP = {
    "signals": {"flow": {"unit": "m3/h"}, "pressure": {"unit": "bar"}},
    "models": [{"bundle": "watch", "lateness": "100ms"}],
}
ALARM = "P-1.watch"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A daemon with one pump, whose values come from the test."""
    mean_bundle(tmp_path / "models" / "watch", ["flow", "pressure"], length=4, step_s=0.1)
    async with Running(fed_config(tmp_path, ("pump", PUMP), "P-1")) as found:
        yield found


def make_key(running: Running, name: str, *scopes: str) -> str:
    """A key for these scopes."""
    path = running.daemon.runtime.config.store.path.with_name("keys.json")
    with changed_keys(path) as keys:
        key, secret = new_key(name, scopes, time.time_ns() // 1_000_000)
        keys[key.id] = key
    return secret


async def raise_alarm(running: Running) -> None:
    """Ten rows far over the limit of the model."""
    begin_ms = time.time_ns() // 1_000_000 - 2000
    rows = [(begin_ms + 100 * n, {"flow": 50.0, "pressure": 50.0}) for n in range(10)]
    running.daemon.runtime.intake.append(running.values("P-1", rows))
    await until(lambda: running.states().get(ALARM) == "unack", "the alarm is raised")


async def test_from_an_alarm_to_its_feedback(running: Running) -> None:
    """What a shift report does: read, acknowledge, judge, and read again who did what."""
    await raise_alarm(running)
    client = AsyncClient(running.url, make_key(running, "report", "command"))
    (alarm,) = await client.alarms()
    assert (alarm.alarm_id, alarm.state, alarm.active) == (ALARM, "unack", True)
    assert "unusual behaviour" in alarm.message["en"]
    (acked,) = await client.ack(alarm, by="anna", comment="on my way")
    assert (acked.state, acked.comment) == ("acked", "on my way")
    assert await client.ack(pattern="P-*", by="anna") == []  # nothing is left to acknowledge
    judged = await client.feedback(alarm, is_true=False, by="anna")
    assert (judged.verdict, judged.called_false) == ("false", 1)
    told = await client.history("P-1")
    assert [(one.transition, one.actor) for one in told] == [
        ("ack", "anna (key report)"),
        ("raise", ""),
    ]
    (asset,) = await client.assets("p-1")
    assert (asset.id, asset.state, asset.alarms) == ("P-1", "alarm", 1)
    assert [(one.name, one.value, one.unit) for one in asset.inputs] == [
        ("flow", 50.0, "m3/h"),
        ("pressure", 50.0, "bar"),
    ]
    (model,) = await client.models()
    assert (model.name, model.state, model.assets) == ("watch", "active", 1)
    answer = await client.ask("What is wrong?", alarm=ALARM)
    assert any("P-1" in fact.text for fact in answer.facts)


async def test_a_comment_says_what_the_alarm_was(running: Running) -> None:
    """`#true bearing` with an acknowledgement is feedback, for those who have only a comment."""
    await raise_alarm(running)
    client = AsyncClient(running.url, make_key(running, "report", "command"))
    await client.ack(ALARM, by="anna", comment="looked at it #true bearing: worn")
    record = running.daemon.runtime.pipeline.deployments.track_record[ALARM]
    last = record.occurrences[-1]
    assert (last.verdict, last.part) == ("true", "bearing")


async def test_refused_commands_say_why(running: Running) -> None:
    client = AsyncClient(running.url, make_key(running, "report", "command"))
    with pytest.raises(ConflictError, match="the alarm is normal"):
        await client.ack(ALARM)
    with pytest.raises(NotFoundError):
        await client.ack("P-9.watch")


async def test_a_key_does_what_its_scopes_say(running: Running) -> None:
    """Infer is not command, read is not infer, and an unknown key is nothing."""
    data = {"flow": [1.0] * 4, "pressure": [3.0] * 4}
    inferring = AsyncClient(running.url, make_key(running, "notebook", "infer"))
    found = await inferring.predict_failure(data, asset="P-1")
    assert (found.prediction, found.score) == ("normal", 2.0)
    with pytest.raises(ForbiddenError, match="command"):
        await inferring.ack(ALARM)
    reading = AsyncClient(running.url, make_key(running, "wall", "read"))
    with pytest.raises(ForbiddenError, match="infer"):
        await reading.predict_failure(data, asset="P-1")
    for key in ("nonsense", None):
        with pytest.raises(UnauthorizedError, match=r"Client\(url, api_key\)"):
            await AsyncClient(running.url, key).predict_failure(data, asset="P-1")


async def test_the_pipeline_knows_nothing_of_a_prediction(running: Running) -> None:
    """The same pump with a fault in somebody's notebook: no alarm, no window, no history."""
    data = {"flow": [50.0] * 40, "pressure": [50.0] * 40}
    client = AsyncClient(running.url)
    found = await client.predict_failure(data, asset="P-1")
    assert found.prediction == "anomaly"
    assert [one.transition for one in found.alarms] == ["raise"]
    assert await client.alarms() == []
    assert await client.history() == []
    assert running.windows() == 0
