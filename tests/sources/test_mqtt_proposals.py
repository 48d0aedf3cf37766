"""What `init` and `listen` propose for a broker's topics, run: every number reaches its machine.

Each case is what a stranger's devices publish. The proposed config must pass the check, and the
same messages through the source's decoder must give exactly these values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from test_recipes import NOW_US, Reader, load

from edge_agent.sources.mqtt.form import form_of_topic
from edge_agent.sources.mqtt.listener import HeardTopic
from edge_agent.sources.mqtt.proposals import Proposal, propose

if TYPE_CHECKING:
    from pathlib import Path

MS = NOW_US // 1000
Messages = list[tuple[str, Any]]


def both(topic: str, payload: Any) -> Messages:
    """The same message of two machines."""
    return [(topic.format(m), payload) for m in ("M1", "M2")]


def of_both(**values: float | str) -> dict[str, float | str]:
    return {f"{m}.{name}": value for m in ("M1", "M2") for name, value in values.items()}


@dataclass(frozen=True)
class Case:
    name: str
    messages: Messages
    gives: dict[str, float | str]


CASES = (
    Case(
        "a key of the payload names the machine",
        [("site/all", {"deviceId": m, "temp": t, "ts": MS}) for m, t in (("M1", 1.5), ("M2", 2.5))],
        {"M1.temp": 1.5, "M2.temp": 2.5},
    ),
    Case(
        "a key of the payload names the signal",
        [("plc/tags", {"tag": t, "value": v}) for t, v in (("temp", 1.5), ("bar", 2), ("rpm", 3))],
        {"tags.temp": 1.5, "tags.bar": 2, "tags.rpm": 3},
    ),
    Case(
        "keys of the payload name both",
        [
            ("plc/tags", {"device": m, "tag": t, "value": v})
            for m in ("M1", "M2")
            for t, v in (("temp", 1.5), ("bar", 2))
        ],
        of_both(temp=1.5, bar=2),
    ),
    Case(
        "a list of machines",
        [("all", {"ts": MS, "machines": [{"id": "M1", "a": 1, "b": 2}, {"id": "M2", "a": 3}]})],
        {"M1.a": 1, "M1.b": 2, "M2.a": 3},
    ),
    Case(
        "SenML",
        both("sm/{}/x", [{"bn": "urn:1", "n": "temp", "v": 1}, {"n": "h", "v": 2}]),
        of_both(temp=1, h=2),
    ),
    Case(
        "objects of value and unit",
        both("u/{}", {"T": {"value": 23.5, "unit": "°C"}, "p": {"value": 4}, "time": MS}),
        of_both(T=23.5, p=4),
    ),
    Case(
        "one number under its own name",
        both("zb/{}", {"temperature": 21.5}),
        of_both(temperature=21.5),
    ),
    Case(
        "texts with units and decimal commas",
        both("u/{}/s", {"temp": "12,5 °C", "pump": "ON", "serial": "0815", "state": "RUN"}),
        of_both(temp=12.5, pump=1),
    ),
    Case(
        "numbers as texts beside a time as text",
        both("u/{}/s", {"temp": "1.5", "bar": "2", "time": str(MS)}),
        of_both(temp=1.5, bar=2),
    ),
    Case(
        "a time that cannot be read is no signal",
        both("u/{}/s", {"time": 46023.0007, "stamp": {"nanosec": 5}, "a": 2.5, "b": 3}),
        of_both(a=2.5, b=3),
    ),
    Case(
        "a date alone is not the time",
        both("u/{}/s", {"date": "2026-01-01", "time": "00:01:00", "a": 2.5, "b": 3}),
        of_both(a=2.5, b=3),
    ),
    Case(
        "numbers of the message, not of the machine",
        both("u/{}/s", {"seq": 7, "deviceId": 4711, "a": 2.5, "b": 3}),
        of_both(a=2.5, b=3),
    ),
    Case(
        "a quality beside many values",
        both("u/{}/s", {"q": 24, "a": 1, "b": 2}),
        of_both(a="bad", b="bad"),
    ),
    Case(
        "a topic that ends with a slash",
        both("devices/{}/messages/events/", [{"a": 1.5, "b": 2}]),
        of_both(a=1.5, b=2),
    ),
    Case(
        "topics of one level",
        [("temp", "1.5"), ("bar", "2")],
        {"machine.temp": 1.5, "machine.bar": 2},
    ),
    Case(
        "names with blanks and umlauts",
        [(f"Halle 1/Pumpe {n}/Öl", "1.5") for n in (1, 2)],
        {"Pumpe_1.Oel": 1.5, "Pumpe_2.Oel": 1.5},
    ),
    Case(
        "what the broker says of itself",
        [("$SYS/broker/uptime", "12 seconds"), ("h/M1/$state", "9"), *both("h/{}/temp", "1.5")],
        of_both(temp=1.5),
    ),
    Case(
        "OPC UA PubSub, Variants",
        both(
            "o/{}/w",
            {"MessageType": "ua-data", "Messages": [{"Payload": {"a": {"Type": 10, "Body": 1.5}}}]},
        ),
        of_both(a=1.5),
    ),
    Case(
        "CSV with a time", both("u/{}/csv", "1767225660;1,5;2,5"), of_both(value_2=1.5, value_3=2.5)
    ),
    Case(
        "lines of InfluxDB",
        [("lines", "pump,machine=M1 a=1.5,b=2i\npump,machine=M2 a=2.5,b=3i")],
        {"M1.a": 1.5, "M1.b": 2, "M2.a": 2.5, "M2.b": 3},
    ),
    Case(
        "tagName and dataValue",
        both(
            "moxa/{}/x",
            {"tags": [{"tagName": "a", "dataValue": 1}, {"tagName": "b", "dataValue": 2}]},
        ),
        of_both(a=1, b=2),
    ),
)


def heard(messages: Messages) -> list[HeardTopic]:
    payloads: dict[str, list[bytes]] = {}
    for topic, payload in messages:
        payloads.setdefault(topic, []).append(encoded(payload))
    return [
        HeardTopic(topic, len(of_topic), 0, 1.0, form_of_topic(topic, of_topic, NOW_US), "")
        for topic, of_topic in sorted(payloads.items())
    ]


def encoded(payload: Any) -> bytes:
    return (payload if isinstance(payload, str) else json.dumps(payload)).encode()


def read(proposal: Proposal, messages: Messages, folder: Path) -> dict[str, float | str]:
    """What the proposed config makes of the messages, twice: the second time is the fast way."""
    parts = {"subscribe": proposal.subscribe, "templates": proposal.templates}
    reader = Reader(load(folder, parts | ({"assets": proposal.assets} if proposal.assets else {})))
    got: dict[str, float | str] = {}
    for topic, payload in messages * 2:
        got |= reader.read(topic, encoded(payload))
    return got


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_proposal_reads_what_it_was_made_from(case: Case, tmp_path: Path) -> None:
    """No number is lost, none goes to another machine, and no time or count is a signal."""
    assert read(propose(heard(case.messages), ""), case.messages, tmp_path) == case.gives


def test_what_is_not_read_is_named_with_its_encoding() -> None:
    """MessagePack, CBOR and XML say what they are, so that the user need not guess."""
    texts = {
        "a/1": b"\x82\xa4temp\xcb\x3f\xf8\0\0\0\0\0\0\xa3bar\x02",
        "a/2": b"\xa1dtemp\xfb\x3f\xf8\0\0\0\0\0\0",
        "a/3": b"<data><t>1</t></data>",
    }
    topics = [HeardTopic(t, 1, 0, 1.0, form_of_topic(t, [p], NOW_US), "") for t, p in texts.items()]
    left = propose(topics, "").left_out
    for line, word in zip(left, ("MessagePack", "CBOR", "XML"), strict=True):
        assert f"looks like {word}, which is not read: let the sender write JSON" in line


def test_a_unit_beside_a_text_is_the_unit_of_the_signal() -> None:
    """Without it, a device that changes from kN to N by itself would be read as another load."""
    payload = b'{"force": {"value": "12,5", "unit": "kN"}, "oil": {"value": 3, "unit": "bar"}}'
    found = propose(
        [HeardTopic("u/M1", 1, 0, 1.0, form_of_topic("u/M1", [payload], NOW_US), "")], ""
    )
    (template,) = found.templates.values()
    assert template["signals"]["force"] == {"unit": "kN", "decimal": ","}
    assert template["signals"]["oil"] == {"unit": "bar"}
