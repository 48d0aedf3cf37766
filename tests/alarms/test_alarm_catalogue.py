"""Which alarms there can be: one answer for every id, and none for an id that cannot be."""

from __future__ import annotations

from dataclasses import replace

import plants
import pytest

from edge_agent.alarms.catalogue import ALARM_ID, AlarmCatalogue, service_alarm_id
from edge_agent.config.scalars import MAX_NAME
from edge_agent.config.schema import (
    AlarmRule,
    Asset,
    Gateway,
    Learn,
    LearnedAlarm,
    ModelUse,
    Template,
)
from edge_agent.config.types import Name
from edge_agent.plant import Plant

LOUD = AlarmRule(severity=900)
QUIET = AlarmRule(severity=100)


def policies(template: Template, **assets: Asset) -> AlarmCatalogue:
    made = plants.config(
        templates={"pump": template}, assets=assets or {"P-1": Asset(Name("pump"))}
    )
    found = AlarmCatalogue(Gateway())
    found.add_service("store")
    for asset in Plant(made).assets.values():
        found.add_asset(asset)
    return found


TEMPLATE = replace(plants.config().templates[Name("pump")], quality_alarm=QUIET)


@pytest.mark.parametrize(
    ("alarm_id", "kind", "stage"),
    [
        ("P-1.base", "model", "state_detection"),
        ("P-1.baseline", "model", "state_detection"),
        ("P-1.flow.quality", "quality", "data_manipulation"),
        ("P-1.flood", "flood", "advisory_generation"),
        ("gateway.service.store", "service", "presentation"),
    ],
)
def test_each_kind_of_alarm_has_its_policy(alarm_id: str, kind: str, stage: str) -> None:
    policy = policies(TEMPLATE).policy_of(alarm_id)
    assert policy is not None
    assert (policy.kind, policy.stage) == (kind, stage)


@pytest.mark.parametrize(
    "alarm_id", ["P-2.base", "P-1.other", "P-1", "P-1.speed.quality", "gateway.service.more", ""]
)
def test_an_alarm_that_cannot_be_has_none(alarm_id: str) -> None:
    """Its asset may have left the config; whoever asks for its rule still gets one."""
    found = policies(TEMPLATE)
    assert found.policy_of(alarm_id) is None
    assert found.rule(alarm_id).severity == 800


def test_each_use_of_a_model_has_its_own_rule() -> None:
    uses = (ModelUse(Name("base"), alarm=LOUD), ModelUse(Name("other"), alarm=QUIET))
    found = policies(replace(TEMPLATE, models=uses))
    assert (found.rule("P-1.base"), found.rule("P-1.other")) == (LOUD, QUIET)
    assert found.rule("P-1.flow.quality") is QUIET


def test_two_uses_of_one_bundle_are_told_apart_by_their_names() -> None:
    uses = (
        ModelUse(Name("base"), name=Name("drive"), alarm=LOUD),
        ModelUse(Name("base"), alarm=QUIET),
    )
    found = policies(replace(TEMPLATE, models=uses))
    assert (found.rule("P-1.drive"), found.rule("P-1.base")) == (LOUD, QUIET)


def test_what_was_learned_has_the_rule_of_learning() -> None:
    """But a bundle that is called `baseline` itself has its own."""
    loud = LearnedAlarm(severity=LOUD.severity)
    learn = Learn(alarm=loud)
    assert policies(replace(TEMPLATE, learn=learn)).rule("P-1.baseline") is loud
    named = replace(TEMPLATE, learn=learn, models=(ModelUse(Name("baseline"), alarm=QUIET),))
    assert policies(named).rule("P-1.baseline") is QUIET


def test_an_asset_that_is_added_again_has_the_new_rules() -> None:
    found = policies(TEMPLATE)
    plant = Plant(plants.config(assets={"P-1": Asset(Name("pump"))}))
    plant.assets["P-1"].template = replace(TEMPLATE, models=(ModelUse(Name("base"), alarm=LOUD),))
    found.add_asset(plant.assets["P-1"])
    assert found.rule("P-1.base") is LOUD


def test_the_longest_names_give_ids_that_an_alarm_may_have() -> None:
    """Topic levels and labels are made of them."""
    long = Name("x" * MAX_NAME)
    signals = {long: next(iter(TEMPLATE.signals.values()))}
    found = policies(Template(signals, (ModelUse(Name(long)),)), **{long: Asset(Name("pump"))})
    for alarm_id in found._known:
        assert ALARM_ID.fullmatch(alarm_id)
    assert ALARM_ID.fullmatch(service_alarm_id(long, f"certificate.{long}"))


def test_service_alarms_are_known_by_their_gateway() -> None:
    """Only those of faults that were there: none by an id from the wire."""
    found = AlarmCatalogue(Gateway())
    assert found.policy_of(service_alarm_id("gateway", "source.plc")) is None
    found.add_service("source.plc")
    policy = found.policy_of(service_alarm_id("gateway", "source.plc"))
    assert policy is not None
    assert (policy.kind, policy.asset) == ("service", "gateway")
    assert found.policy_of(service_alarm_id("another", "source.plc")) is None
