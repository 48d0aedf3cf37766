"""Envelopes: each one is valid, whatever it carries; topics and messages as the contract says."""

# ruff: noqa: E501, RUF001 (whole texts, Chinese and Japanese punctuation)

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest
from alarm_helpers import QUICK, us
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.alarms.envelope import alert_schema, envelope, messages, to_json, topics
from edge_agent.alarms.texts import load_texts
from edge_agent.config.schema import AlarmRule, Alarms, Gateway
from edge_agent.config.types import Name
from edge_agent.messages import (
    Alarm,
    AlarmState,
    Box,
    Contributor,
    Detail,
    ModelInfo,
    Ne107,
    PictureInfo,
    Transition,
    TransitionKind,
    WindowInfo,
)

PATH = "works/halle/west/l1/P-1"
GATEWAY = Gateway(Name("gw7"), Name("works"), Name("halle"), Name("west"), Name("l1"))
TEXTS = load_texts(Alarms())
SCHEMA = alert_schema()
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)
CONTRIBUTORS = tuple(
    Contributor(name, weight, value, unit)
    for name, weight, value, unit in [
        ("flow", -0.5, 12.25, "l/min"),
        ("vibration", 2.0, 7.1, "mm/s"),
        ("current", 0.25, math.nan, "A"),
        ("lost", math.nan, 1.0, ""),
        ("a", 0.2, 1.0, ""),
        ("b", 0.1, 1.0, ""),
        ("c", 0.05, 1.0, ""),
    ]
)
DETAIL = Detail(
    "anomaly",
    {"limit": 1.5},
    score=2.1,
    failure_mode="bearing_wear",
    probability=0.9,
    rul_h={"p10": 20.0, "p50": 100.0, "p90": 300.0},
    contributors=CONTRIBUTORS,
    window=WindowInfo(us(-64), us(0), 0.97, "good"),
    model=ModelInfo("pump", "1.2.0", "ab" * 32),
)
ALARM = Alarm(
    "P-1.pump",
    "P-1",
    state=AlarmState.UNACK,
    seq=3,
    active=True,
    severity=720,
    priority="high",
    detail=DETAIL,
    first_seen_us=us(-5),
    changed_us=us(0),
    count=2,
)
RAISED = Transition(TransitionKind.RAISE, us(0), ALARM)


def event(transition: Transition, rule: AlarmRule = QUICK, texts: Any = TEXTS) -> dict[str, Any]:
    """The envelope, decoded, after the schema has seen it."""
    body = envelope(transition, gateway=GATEWAY, path=PATH, texts=texts, rule=rule)
    decoded: dict[str, Any] = orjson.loads(body)
    VALIDATOR.validate(decoded)
    return decoded


def test_golden_envelope() -> None:
    """The whole of it, as a consumer has it."""
    advice = {
        one.name: TEXTS.entries["bearing_wear", "advice", one.name] for one in TEXTS.languages
    }
    raised = event(RAISED)
    guidance = raised["data"].pop("guidance")
    assert guidance["failure_mode"] == "bearing_wear"
    assert [step["priority"] for step in guidance["mend"]] == [1, 2]
    assert raised["data"].pop("last_time") is None
    assert {one.pop("normal") for one in raised["data"]["contributors"]} == {None}
    assert raised == {
        "specversion": "1.0",
        "id": "P-1.pump:3",
        "source": "/works/halle/edge-agent/gw7",
        "type": "io.edge-agent.alarm.raise",
        "subject": "works/halle/west/l1/P-1",
        "time": "2026-01-01T00:00:00.000000Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:edge-agent:schema:alert:1",
        "data": {
            "alarm_id": "P-1.pump",
            "asset": "P-1",
            "transition": "raise",
            "actor": "",
            "comment": "",
            "state": "unack",
            "active": True,
            "severity": 720,
            "priority": "high",
            "ne107": "maintenance_required",
            "stage": "state_detection",
            "message": {
                "en": "P-1: signs of bearing wear, probability 90 %; mainly vibration = 7.1 mm/s",
                "zh": "P-1：轴承磨损迹象，概率 90 %；主要来自 vibration = 7.1 mm/s",
                "ja": "P-1：軸受の摩耗の兆候、確率 90 %。主因 vibration = 7.1 mm/s",
                "de": "P-1: Anzeichen für Lagerverschleiß, Wahrscheinlichkeit 90 %; vor allem vibration = 7,1 mm/s",
            },
            "advice": advice,
            "first_seen": "2025-12-31T23:59:55.000000Z",
            "count": 2,
            "shelved_until": None,
            "stored": True,
            "failure_mode": "bearing_wear",
            "score": 2.1,
            "probability": 0.9,
            "rul_h": {"p10": 20.0, "p50": 100.0, "p90": 300.0},
            "contributors": [
                {"input": "vibration", "weight": 2.0, "value": 7.1, "unit": "mm/s"},
                {"input": "flow", "weight": -0.5, "value": 12.25, "unit": "l/min"},
                {"input": "current", "weight": 0.25, "value": None, "unit": "A"},
                {"input": "a", "weight": 0.2, "value": 1.0, "unit": ""},
                {"input": "b", "weight": 0.1, "value": 1.0, "unit": ""},
            ],
            "window": {
                "start": "2025-12-31T23:58:56.000000Z",
                "end": "2026-01-01T00:00:00.000000Z",
                "coverage": 0.97,
                "quality": "good",
                "replayed": False,
            },
            "model": {"name": "pump", "version": "1.2.0", "sha256": "ab" * 32, "mode": "active"},
        },
    }


@pytest.mark.parametrize("kind", TransitionKind)
@pytest.mark.parametrize("state", AlarmState)
@pytest.mark.parametrize("detail", [None, Detail("flood"), DETAIL])
def test_every_kind_and_state_is_valid(
    kind: TransitionKind, state: AlarmState, detail: Detail | None
) -> None:
    alarm = replace(ALARM, state=state, detail=detail, shelved_until_us=us(60))
    made = event(Transition(kind, us(0), alarm, "anna"))
    known = SCHEMA["$defs"]["data"]["properties"].keys()
    assert made["data"].keys() == known - {"record", "picture"}  # of a pair of gateways, of cameras
    assert (made["data"]["transition"], made["data"]["state"]) == (kind, state)
    assert made["type"].endswith(f".{kind}")


@pytest.mark.parametrize("language", ["en", "zh", "ja", "de", "pt-BR", "fr"])
@pytest.mark.parametrize("key", sorted({key for key, _, _ in TEXTS.entries}))
def test_every_text_in_every_language_is_valid(language: str, key: str) -> None:
    texts = load_texts(Alarms(languages=(language,)))
    alarm = replace(ALARM, detail=Detail(key))
    assert event(Transition(TransitionKind.RAISE, 0, alarm), texts=texts)["data"][
        "message"
    ].keys() == {language}


numbers = st.none() | st.floats() | st.floats(width=32).map(np.float32) | st.integers()
details = st.builds(
    Detail,
    message_key=st.text(max_size=20),
    message_args=st.dictionaries(st.text(max_size=5), numbers | st.text() | st.binary()),
    score=numbers,
    failure_mode=st.sampled_from(["", "cavitation", "x"]),
    probability=numbers,
    rul_h=st.none() | st.dictionaries(st.sampled_from(["p10", "p50", "p90", "mean"]), numbers),
    contributors=st.lists(
        st.builds(
            Contributor,
            input=st.just("flow"),
            weight=st.floats(),
            value=st.floats(),
            unit=st.sampled_from(["", "bar"]),
        ),
        max_size=9,
    ).map(tuple),
    window=st.none()
    | st.builds(
        WindowInfo,
        start_us=st.integers(-(2**63), 2**63 - 1),
        end_us=st.integers(-(2**63), 2**63 - 1),
        coverage=st.floats(),
        quality=st.sampled_from(["good", "bad"]),
    ),
)


@settings(deadline=None)
@given(details, st.integers(-(2**63), 2**63 - 1), st.text())
def test_no_model_output_makes_an_invalid_alert(detail: Detail, at_us: int, reason: str) -> None:
    """NaN, infinities, float32, odd times and lone surrogates: the schema holds."""
    detail.message_args["reason"] = reason + "\ud800"
    alarm = replace(ALARM, detail=detail, first_seen_us=at_us)
    data = event(Transition(TransitionKind.RAISE, at_us, alarm))["data"]
    weights = [abs(each["weight"]) for each in data["contributors"]]
    assert weights == sorted(weights, reverse=True)
    jsonable = to_json(alarm)
    assert orjson.loads(orjson.dumps(jsonable)) == jsonable


@pytest.mark.parametrize(
    ("definition", "values"),
    [("transition", TransitionKind), ("state", AlarmState), ("ne107", Ne107)],
)
def test_the_schema_knows_every_value(definition: str, values: Any) -> None:
    assert SCHEMA["$defs"]["data"]["properties"][definition]["enum"] == [
        str(each) for each in values
    ]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == event(RAISED)["dataschema"]
    data = SCHEMA["$defs"]["data"]
    assert data["required"] == [
        one for one in data["properties"] if one not in {"record", "picture"}
    ]


@pytest.mark.parametrize("name", SCHEMA["$defs"]["data"]["required"])
def test_the_schema_refuses_what_lacks_a_field(name: str) -> None:
    broken = event(RAISED)
    del broken["data"][name]
    assert not VALIDATOR.is_valid(broken)


def test_the_rules_texts_travel() -> None:
    made = event(RAISED, AlarmRule(message={"en": "{input} of {asset}!"}))
    assert made["data"]["message"]["en"] == "vibration of P-1!"


def test_topics() -> None:
    assert topics("P-1.pump", "edge", PATH) == (
        "edge/works/halle/west/l1/P-1/_pdm/alert/P-1.pump",
        "edge/works/halle/west/l1/P-1/_pdm/event",
    )


def made_messages(transition: Transition) -> list[tuple[str, str, str, bool]]:
    made = messages(
        transition,
        gateway=GATEWAY,
        root="edge",
        path=PATH,
        texts=TEXTS,
        rule=QUICK,
        sinks=[("plant", {"alert", "event"}), ("hook", ("event",)), ("mute", ())],
        now_us=us(1),
    )
    assert {(each.row, each.key, each.seq, each.created_us) for each in made} == {
        (0, "P-1.pump", 3, us(1))
    }
    return [(each.sink, each.kind, each.topic.split("/_pdm/")[1], bool(each.body)) for each in made]


def test_each_sink_gets_the_kinds_it_takes() -> None:
    assert made_messages(RAISED) == [
        ("plant", "alert", "alert/P-1.pump", True),
        ("plant", "event", "event", True),
        ("hook", "event", "event", True),
    ]


@pytest.mark.parametrize("state", AlarmState)
def test_only_a_normal_alarm_empties_its_alert(state: AlarmState) -> None:
    """Cleared but not acknowledged stays on the broker; the event is always told."""
    made = made_messages(replace(RAISED, alarm=replace(ALARM, state=state)))
    assert made[0] == ("plant", "alert", "alert/P-1.pump", state is not AlarmState.NORMAL)
    assert made[1][3]


def test_an_alarm_as_json() -> None:
    assert to_json(replace(ALARM, shelved_until_us=us(60))) == {
        "alarm_id": "P-1.pump",
        "asset": "P-1",
        "state": "unack",
        "seq": 3,
        "active": True,
        "severity": 720,
        "priority": "high",
        "ne107": "maintenance_required",
        "stage": "state_detection",
        "detail": {
            "message_key": "anomaly",
            "message_args": {"limit": 1.5},
            "score": 2.1,
            "failure_mode": "bearing_wear",
            "probability": 0.9,
            "rul_h": {"p10": 20.0, "p50": 100.0, "p90": 300.0},
            "contributors": event(RAISED)["data"]["contributors"],
            "window": {
                "start_ms": us(-64) // 1000,
                "end_ms": us(0) // 1000,
                "coverage": 0.97,
                "quality": "good",
                "replayed": False,
            },
            "model": {"name": "pump", "version": "1.2.0", "sha256": "ab" * 32, "mode": "active"},
        },
        "first_seen_ms": us(-5) // 1000,
        "changed_ms": us(0) // 1000,
        "count": 2,
        "shelved_until_ms": us(60) // 1000,
        "acked_by": "",
        "suppressed_by": "",
        "shelved_by": "",
        "confirmed_by": "",
        "comment": "",
    }


def test_a_new_alarm_as_json_has_no_times() -> None:
    made = to_json(Alarm("P-1.a", "P-1"))
    assert (made["first_seen_ms"], made["changed_ms"], made["shelved_until_ms"]) == (None,) * 3
    assert made["detail"] is None


def test_first_seen_is_unknown_before_any_raise() -> None:
    shelved = replace(ALARM, count=0, active=False, state=AlarmState.SHELVED)
    assert event(Transition(TransitionKind.SHELVE, 0, shelved))["data"]["first_seen"] is None


def test_a_cameras_alarm_names_its_picture_and_the_boxes_on_it() -> None:
    """The schema holds it; any other alarm has no such key, as before cameras."""
    boxes = tuple(Box(10 * n, 4, 30, 20, math.nan if n else 0.75) for n in range(12))
    shown = PictureInfo("seam-18f2.a1", "seam", 1920, 1080, boxes)
    told = event(replace(RAISED, alarm=replace(ALARM, detail=replace(DETAIL, picture=shown))))
    picture = told["data"]["picture"]
    assert picture["url"] == "/api/pictures/seam-18f2.a1"
    assert (picture["camera"], picture["width"], picture["height"]) == ("seam", 1920, 1080)
    assert picture["boxes"][0] == {"x": 0, "y": 4, "width": 30, "height": 20, "share": 0.75}
    assert len(picture["boxes"]) == 8
    assert picture["boxes"][1]["share"] == 0.0
    assert "picture" not in event(RAISED)["data"]
