"""The simulated pumps: physics that holds, and faults that show where they should."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.demo.plant import FAULTS, NAMES, SENSORS, PumpPlant

TICK_S = 6.0


def run(plant: PumpPlant, steps: int) -> np.ndarray:
    """Readings [steps, pumps, sensors]."""
    rows = []
    for _ in range(steps):
        plant.step(TICK_S)
        rows.append(plant.readings)
    return np.array(rows)


def column(readings: np.ndarray, name: str) -> np.ndarray:
    return readings[..., NAMES.index(name)]


def change(fault: str, seconds: float = 600.0) -> dict[str, float]:
    """How many healthy standard deviations the mean of each sensor moves by a fault."""
    plant = PumpPlant(1, seed=3)
    before = run(plant, 200)[:, 0]
    plant.inject(0, fault)
    run(plant, round(seconds / TICK_S))
    after = run(plant, 100)[:, 0]
    moved = (after.mean(axis=0) - before.mean(axis=0)) / before.std(axis=0)
    return dict(zip(NAMES, moved.tolist(), strict=True))


def test_the_same_seed_gives_the_same_readings() -> None:
    assert (run(PumpPlant(3, 5), 20) == run(PumpPlant(3, 5), 20)).all()
    assert (run(PumpPlant(3, 5), 20) != run(PumpPlant(3, 6), 20)).any()


def test_a_healthy_pump_runs_as_its_data_sheet_says() -> None:
    readings = run(PumpPlant(5), 300)
    assert 95 < column(readings, "flow").mean() < 115
    assert 20 < column(readings, "current").mean() < 26
    assert column(readings, "vibration").max() < 2.3  # ISO 20816-3: zone A
    assert 40 < column(readings, "bearing_temperature").mean() < 60


def test_affinity_laws_hold_between_slow_and_fast() -> None:
    readings = run(PumpPlant(1), 600)[:, 0]
    speed, flow = column(readings, "speed"), column(readings, "flow")
    head = column(readings, "discharge_pressure") - column(readings, "suction_pressure")
    slow, fast = speed < np.quantile(speed, 0.1), speed > np.quantile(speed, 0.9)
    ratio = speed[fast].mean() / speed[slow].mean()
    assert head[fast].mean() / head[slow].mean() == pytest.approx(ratio**2, rel=0.05)
    assert flow[fast].mean() > flow[slow].mean() * ratio  # the static head counts for more below


def test_it_begins_warm_so_that_nothing_drifts_while_others_learn() -> None:
    temperature = column(run(PumpPlant(5), 600), "bearing_temperature")
    drift = temperature[-100:].mean(axis=0) - temperature[:100].mean(axis=0)
    assert np.abs(drift).max() < 0.5


def test_readings_are_quantised_and_in_range() -> None:
    readings = run(PumpPlant(2), 50)
    for name, sensor in SENSORS.items():
        steps = column(readings, name) / sensor.resolution
        assert np.allclose(steps, np.round(steps), atol=1e-3)
        assert column(readings, name).min() >= sensor.low
        assert column(readings, name).max() <= sensor.high


def test_a_worn_bearing_shakes_and_warms() -> None:
    moved = change("bearing_wear", 1200)
    assert moved["vibration"] > 20
    assert moved["bearing_temperature"] > 20
    assert abs(moved["flow"]) < 2


def test_cavitation_costs_suction_head_and_flow_and_shakes() -> None:
    moved = change("cavitation")
    assert moved["suction_pressure"] < -20
    assert moved["vibration"] > 5
    assert moved["flow"] < -1
    assert moved["discharge_pressure"] < -3


def test_a_blocked_valve_costs_flow_and_current_and_raises_pressure_while_it_reads_open() -> None:
    moved = change("blocked_valve")
    assert moved["flow"] < -5
    assert moved["current"] < -1
    assert moved["discharge_pressure"] > 1
    assert abs(moved["valve"]) < 1


def test_a_stuck_sensor_repeats_itself_and_a_lost_one_says_nothing() -> None:
    plant = PumpPlant(2)
    run(plant, 10)
    plant.inject(0, "stuck_sensor")
    plant.inject(1, "lost_sensor")
    readings = run(plant, 50)
    assert len(set(column(readings, "bearing_temperature")[:, 0])) == 1
    assert np.isnan(column(readings, "vibration")[:, 1]).all()
    assert not np.isnan(readings[:, 0]).any()


def test_a_healthy_sensor_never_looks_stuck() -> None:
    temperature = column(run(PumpPlant(5), 3000), "bearing_temperature")
    same = np.diff(temperature, axis=0) == 0
    window = np.lib.stride_tricks.sliding_window_view(same, 20, axis=0)
    assert not window.all(axis=-1).any()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_hits_its_pump_only_and_ends_with_the_repair(fault: str) -> None:
    plant, healthy = PumpPlant(2, 9), PumpPlant(2, 9)
    run(plant, 10), run(healthy, 10)
    plant.inject(0, fault)
    broken = run(plant, 100)
    assert column(broken, "speed")[:, 0].std() > 0
    plant.repair(0)
    run(plant, 2000), run(healthy, 2100)
    mended, well = run(plant, 50), run(healthy, 50)
    assert np.abs(mended.mean(axis=0) - well.mean(axis=0)).max() < 3.0
    assert not np.isnan(mended).any()
