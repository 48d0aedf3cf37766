"""One id never stands for two machines: a topic of another one gets its own id, or is refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from mqtt_support import make_plant, subscription
from test_mqtt_routes import Path

from edge_agent.config import schema
from edge_agent.delivery import Memory
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from edge_agent.messages import Fault
    from edge_agent.sources.mqtt.config import Subscription


def discovering(topic: str = "plant/{line}/{asset}/{signal}", **options: str) -> Subscription:
    return subscription(topic, template="pump", **options)


def faults(path: Path, now_s: float = 0.0) -> dict[str, Fault]:
    found: dict[str, Fault] = {}
    path.routes.machines.conflicts.report(found, now_s)
    return found


def ids(path: Path) -> list[tuple[str, float]]:
    return [(name.removesuffix(".s0"), value) for name, value in path.rows()]


def configured(**assets: schema.Asset) -> Plant:
    return Plant(
        schema.Config(
            sources={"bus": None},  # type: ignore[dict-item]
            templates={"pump": schema.Template(signals={"s0": schema.Signal()})},  # type: ignore[dict-item]
            assets=assets,
        )
    )


def test_two_lines_with_a_machine_of_one_name_are_two_assets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = Path(make_plant(), discovering())
    for n in range(3):
        path.take(("plant/line-1/M-01/s0", str(4 + n)), ("plant/line-2/M-01/s0", str(90 + n)))
    expected = [("M-01", 4.0), ("line-2-M-01", 90.0), ("M-01", 5.0), ("line-2-M-01", 91.0)]
    assert ids(path)[:4] == expected
    assert path.plant.assets["line-2-M-01"].path.endswith("/line-2/line-2-M-01")
    (warning,) = [one for one in caplog.records if one.message == "two machines of one name"]
    assert (warning.topic, warning.other) == ("plant/line-2/M-01/s0", "plant/line-1/M-01/s0")  # type: ignore[attr-defined]
    assert faults(path) == {}


def test_all_signals_of_a_machine_stay_together() -> None:
    path = Path(make_plant(), discovering())
    path.take(*((f"plant/l{n}/M/s{k}", f"{n}{k}") for k in range(3) for n in (1, 2)))
    assert sorted(path.rows()) == [("M.s0", 10), ("M.s1", 11), ("M.s2", 12)] + [
        (f"l2-M.s{k}", 20.0 + k) for k in range(3)
    ]


@pytest.mark.parametrize("first", [1, 2])
def test_after_a_restart_each_is_what_it_was_whoever_speaks_first(first: int) -> None:
    """Alarms and what was learned belong to the id."""
    before = Path(make_plant(), discovering())
    before.take(("plant/l1/M/s0", "1"), ("plant/l2/M/s0", "2"))
    after = Path(make_plant(), discovering())
    after.plant.restore(Memory.parse(Memory.of(before.plant).dump()).discovered)
    order = (1, 2) if first == 1 else (2, 1)
    after.take(*((f"plant/l{n}/M/s0", str(n)) for n in order))
    assert sorted(ids(after)) == [("M", 1.0), ("l2-M", 2.0)]
    after.take(("plant/l3/M/s0", "3"))
    assert ids(after) == [("l3-M", 3.0)]


def test_other_placeholders_than_the_line_tell_machines_apart() -> None:
    path = Path(make_plant(), discovering("plant/{hall}/{asset}/{signal}"))
    path.take(("plant/h1/M/s0", "1"), ("plant/h2/M/s0", "2"))
    assert ids(path) == [("M", 1.0), ("h2-M", 2.0)]


def test_a_format_that_gives_one_id_for_two_machines() -> None:
    """A-1 with 2 and A with 1-2 are both A-1-2."""
    path = Path(make_plant(), discovering(asset="{line}-{asset}"))
    path.take(("plant/A-1/2/s0", "1"), ("plant/A/1-2/s0", "2"))
    assert ids(path) == [("A-1-2", 1.0), ("A_1-2", 2.0)]


def test_two_templates_make_two_machines() -> None:
    plant = Plant(
        schema.Config(
            sources={"bus": None},  # type: ignore[dict-item]
            templates={
                name: schema.Template(signals={"s0": schema.Signal()})  # type: ignore[dict-item, misc]
                for name in ("pump", "fan")
            },
        )
    )
    path = Path(
        plant,
        subscription("pumps/{asset}/{signal}", template="pump"),
        subscription("fans/{asset}/{signal}", template="fan"),
    )
    path.take(("pumps/M/s0", "1"), ("fans/M/s0", "2"))
    assert ids(path) == [("M", 1.0), ("fan-M", 2.0)]


def test_a_configured_asset_is_that_of_its_line() -> None:
    asset = schema.Asset(template="pump", line="tower")  # type: ignore[arg-type]
    path = Path(configured(M=asset), discovering())
    path.take(("plant/l2/M/s0", "2"), ("plant/tower/M/s0", "1"))
    assert ids(path) == [("l2-M", 2.0), ("M", 1.0)]


def test_without_a_template_the_second_is_refused_and_both_are_named() -> None:
    path = Path(make_plant("M"), subscription())
    for _ in range(3):
        path.take(("plant/l1/M/s0", "1"), ("plant/l2/M/s0", "2"))
    assert ids(path) == [("M", 1.0)] * 3
    assert path.rejected() == {"two_machines": 3}
    (fault,) = faults(path).values()
    assert fault.what == "machines.bus"
    assert "plant/l2/M/s0" in fault.text
    assert "plant/l1/M/s0" in fault.text


def test_the_fault_ends_when_the_other_is_silent() -> None:
    path = Path(make_plant("M"), subscription())
    path.take(("plant/l1/M/s0", "1"), ("plant/l2/M/s0", "2"))
    found = faults(path, 0.0)
    path.take(("plant/l2/M/s0", "2"))
    path.routes.machines.conflicts.report(found, 500.0)
    path.routes.machines.conflicts.report(found, 1099.0)
    assert found
    path.routes.machines.conflicts.report(found, 1101.0)
    assert found == {}


def test_what_a_plus_hides_does_not_mix_either() -> None:
    """The config says `any` for the hall: the asset is one, its signal has one topic."""
    path = Path(make_plant("M"), subscription("plant/+/{asset}/{signal}"))
    path.take(("plant/h1/M/s0", "1"), ("plant/h2/M/s0", "2"), ("plant/h2/M/s1", "3"))
    assert path.rows() == [("M.s0", 1.0), ("M.s1", 3.0)]
    assert path.rejected() == {"two_machines": 1}
    assert faults(path)


def test_objects_of_an_asset_do_not_mix_either() -> None:
    """Two topics of one machine may bring different signals, but not the same one."""
    path = Path(make_plant("M"), subscription("tele/{asset}/+"))
    for _ in range(4):
        path.take(("tele/M/SENSOR", '{"s0": 1}'), ("tele/M/STATE", '{"s1": 2, "s0": 9}'))
    assert sorted(path.rows()) == [("M.s0", 1.0)] * 4 + [("M.s1", 2.0)] * 4
    assert path.rejected() == {"two_machines": 4}


def test_two_subscriptions_that_discover_the_same_name() -> None:
    path = Path(
        make_plant(), discovering("h1/{asset}/{signal}"), discovering("h2/{asset}/{signal}")
    )
    path.take(("h1/M/s0", "1"), ("h2/M/s0", "2"), ("h2/M/s1", "3"))
    assert path.rows() == [("M.s0", 1.0), ("M.s1", 3.0)]
    assert faults(path)


def test_one_machine_may_have_several_subscriptions() -> None:
    path = Path(make_plant(), discovering(), subscription("vibration/{asset}", signal="s1"))
    path.take(("plant/l1/M/s0", "1"), ("vibration/M", "2"), ("plant/l1/M/s2", "3"))
    assert path.rows() == [("M.s0", 1.0), ("M.s1", 2.0), ("M.s2", 3.0)]
    later = Path(make_plant(), discovering("vibration/{asset}", signal="s1"), discovering())
    later.take(("vibration/M", "2"), ("plant/l1/M/s0", "1"))
    assert later.rows() == [("M.s1", 2.0), ("M.s0", 1.0)]


def test_a_fixed_asset_is_one_machine_whatever_its_topics() -> None:
    path = Path(make_plant("M"), subscription("x/{part}/{signal}", asset="M"))
    path.take(("x/a/s0", "1"), ("x/b/s1", "2"))
    assert path.rows() == [("M.s0", 1.0), ("M.s1", 2.0)]


def test_a_name_that_the_payload_gives_is_checked_as_well() -> None:
    from edge_agent.sources.mqtt.payload_spec import Payload  # noqa: PLC0415

    payload = Payload(asset="machine")
    path = Path(make_plant(), discovering("{line}/data", payload=payload))  # type: ignore[arg-type]
    path.take(
        ("l1/data", '{"machine": "M", "s0": 1}'),
        ("l2/data", '{"machine": "M", "s0": 2}'),
        ("l1/data", '{"machine": "N", "s0": 3}'),
        ("l1/data", '{"machine": "bad name", "s0": 3}'),
        ("l1/data", '{"s0": 3}'),
    )
    assert sorted(ids(path)) == [("M", 1.0), ("N", 3.0), ("l2-M", 2.0)]
    assert path.rejected() == {"asset_name": 1, "asset": 1}


def test_the_log_names_only_so_many(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "edge_agent")
    path = Path(make_plant(max_assets=1000), discovering())
    path.take(*((f"plant/l{n}/M/s0", "1") for n in range(300)))
    assert len([one for one in caplog.records if one.message == "two machines of one name"]) == 100
