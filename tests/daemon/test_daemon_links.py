"""One cause, one alarm: what a lost link, a silent machine or a silent source tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from daemon_support import fed_config, write_bundle

from edge_agent.clock import FakeClock
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.messages import AlarmState, LinkState
from edge_agent.values import BAD, BAD_NO_COMMUNICATION, BAD_NODE_ID_UNKNOWN, columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

S = 1_000_000
BEGIN_US = 1_700_000_000 * S
SIGNALS: dict[str, Any] = {"flow": {}, "bar": {}, "temp": {}}
TEMPLATE: tuple[str, dict[str, Any]] = ("pump", {"signals": SIGNALS})
SOURCE = "gateway.service.source.plant"


class Plant:
    """A daemon with 40 machines of three signals, whose link and clock the test moves."""

    def __init__(self, daemon: Daemon, clock: FakeClock) -> None:
        self.daemon = daemon
        self.clock = clock
        self.link = daemon.runtime.sources["plant"].link
        self.raised: list[str] = []

    async def seconds(self, n: float, *, values: Callable[[int], int | None] | None = None) -> None:
        """`n` seconds go by; values: the status that each signal sends then, None for silence."""
        for _ in range(round(2 * n)):
            self.clock.advance(0.5)
            rows = range(len(self.daemon.runtime.plant.signals)) if values else []
            sent = [(row, status) for row in rows if (status := values(row)) is not None]  # type: ignore[misc]
            if sent:
                index, status = zip(*sent, strict=True)
                now_us = self.clock.now_us()
                self.daemon.runtime.intake.append(
                    columns(index, [now_us] * len(index), [1.0] * len(index), list(status))
                )
            async with self.daemon.parts.loop.turning:
                await self.daemon.parts.loop.run_turn()
            await self.daemon.parts.supervisor.supervise()

    def states(self) -> dict[str, AlarmState]:
        return {one.alarm_id: one.state for one in self.daemon.runtime.alarms.active()}

    def texts(self) -> dict[str, str]:
        return {
            one.alarm_id: one.detail.message_key
            for one in self.daemon.runtime.alarms.active()
            if one.detail is not None
        }


def good(_row: int) -> int:
    return 0


def lost(_row: int) -> int:
    return BAD_NO_COMMUNICATION


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    path = fed_config(tmp_path, TEMPLATE, "P-{1..40}")
    clock = FakeClock(BEGIN_US)
    daemon = Daemon(load_config(path), path=path, clock=clock)
    await daemon.startup()
    await daemon.runtime.sources["plant"].stop()
    made = Plant(daemon, clock)
    made.link.state = LinkState.UP
    try:
        yield made
    finally:
        await daemon.shutdown()


def fall(plant: Plant, reason: str = "connection refused") -> None:
    plant.link.state, plant.link.detail = LinkState.DOWN, reason


async def test_a_restart_of_three_seconds_is_no_alarm(plant: Plant) -> None:
    """120 signals are lost and come back: nothing is left to be acknowledged."""
    await plant.seconds(5, values=good)
    fall(plant)
    await plant.seconds(3, values=lost)
    assert plant.daemon.parts.supervisor.troubles() == ["plant: connection refused"]
    plant.link.state = LinkState.UP
    await plant.seconds(30, values=good)
    assert plant.states() == {}


async def test_a_lost_link_is_one_alarm_that_clears_by_itself(plant: Plant) -> None:
    """It names the source, the cause and how many machines nobody watches."""
    await plant.seconds(5, values=good)
    fall(plant)
    await plant.seconds(45)
    assert plant.texts() == {SOURCE: "source_down"}
    (alarm,) = plant.daemon.runtime.alarms.active()
    assert alarm.detail is not None
    assert alarm.detail.message_args["assets"] == 40
    assert alarm.detail.message_args["reason"] == "connection refused"
    assert plant.daemon.parts.supervisor.troubles() == ["plant: connection refused (40 assets)"]
    plant.link.state = LinkState.UP
    await plant.seconds(12, values=good)
    assert plant.states() == {SOURCE: AlarmState.RTN_UNACK}


async def test_what_stays_away_after_the_link_is_back_comes_out(plant: Plant) -> None:
    """Two signals of one machine are told one by one, all of another as the machine's."""
    await plant.seconds(5, values=good)
    fall(plant)
    await plant.seconds(40)
    plant.link.state = LinkState.UP

    def but_some(row: int) -> int | None:
        return None if row in {0, 1, 3, 4, 5} else 0

    await plant.seconds(60, values=but_some)
    assert plant.texts() == {
        SOURCE: "source_down",
        "P-1.flow.quality": "sensor_stale",
        "P-1.bar.quality": "sensor_stale",
        "P-2.silent": "asset_silent",
    }


async def test_a_daemon_that_starts_before_its_server_raises_one_alarm(plant: Plant) -> None:
    fall(plant)
    await plant.seconds(90, values=lost)
    assert plant.texts() == {SOURCE: "source_down"}


async def test_a_link_that_comes_and_goes_is_one_alarm(plant: Plant) -> None:
    """Though it is never down for as long as the delay."""
    await plant.seconds(5, values=good)
    for _ in range(4):
        fall(plant)
        await plant.seconds(4, values=lost)
        plant.link.state = LinkState.UP
        await plant.seconds(2, values=good)
    assert plant.texts() == {SOURCE: "source_down"}


async def test_all_machines_silent_behind_a_link_that_is_up_are_one_alarm(plant: Plant) -> None:
    """As of a broker that is half open, or a gateway whose field network is away."""
    await plant.seconds(5, values=good)
    await plant.seconds(50)
    assert plant.texts() == {SOURCE: "source_silent"}
    await plant.seconds(20, values=good)
    assert plant.states() == {SOURCE: AlarmState.RTN_UNACK}
    await plant.seconds(20, values=lost)
    assert plant.texts() == {SOURCE: "source_silent"}


async def test_one_silent_machine_of_many_is_one_alarm_of_its_own(plant: Plant) -> None:
    """Not one for each of its signals; it clears when the first of them is back."""
    await plant.seconds(5, values=good)
    await plant.seconds(50, values=lambda row: None if row < 3 else 0)
    assert plant.texts() == {"P-1.silent": "asset_silent"}
    await plant.seconds(35, values=good)
    assert plant.states() == {"P-1.silent": AlarmState.RTN_UNACK}


async def test_a_single_sensor_is_told_as_before(plant: Plant) -> None:
    await plant.seconds(5, values=good)
    await plant.seconds(50, values=lambda row: None if row == 0 else 0)
    assert plant.texts() == {"P-1.bar.quality": "sensor_stale"}


async def test_a_sink_that_is_down_for_long_is_an_alarm(plant: Plant) -> None:
    plant.daemon.parts.publisher.sinks["lines"].link.state = LinkState.DOWN
    await plant.seconds(50, values=good)
    assert plant.states() == {}
    await plant.seconds(15, values=good)
    assert plant.texts() == {"gateway.service.sink.lines": "sink_down"}


async def test_wrong_addresses_are_one_fault_of_the_config(plant: Plant) -> None:
    """Not one alarm of each sensor; it names how many, and the first of them."""
    await plant.seconds(25, values=lambda row: BAD_NODE_ID_UNKNOWN if row < 6 else 0)
    assert plant.texts() == {"gateway.service.nodes.plant": "nodes_refused"}
    (trouble,) = plant.daemon.parts.supervisor.troubles()
    assert trouble.startswith(
        "plant: 6 of 120 nodes refused: P-1.bar BadNodeIdUnknown (0x80340000)"
    )
    await plant.seconds(5, values=good)
    assert plant.states() == {"gateway.service.nodes.plant": AlarmState.RTN_UNACK}


async def test_a_bad_sensor_is_told_with_the_name_of_its_status(plant: Plant) -> None:
    await plant.seconds(5, values=lambda row: BAD + 0x8C0000 if row == 0 else 0)
    (alarm,) = plant.daemon.runtime.alarms.active()
    message = plant.daemon.parts.publisher.texts_of(alarm)["message"]["en"]
    assert message == "P-1: bar reports bad quality: BadSensorFailure (0x808C0000)"


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Plant]:
    """Two machines with a model, which wants ten rows a second."""
    signals: dict[str, Any] = {"flow": {}, "pressure": {}}
    models = [{"bundle": "watch", "lateness": "0s"}]
    path = fed_config(tmp_path, ("pump", {"signals": signals, "models": models}), "P-{1..2}")
    write_bundle(tmp_path / "models" / "watch")
    clock = FakeClock(BEGIN_US)
    daemon = Daemon(load_config(path), path=path, clock=clock)
    await daemon.startup()
    await daemon.runtime.sources["plant"].stop()
    made = Plant(daemon, clock)
    made.link.state = LinkState.UP
    try:
        yield made
    finally:
        await daemon.shutdown()


async def rows(plant: Plant, n: int, assets: str = "P-1 P-2") -> None:
    for _ in range(n):
        plant.clock.advance(0.1)
        for asset in assets.split():
            signals = plant.daemon.runtime.plant.assets[asset].signals
            index = [signals["flow"].index, signals["pressure"].index]
            plant.daemon.runtime.intake.append(
                columns(index, [plant.clock.now_us()] * 2, [10.0, 4.0])
            )
        await plant.daemon.parts.loop.run_turn()


async def test_a_machine_whose_values_are_away_is_not_judged(watched: Plant) -> None:
    """Its last score is no longer shown, neither on the page nor as a metric; `note` says why."""
    status, metrics = watched.daemon.parts.status, watched.daemon.parts.metrics
    await rows(watched, 40)
    assert [one["state"] for one in status.assets()] == ["normal", "normal"]
    await rows(watched, 400, "P-2")
    first, second = status.assets()
    assert (first["state"], second["state"]) == ("alarm", "normal")
    assert first["note"] == "not judged: no usable value from flow, pressure"
    assert first["health"] is None
    status.export()
    text = metrics.render().decode()
    assert "edge_agent_assets_unjudged 1.0" in text
    assert 'edge_agent_score{asset="P-1"' not in text
    assert 'edge_agent_score{asset="P-2"' in text


async def test_a_lost_source_leaves_no_machine_green(watched: Plant) -> None:
    await rows(watched, 40)
    fall(watched)
    await watched.seconds(40)
    shown = {(one["state"], one["note"]) for one in watched.daemon.parts.status.assets()}
    assert shown == {("unjudged", "not judged: plant: connection refused")}
    watched.link.state = LinkState.UP
    await rows(watched, 40)
    assert {one["state"] for one in watched.daemon.parts.status.assets()} == {"normal"}
