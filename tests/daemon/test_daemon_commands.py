"""Operators' commands to the running daemon: `edge-agent alarms` and the plant bus."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

import aiohttp
import paho.mqtt.client as paho
import pytest
from daemon_support import PLACE, Feed, Running, Site, now_ms
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sink_support import Subscriber
from support import until, value_of

from edge_agent.cli import main
from edge_agent.errors import NotFoundError
from edge_agent.store import AuditFilter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.messages import Alarm
    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

ALARM = "P-1.temp.quality"


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


@pytest.fixture
async def alarmed(tmp_path: Path, broker: Mosquitto, bus: Subscriber) -> AsyncIterator[Running]:
    """A daemon with one alarm."""
    site = Site(tmp_path, broker.url, alarms={"shelve_max": "1h"})
    async with site.daemon() as running:
        await until(running.up, "up")
        Feed(bus).send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {ALARM: "unack"}, "raised")
        yield running


async def alarms(running: Running, action: str, *words: str) -> int:
    return await asyncio.to_thread(main, ["alarms", action, "--url", running.url, *words])


def command(bus: Subscriber, kind: str, **body: Any) -> None:
    whole = {"id": secrets.token_hex(4), "alarm_id": ALARM, "expires": now_ms() + 60_000, **body}
    bus.publish(f"{PLACE}/P-1/_pdm/cmd/{kind}", json.dumps(whole).encode())


async def test_an_alarm_is_acknowledged_from_the_command_line(
    alarmed: Running, bus: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    """And everybody hears of it, by whom."""
    assert await alarms(alarmed, "ack", ALARM, "--by", "anna", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["state"], row["acked_by"]) == ("acked", "anna")
    await until(lambda: f"{ALARM}:2" in bus.ids("/_pdm/event"), "event")
    (told,) = [json.loads(b) for b in bus.bodies("/_pdm/event") if f'"{ALARM}:2"'.encode() in b]
    assert (told["data"]["transition"], told["data"]["actor"]) == ("ack", "anna")
    assert await alarms(alarmed, "history", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["transition"] for line in lines] == ["ack", "raise"]


async def test_a_shelved_alarm_is_unshelved_by_time(
    alarmed: Running, bus: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await alarms(alarmed, "shelve", ALARM, "--for", "1s", "--by", "anna") == 0
    assert alarmed.states() == {ALARM: "shelved"}
    await until(lambda: alarmed.states() == {ALARM: "unack"}, "its time is over")
    await until(lambda: f"{ALARM}:3" in bus.ids("/_pdm/alert"), "told")
    capsys.readouterr()


async def test_what_cannot_be_done_is_refused_in_a_line(
    alarmed: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await alarms(alarmed, "shelve", ALARM, "--for", "2h") == 2
    assert "shelve_max" in capsys.readouterr().err
    assert await alarms(alarmed, "ack", "P-9.none") == 1
    assert "no such alarm" in capsys.readouterr().err
    assert alarmed.states() == {ALARM: "unack"}


async def test_commands_over_the_bus(alarmed: Running, bus: Subscriber) -> None:
    command(bus, "ack", by="ben")
    await until(lambda: alarmed.states() == {ALARM: "acked"}, "acknowledged")
    command(bus, "shelve", by="ben", duration_s=1800)
    await until(lambda: alarmed.states() == {ALARM: "shelved"}, "shelved")
    alarm = alarmed.daemon.runtime.alarms.get(ALARM)
    assert alarm is not None
    assert abs(alarm.shelved_until_us // 1000 - now_ms() - 1_800_000) < 30_000
    command(bus, "unshelve", by="ben")
    await until(lambda: alarmed.states() == {ALARM: "unack"}, "unshelved")


async def test_done_and_said_over_the_bus(alarmed: Running, bus: Subscriber) -> None:
    """A comment leaves the state; what is acknowledged can be confirmed as done, and by whom."""
    command(bus, "comment", by="ben", comment="belt ordered")
    await until(lambda: _alarm(alarmed).comment == "belt ordered", "said")
    assert alarmed.states() == {ALARM: "unack"}
    command(bus, "confirm", by="ben")
    await until(lambda: counted(alarmed, "refused") == 1, "nobody has acknowledged it")
    command(bus, "ack", by="ben")
    command(bus, "confirm", by="anna", comment="new belt")
    await until(lambda: _alarm(alarmed).confirmed_by == "anna", "confirmed")
    assert (_alarm(alarmed).state, _alarm(alarmed).comment) == ("acked", "new belt")


def _alarm(running: Running) -> Alarm:
    found = running.daemon.runtime.alarms.get(ALARM)
    assert found is not None
    return found


async def test_commands_that_must_not_count(alarmed: Running, bus: Subscriber) -> None:
    """Expired, for longer than allowed, of an alarm that is not there."""
    command(bus, "ack", expires=now_ms() - 1)
    command(bus, "shelve", duration_s=7200)
    command(bus, "ack", alarm_id="P-9.none")
    counter = alarmed.daemon.parts.metrics.commands
    await until(lambda: value_of(counter.labels("bus", "accepted")) == 2, "heard")
    await until(lambda: value_of(counter.labels("bus", "expired")) == 1, "ignored")
    await asyncio.sleep(0.2)
    assert alarmed.states() == {ALARM: "unack"}


async def test_the_status_page_knows_what_is_wrong(alarmed: Running) -> None:
    """Through the API that it is made of."""
    summary = alarmed.daemon.parts.status.summary()
    assert summary["troubles"] == []
    (asset,) = [a for a in alarmed.daemon.parts.status.assets() if a["id"] == "P-1"]
    assert (asset["state"], asset["alarms"]) == ("alarm", 1)
    (temp,) = [i for i in asset["inputs"] if i["name"] == "temp"]
    assert temp["quality"] == "out_of_range"


async def audited(running: Running, action: str, count: int) -> list[dict[str, Any]]:
    """The entries of the audit, once so many are of this action: another thread writes them."""
    async with asyncio.timeout(10):
        while True:
            rows = await running.daemon.parts.status.audit(AuditFilter(), 100)
            if [row["action"] for row in rows].count(action) == count:
                return rows
            await asyncio.sleep(0.05)


def counted(running: Running, outcome: str) -> int:
    return int(value_of(running.daemon.parts.metrics.commands.labels("bus", outcome)))


async def test_a_command_is_bound_to_the_asset_of_its_topic(
    alarmed: Running, bus: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may write to P-2's topic, by the broker's access rules, has no say over P-1's alarms."""
    whole = {"id": "x-1", "alarm_id": ALARM, "expires": now_ms() + 60_000, "by": "mallory"}
    Feed(bus).send("P-2", 1)
    await until(lambda: "P-2" in alarmed.daemon.runtime.plant.assets, "two machines")
    bus.publish(f"{PLACE}/P-2/_pdm/cmd/ack", json.dumps(whole).encode())
    bus.publish(
        f"{PLACE}/P-2/_pdm/cmd/ack", json.dumps({**whole, "id": "x-2", "alarm_id": "*"}).encode()
    )
    await until(lambda: counted(alarmed, "place") == 1, "refused")
    await until(lambda: counted(alarmed, "refused") == 1, "refused, as a pattern")
    assert alarmed.states() == {ALARM: "unack"}
    rows = await audited(alarmed, "refused", 2)
    assert [(row["actor"], row["action"]) for row in rows] == [("mallory", "refused")] * 2
    assert "the alarm belongs to enterprise/site/area/line/P-1" in rows[-1]["detail"]
    assert [one.message for one in caplog.records].count("command refused") == 2


async def test_commands_for_other_gateways_are_left_to_them(
    alarmed: Running, broker: Mosquitto, bus: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    """At a shared broker each gateway hears all: only the one that has the machine answers."""
    caplog.set_level("INFO")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = "hmi/answers"
    whole = {"id": "x", "alarm_id": ALARM, "expires": now_ms() + 60_000, "by": "anna"}
    try:
        places = ("edge/acme/south/area/line/P-1", f"{PLACE}/P-99", f"{PLACE}/gateway")
        for number, place in enumerate(places):
            bodies = json.dumps({**whole, "id": f"x-{number}"}), '{"id": "no"}'
            for body in bodies:
                client.publish(f"{place}/_pdm/cmd/ack", body, 1, properties=properties)
        await until(lambda: counted(alarmed, "elsewhere") == 4, "left")
        await until(
            lambda: sum(one.topic == "hmi/answers" for one in bus.received) == 2,
            "ours are answered",
        )
    finally:
        client.disconnect()
        client.loop_stop()
    answers = [json.loads(one.body) for one in bus.received if one.topic == "hmi/answers"]
    assert sorted(one["reason"] for one in answers) == ["malformed", "place"]
    assert alarmed.states() == {ALARM: "unack"}
    assert len(await alarmed.daemon.parts.status.audit(AuditFilter(), 10)) == 2
    told = [one for one in caplog.records if one.message.startswith("command for a machine")]
    assert [one.__dict__["place"] for one in told] == ["acme/south/area/line/P-1"]


async def test_guidance_has_what_was_written_before_this_occurrence(alarmed: Running) -> None:
    """What to check by the kind of input, and nobody's words about the present occurrence."""
    status = alarmed.daemon.parts.status
    await status.command("ack", ALARM, "anna", None, "seal was worn")
    await audited(alarmed, "ack", 1)
    found = await status.guidance(ALARM)
    assert found["guidance"]["check"]
    assert found["last_time"] is None
    with pytest.raises(NotFoundError):
        await status.guidance("P-9.none")


async def test_a_refused_command_is_logged_with_what_is_missing(
    alarmed: Running, bus: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one line each when there are thousands; all are counted."""
    bus.publish(f"{PLACE}/P-1/_pdm/cmd/ack", json.dumps({"alarm_id": ALARM, "by": "anna"}).encode())
    await until(lambda: counted(alarmed, "malformed") == 1, "counted")
    await until(lambda: "command refused" in [one.message for one in caplog.records], "logged")
    (line,) = [one for one in caplog.records if one.message == "command refused"]
    assert line.__dict__["reason"] == "expires is missing: epoch milliseconds or ISO 8601"
    for _ in range(200):
        bus.publish(f"{PLACE}/P-1/_pdm/cmd/ack", b"{}")
    await until(lambda: counted(alarmed, "malformed") == 201, "all counted")
    assert [one.message for one in caplog.records].count("command refused") == 20
    await audited(alarmed, "refused", 20)


async def test_a_command_counts_once_also_after_a_restart(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Its id is in the store until it expires; one that would be kept for long is refused."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    expires = now_ms() + 120_000
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {ALARM: "unack"}, "raised")
        command(bus, "ack", id="once", expires=expires, by="anna")
        await until(lambda: running.states() == {ALARM: "acked"}, "acknowledged")
        feed.send("P-1", 10)
        await until(lambda: running.states() == {ALARM: "normal"}, "cleared")
    async with site.daemon() as running:
        await until(running.up, "up again")
        feed.send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {ALARM: "unack"}, "raised again")
        command(bus, "ack", id="once", expires=expires, by="mallory")
        await until(lambda: counted(running, "repeated") == 1, "refused")
        command(bus, "ack", id="long", expires="9999-01-01T00:00:00Z")
        await until(lambda: counted(running, "too_far") == 1, "refused, too")
        assert running.states() == {ALARM: "unack"}


async def test_a_live_command_with_the_retain_flag_is_none(
    alarmed: Running, bus: Subscriber
) -> None:
    """It would come again with every connection."""
    whole = {"id": "kept", "alarm_id": ALARM, "expires": now_ms() + 60_000}
    bus.publish(f"{PLACE}/P-1/_pdm/cmd/ack", json.dumps(whole).encode(), retain=True)
    await until(lambda: counted(alarmed, "retained") == 1, "refused")
    assert alarmed.states() == {ALARM: "unack"}


async def test_commands_are_answered_where_they_ask_for_it(
    alarmed: Running, broker: Mosquitto, bus: Subscriber
) -> None:
    """Success and refusal, with the correlation data; never to a topic of alarms."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def send(kind: str, topic: str, **body: Any) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = topic
        properties.CorrelationData = b"7"
        whole = {"id": secrets.token_hex(4), "alarm_id": ALARM, "expires": now_ms() + 60_000}
        raw = json.dumps({**whole, **body}).encode()
        client.publish(f"{PLACE}/P-1/_pdm/cmd/{kind}", raw, 1, properties=properties)

    def answers(topic: str) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in bus.received if one.topic == topic]

    try:
        send("ack", "hmi/1/answers", id="a", comment="I see to it", by="anna")
        await until(lambda: answers("hmi/1/answers"), "answered")
        assert answers("hmi/1/answers") == [{"id": "a", "ok": True, "alarms": {ALARM: "acked"}}]
        alarm = alarmed.daemon.runtime.alarms.get(ALARM)
        assert alarm is not None
        assert (alarm.acked_by, alarm.comment) == ("anna", "I see to it")
        send("ack", f"{PLACE}/P-1/_pdm/reply/hmi", id="b")
        send("shelve", f"{PLACE}/P-1/_pdm/reply/hmi", id="c")
        send("ack", f"{PLACE}/P-1/_pdm/event", id="d", alarm_id="*", expires=1)
        await until(lambda: len(answers(f"{PLACE}/P-1/_pdm/reply/hmi")) == 2, "refusals answered")
        refused = {one["id"]: one for one in answers(f"{PLACE}/P-1/_pdm/reply/hmi")}
        assert not refused["b"]["ok"]
        assert "cannot ack" in refused["b"]["error"]
        assert refused["c"]["error"] == "duration_s is missing: for how many seconds"
        await until(lambda: counted(alarmed, "expired") == 1, "heard")
        assert not [one for one in answers(f"{PLACE}/P-1/_pdm/event") if "ok" in one]
    finally:
        client.disconnect()
        client.loop_stop()


async def test_a_command_without_the_right_is_audited(alarmed: Running) -> None:
    """By whom it came, over TCP without a token; and counted."""
    url = f"{alarmed.url}/api/alarms/{ALARM}/ack"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"by": "mallory"}) as answer,
    ):
        assert answer.status == 403
    assert alarmed.states() == {ALARM: "unack"}
    assert value_of(alarmed.daemon.parts.metrics.http_denied) == 1
    status = alarmed.daemon.parts.status
    [entry] = await status.audit(AuditFilter(), 10)
    assert (entry["actor"], entry["action"]) == ("127.0.0.1", "refused")
    assert entry["detail"].startswith("denied: command over TCP needs a key, and none is set")


async def test_a_command_with_a_key_is_audited_under_its_name_until_it_is_revoked(
    alarmed: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made and revoked by the command line beside the running daemon; the audit has both."""
    keys = ["keys", "--file", str(tmp_path / "keys.json")]
    create = [keys[0], "create", "panel", "--scope", "command", *keys[1:]]
    assert await asyncio.to_thread(main, create) == 0
    bearer = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    url = f"{alarmed.url}/api/alarms/{ALARM}"
    async with aiohttp.ClientSession(headers=bearer) as session:
        assert (await session.post(f"{url}/ack", json={"by": "anna"})).status == 200
        revoke = [keys[0], "revoke", "panel", *keys[1:]]
        assert await asyncio.to_thread(main, revoke) == 0
        assert (await session.post(f"{url}/unshelve", json={"by": "anna"})).status == 401
    rows = await alarmed.daemon.parts.status.audit(AuditFilter(), 10)
    denied, acked = (one for one in rows if one["action"] in {"ack", "refused"})
    assert (acked["actor"], acked["action"]) == ("anna (key panel)", "ack")
    assert denied["detail"].startswith("denied: the key panel was revoked")
    assert alarmed.states() == {ALARM: "acked"}


async def test_all_alarms_of_an_asset_are_acknowledged_over_the_bus(
    alarmed: Running, bus: Subscriber
) -> None:
    """By a pattern, within the asset of the topic."""
    Feed(bus).send("P-2", 2, temp=200.0)
    await until(lambda: len(alarmed.states()) == 2, "two alarms")
    command(bus, "ack", alarm_id="*", by="anna")
    await until(lambda: alarmed.states()[ALARM] == "acked", "acknowledged")
    assert alarmed.states()["P-2.temp.quality"] == "unack"


async def test_the_audit_of_a_running_daemon_is_read_by_the_command(
    alarmed: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done and what was refused, over HTTP, with who, why and until when."""
    said = ("--by", "anna", "--comment", "pump out")
    assert await alarms(alarmed, "shelve", ALARM, "--for", "30m", *said) == 0
    assert await alarms(alarmed, "suppress", "P-1.none", "--by", "bert") != 0
    capsys.readouterr()
    assert await alarms(alarmed, "audit", "--asset", "P-1", "--json") == 0
    refused, shelved = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (shelved["actor"], shelved["action"], shelved["subject"]) == ("anna", "shelve", ALARM)
    assert re.fullmatch(r"until 20..-..-..T..:..:..Z: pump out", shelved["detail"])
    assert (refused["actor"], refused["action"]) == ("bert", "refused")
    assert refused["detail"].startswith("suppress: ")
    assert await alarms(alarmed, "audit", "--by", "carl") == 0
    assert capsys.readouterr().out == "no entries\n"


async def test_feedback_over_the_bus(tmp_path: Path, broker: Mosquitto, bus: Subscriber) -> None:
    """Executed once, answered and recorded as any command; refused for what it cannot judge."""
    reply, alarm_id = f"{PLACE}/P-1/_pdm/reply/hmi", "P-1.watch"
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def send(number: str, asset: str = "P-1", **body: Any) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = reply
        whole = {"id": number, "alarm_id": alarm_id, "expires": now_ms() + 60_000, "by": "ben"}
        raw = json.dumps({**whole, **body}).encode()
        client.publish(f"{PLACE}/{asset}/_pdm/cmd/feedback", raw, 1, properties=properties)

    def answers() -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in map(json.loads, bus.bodies("_pdm/reply/hmi"))}

    feed = Feed(bus)
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        try:
            feed.send("P-1", 20)
            feed.send("P-1", 40, flow=12.0)
            await until(lambda: running.states().get(alarm_id) == "unack", "raised")
            feed.send("P-1", 2, temp=200.0)
            await until(lambda: running.states().get(ALARM) == "unack", "raised")
            send("a", verdict="false", comment="new oil")
            await until(lambda: "a" in answers(), "answered")
            done = answers()["a"]["feedback"]
            assert answers()["a"]["ok"]
            assert (done["alarm_id"], done["verdict"], done["called_false"]) == (
                alarm_id,
                "false",
                1,
            )
            assert 1.0 < done["limit_factor"] <= 4.0
            (row,) = [r for r in running.daemon.parts.status.alarms(None) if r["feedback"]]
            assert (row["alarm_id"], row["feedback"]) == (alarm_id, "false"), "the page shows it"
            send("a", verdict="true")  # an id counts once
            send("b", verdict="maybe")
            send("c", verdict="true", alarm_id=ALARM)
            send("d", verdict="true", asset="P-2")
            send("e", verdict="true", expires=now_ms() - 1)
            send("f", verdict="true", alarm_id="*")
            await until(lambda: set("bcdef") <= set(answers()), "refused")
            found = answers()
            assert {key: found[key].get("reason") for key in "bcdef"} == {
                "b": "malformed",
                "c": "refused",
                "d": "place",
                "e": "expired",
                "f": "refused",
            }
            assert "not an alarm of an anomaly model" in found["c"]["error"]
            await until(lambda: counted(running, "repeated") == 1, "once")
            rows = await audited(running, "refused", 6)
            said = [row for row in rows if row["action"] == "feedback"]
            assert [(row["actor"], row["subject"]) for row in said] == [("ben", alarm_id)]
            assert said[0]["detail"].startswith("called false, its limit is ")
            assert said[0]["detail"].endswith(": new oil")
        finally:
            client.disconnect()
            client.loop_stop()
