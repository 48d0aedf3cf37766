"""SIGHUP: only what changed is exchanged, and a config or model that is wrong changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from daemon_support import LENGTH, PLACE, STEP_MS, Feed, Site, now_ms, write_bundle
from sink_support import Subscriber
from support import until, value_of

from edge_agent.daemon import model_manager
from edge_agent.messages import LinkState
from edge_agent.store import AuditFilter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_agent.daemon.daemon import Daemon
    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


def reloads(daemon: Daemon, outcome: str) -> float:
    return float(value_of(daemon.parts.metrics.config_reloads.labels(outcome)))


def scored(bus: Subscriber, asset: str) -> list[int]:
    """Times (ms) of the windows whose scores came over the bus."""
    return [orjson.loads(b)["ts"] for b in bus.bodies(f"/{asset}/_pdm/score/watch")]


def gapless(times: list[int]) -> bool:
    """Whether every window came, once."""
    return times == list(range(times[0], times[-1] + 1, STEP_MS))


async def test_a_changed_limit_holds_from_the_next_window_on(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Not one window is lost by it: those that are half full go on."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 12, flow=10.1)
        await until(lambda: len(scored(bus, "P-1")) == 5, "windows")
        assert running.states() == {}
        rule = {"limit": 0.001, "off_delay": "300ms"}
        models = [{"bundle": "watch", "lateness": "200ms", "alarm": rule}]
        site.change(templates={"pump": {"models": models}})
        await running.daemon.parts.reloader.reload()
        feed.send("P-1", 3, flow=10.1)
        await until(lambda: running.states() == {"P-1.watch": "unack"}, "raised")
        await until(lambda: len(scored(bus, "P-1")) == 15 - LENGTH + 1, "every window")
    assert gapless(scored(bus, "P-1"))
    assert reloads(running.daemon, "ok") == 1


async def test_a_refused_config_is_an_alarm_until_one_is_taken(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """Who changed a limit must see that it does not hold, and that a restart would fail.

    Both reloads are in the audit.
    """
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        site.change(tuning={"tick": "soon"})
        await running.daemon.parts.reloader.reload()
        alarm = f"{running.daemon.runtime.config.gateway.id}.service.config"
        await until(lambda: running.states().get(alarm) == "unack", "raised")
        site.change(tuning={"tick": "50ms"})
        await running.daemon.parts.reloader.reload()
        assert running.daemon.parts.reloader.faults() == []
        done, refused = await running.daemon.parts.status.audit(AuditFilter(actor="SIGHUP"), 10)
    assert (done["action"], done["subject"]) == ("reload", str(site.path))
    assert refused["action"] == "refused"
    assert "tuning.tick" in refused["detail"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"templates": {"pump": {"models": [{"bundle": "none"}]}}}, "none"),
        ({"tuning": {"tick": "soon"}}, "tuning.tick"),
        ({"store": {"path": "other.db"}}, "store cannot change while running"),
        ({"http": {"port": 1}}, "http cannot change while running"),
        ({"alarms": {"texts": "missing.yaml"}}, "missing.yaml"),
    ],
    ids=["no such bundle", "no duration", "another store", "another port", "no such texts"],
)
async def test_a_config_that_cannot_be_taken_changes_nothing_and_says_so(  # noqa: PLR0917
    tmp_path: Path,
    broker: Mosquitto,
    bus: Subscriber,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, object],
    said: str,
) -> None:
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 10)
        await until(lambda: running.windows() == 10 - LENGTH + 1, "windows")
        before = running.daemon.runtime.config
        site.change(**changes)
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.config is before
        (fault,) = running.daemon.parts.reloader.faults()
        assert said in fault.text
        feed.send("P-1", 10)
        await until(lambda: running.windows() == 20 - LENGTH + 1, "windows go on")
        assert running.up()
    refusals = [one for one in caplog.records if "refused" in one.message]
    assert len(refusals) == 1
    assert said in vars(refusals[0])["reason"]
    assert reloads(running.daemon, "refused") == 1


async def test_a_changed_sink_is_exchanged_and_takes_over_what_waits(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, make_broker: Callable[..., Mosquitto]
) -> None:
    """The alarm was raised while the first broker was away."""
    away = make_broker()
    away.stop()
    site = Site(tmp_path, broker.url, sinks={"bus": {"url": away.url}})
    feed = Feed(bus)
    async with site.daemon() as running:
        source = running.daemon.runtime.sources["plant"]
        await until(lambda: source.link.state == LinkState.UP, "source up")
        feed.send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {"P-1.temp.quality": "unack"}, "raised")
        site.change(sinks={"bus": {"url": broker.url}})
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.sources["plant"] is source, "only the sink was exchanged"
        await until(lambda: bus.ids("/_pdm/event") == ["P-1.temp.quality:1"], "delivered")


async def test_a_sink_is_exchanged_there_and_back(tmp_path: Path, broker: Mosquitto) -> None:
    """Each reload is compared with the one before it, not with the start."""
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        status = running.daemon.parts.status
        await until(running.up, "up")
        site.change(sinks={"lines": {"type": "log"}})
        await running.daemon.parts.reloader.reload()
        assert [row["name"] for row in status.summary()["sinks"]] == ["bus", "lines"]
        site.change(sinks={"lines": None})
        await running.daemon.parts.reloader.reload()
        assert [row["name"] for row in status.summary()["sinks"]] == ["bus"]
        assert reloads(running.daemon, "ok") == 2


async def test_changed_limits_hold_without_losing_a_window(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url, alarms={"shelve_max": "1s", "flood_limit": 1})
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 10, temp=200.0, flow=15.0)
        await until(lambda: running.states().get("P-1.flood") == "unack", "a flood")
        (held,) = {"P-1.temp.quality", "P-1.watch"} - {
            name for name, state in running.states().items() if state == "unack"
        }
        site.change(alarms={"shelve_max": "1h", "flood_limit": 100})
        await running.daemon.parts.reloader.reload()
        feed.send("P-1", 10, temp=200.0, flow=15.0)
        await until(lambda: running.states()[held] == "unack", "there is room")
        await until(lambda: len(scored(bus, "P-1")) == 20 - LENGTH + 1, "every window")
        await running.daemon.parts.commands.apply_one("shelve", "P-1.temp.quality", "anna", 3000)
    assert gapless(scored(bus, "P-1"))


async def test_texts_that_are_wrong_change_nothing(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        (tmp_path / "texts.yaml").write_text("anomaly: [1, 2]\n")
        texts = {"texts": str(tmp_path / "texts.yaml")}
        site.change(alarms=texts, sinks={"lines": {"type": "log"}})
        before = running.daemon.runtime.config
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.config is before
        assert list(running.daemon.parts.publisher.sinks) == ["bus"]
    assert [one for one in caplog.records if "refused" in one.message]


async def test_a_sink_that_leaves_the_config_goes_offline(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url, sinks={"lines": {"type": "log"}})
    async with site.daemon() as running:
        await until(running.up, "up")
        site.change(sinks={"bus": None})
        await running.daemon.parts.reloader.reload()
        assert list(running.daemon.parts.publisher.sinks) == ["lines"]
        await until(lambda: bus.bodies("/status")[-1:] == [b"offline"], "offline")


async def test_new_assets_appear_and_values_on_their_way_are_not_lost(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url)
    write_bundle(site.folder / "models" / "watch", ["P-1", "P-2", "P-3"])
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 10)
        await until(lambda: running.windows() == 10 - LENGTH + 1, "windows")
        site.change(assets={"P-3": {"template": "pump"}})
        reloading = asyncio.create_task(running.daemon.parts.reloader.reload())
        for _ in range(10):
            feed.send("P-1", 2)
            await asyncio.sleep(0.02)
        await reloading
        feed.send("P-3", 20)
        feed.send("P-1", 20)
        await until(lambda: len(scored(bus, "P-3")) == 20 - LENGTH + 1, "of the new asset")
        received = value_of(running.daemon.parts.metrics.values_received.labels("plant"))
    assert received == 3 * sum(feed.sent.values())


async def test_an_alarm_outlives_the_exchange_of_the_plant(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """It stays as it is while its condition stays, and clears when that goes."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {"P-1.temp.quality": "unack"}, "raised")
        site.change(assets={"P-3": {"template": "pump"}})
        await running.daemon.parts.reloader.reload()
        feed.send("P-1", 10, temp=200.0)
        await asyncio.sleep(1.0)
        assert running.states() == {"P-1.temp.quality": "unack"}
        feed.send("P-1", 10)
        await until(lambda: running.states() == {"P-1.temp.quality": "rtn_unack"}, "cleared")
    wanted = ["P-1.temp.quality:1", "P-1.temp.quality:2"]
    await until(lambda: bus.ids("/_pdm/event") == wanted, "both events")


async def test_alarms_of_an_asset_that_leaves_are_withdrawn(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Their retained alerts too, and once: a later start has nothing more to say."""
    site = Site(tmp_path, broker.url, sources={"plant": {"subscribe": [WITHOUT_DISCOVERY]}})
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-2", 2, temp=200.0)
        await until(lambda: running.states() == {"P-2.temp.quality": "unack"}, "raised")
        site.change(assets={"P-{1..2}": None, "P-1": {"template": "pump"}})
        await running.daemon.parts.reloader.reload()
        assert running.states() == {}
        alert = f"{PLACE}/P-2/_pdm/alert/P-2.temp.quality"
        await until(lambda: bus.bodies(alert)[-1:] == [b""], "emptied")
    async with site.daemon() as running:
        await until(running.up, "up again")
        await asyncio.sleep(0.5)
        assert running.states() == {}
    wanted = ["P-2.temp.quality:1", "P-2.temp.quality:2"]
    await until(lambda: bus.ids("/_pdm/event") == wanted, "both events")


WITHOUT_DISCOVERY = {"topic": "plant/{asset}", "payload": {"time": "ts"}}


async def test_alarms_of_an_asset_that_left_while_we_were_away_are_withdrawn(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Of one, too, that took another's place by a reload: where it stood is remembered."""
    site = Site(tmp_path, broker.url, sources={"plant": {"subscribe": [WITHOUT_DISCOVERY]}})
    feed = Feed(bus)
    alert = "P-7/_pdm/alert/P-7.temp.quality"
    async with site.daemon() as running:
        await until(running.up, "up")
        site.change(assets={"P-{1..2}": None, "P-1": {"template": "pump"}})
        site.change(assets={"P-7": {"template": "pump", "area": "wet"}})
        await running.daemon.parts.reloader.reload()
        await until(running.up, "up again")
        feed.send("P-7", 2, temp=200.0)
        await until(lambda: bus.ids(alert) == ["P-7.temp.quality:1"], "raised")
    site.change(assets={"P-7": None})
    async with site.daemon():
        await until(lambda: bus.bodies(alert)[-1:] == [b""], "emptied")
    assert bus.bodies(f"wet/line/{alert}"), "where it stood"


async def test_a_new_version_of_a_model_takes_over_between_two_windows(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Values flow all the while: every window is scored once, by one of the two."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        (before,) = running.daemon.runtime.pipeline.deployments.models()
        reloading = None
        for number in range(100):
            feed.send("P-1", flow=10.1)
            feed.send("P-2", flow=10.1)
            await asyncio.sleep(0.02)
            if number == 30:
                write_bundle(site.folder / "models" / "watch", version=2)
                reloading = asyncio.create_task(running.daemon.parts.reloader.reload())
        assert reloading is not None
        await reloading
        feed.send("P-1", 20, flow=10.1)
        feed.send("P-2", 20, flow=10.1)
        (after,) = running.daemon.runtime.pipeline.deployments.models()
        await until(lambda: running.windows() >= 2 * (120 - LENGTH + 1), "every window")
        await until(lambda: len(scored(bus, "P-2")) > 120 - LENGTH, "every score on the bus")
    assert after.manifest.version != before.manifest.version
    for asset in ("P-1", "P-2"):
        assert len(scored(bus, asset)) == 120 - LENGTH + 1
        assert gapless(scored(bus, asset))


async def test_a_broken_bundle_leaves_the_old_one_at_work_until_it_is_mended(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url)
    folder = site.folder / "models" / "watch"
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        (before,) = running.daemon.runtime.pipeline.deployments.models()
        write_bundle(folder, version=2)
        good = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.pipeline.deployments.models() == [before]
        refused = running.daemon.parts.metrics.model_rejected.labels("watch", "checksum")
        assert value_of(refused) == 1
        feed.send("P-1", 20)
        await until(lambda: running.windows() == 20 - LENGTH + 1, "windows go on")
        (folder / "model.onnx").write_bytes(good)
        await running.daemon.parts.reloader.reload()
        (after,) = running.daemon.runtime.pipeline.deployments.models()
        assert after.manifest.version != before.manifest.version


async def test_a_bundle_that_was_broken_at_the_start_is_taken_up_when_it_is_mended(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url)
    model = site.folder / "models" / "watch" / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        assert list(running.daemon.runtime.pipeline.deployments.reports.not_loaded) == ["watch"]
        assert set(running.daemon.runtime.models.without) == {"P-1", "P-2"}
        model.write_bytes(good)
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.pipeline.deployments.reports.not_loaded == {}
        assert running.daemon.runtime.models.without == {}
        feed.send("P-1", 20)
        await until(lambda: running.windows() == 20 - LENGTH + 1, "windows")


async def test_a_day_of_learning_outlives_the_exchange_of_the_plant(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    learn = {"auto": True, "duration": "1h", "step": "100ms", "length": 8, "lateness": "200ms"}
    site = Site(tmp_path, broker.url, templates={"pump": {"models": None, "learn": learn}})
    feed = Feed(bus)

    def progress() -> dict[str, float]:
        return running.daemon.runtime.pipeline.learning["pump"].progress()

    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 100)
        await until(lambda: progress()["P-1"] >= 90 / 36_000, "rows")
        site.change(assets={"P-3": {"template": "pump"}})
        await running.daemon.parts.reloader.reload()
        assert progress()["P-1"] >= 90 / 36_000
        assert progress()["P-3"] == 0
        feed.send("P-1", 100)
        await until(lambda: progress()["P-1"] >= 190 / 36_000, "and on")
        learn["step"] = "200ms"
        site.change(templates={"pump": {"learn": learn}})
        await running.daemon.parts.reloader.reload()
        assert progress()["P-1"] == 0, "rows of another grid are no good"


async def test_what_is_learned_during_an_exchange_of_the_plant_is_put_to_work(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = {"auto": True, "duration": "30s", "step": "100ms", "length": 8, "lateness": "200ms"}
    site = Site(tmp_path, broker.url, templates={"pump": {"models": None, "learn": learn}})
    begun, exchanged = asyncio.Event(), asyncio.Event()
    train_baseline = vars(model_manager)["train_baseline"]

    async def slowly(*args: Any) -> Any:
        begun.set()
        await exchanged.wait()
        return await train_baseline(*args)

    monkeypatch.setattr(model_manager, "train_baseline", slowly)
    numbers = np.random.default_rng(1)
    async with site.daemon() as running:
        await until(running.up, "up")
        signals = running.daemon.runtime.plant.assets["P-1"].signals
        assert set(signals) == {"flow", "pressure", "temp"}
        begin_ms = now_ms() // STEP_MS * STEP_MS - 60_000
        rows = [
            (begin_ms + STEP_MS * n, dict(zip(signals, numbers.normal(9, 1, 3), strict=True)))
            for n in range(310)
        ]
        running.daemon.runtime.intake.append(running.values("P-1", rows))
        await until(begun.is_set, "enough rows")
        site.change(assets={"P-3": {"template": "pump"}})
        await running.daemon.parts.reloader.reload()
        assert "P-1" in running.daemon.runtime.models.without
        exchanged.set()
        await until(lambda: "P-1" not in running.daemon.runtime.models.without, "put to work")


async def test_reloads_that_come_together_are_carried_out_one_by_one(
    tmp_path: Path, broker: Mosquitto
) -> None:
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        site.change(assets={"P-3": {"template": "pump"}})
        await asyncio.gather(*(running.daemon.parts.reloader.reload() for _ in range(3)))
        await until(running.up, "up again")
        assert reloads(running.daemon, "ok") == 3
        assert set(running.daemon.runtime.plant.assets) == {"P-1", "P-2", "P-3"}
