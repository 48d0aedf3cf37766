"""Variables of a server as templates and assets: what is grouped, and how nodes are written."""

from __future__ import annotations

from typing import Any

from edge_agent.sources.opcua.found import FoundNode
from edge_agent.sources.opcua.proposals import propose


def node(path: str, address: str = "", **about: Any) -> FoundNode:
    """A good Double; its address is made from the last two names of its path unless given."""
    names = tuple(path.split("/"))
    values = {
        "type": "Double",
        "array": False,
        "value": "1",
        "number": True,
        "status": "Good",
        "unit": "",
        "low": None,
        "high": None,
        "kind": "",
        **about,
    }
    return FoundNode(address or f"nsu=u;s={'.'.join(names[-2:])}", names, **values)


def test_like_objects_become_one_template() -> None:
    """And a run of numbers one range."""
    nodes = [node(f"Hall/P-{n}/{s}") for n in (1, 2, 3) for s in ("Flow", "Bar")]
    got = propose(nodes, "")
    assert got.node == "nsu=u;s={asset}.{signal}"
    assert got.templates == {"machine": {"signals": {"Flow": {}, "Bar": {}}, "learn": "auto"}}
    assert got.assets == {"P-{1..3}": {"template": "machine"}}


def test_lines_in_the_address() -> None:
    """{line} is used where the line stands in the node id."""
    nodes = [
        node(f"{line}/P-{n}/Flow", f"ns=2;s={line}/P-{n}/Flow")
        for line, n in (("L1", 1), ("L1", 2), ("L2", 3))
    ]
    got = propose(nodes, "")
    assert got.node == "ns=2;s={line}/{asset}/{signal}"
    assert got.assets["P-3"] == {"template": "machine", "line": "L2"}


def test_siemens_addresses() -> None:
    """Quotation marks and an index of an array belong to the address."""
    nodes = [
        node(f"DB/{m}/{s}", f'nsu=http://x;s="DB1"."{m}"."{s}"')
        for m in ("M1", "M2")
        for s in ("Flow", "Bar")
    ]
    assert propose(nodes, "").node == 'nsu=http://x;s="DB1"."{asset}"."{signal}"'


def test_parts_of_a_machine_are_its_signals() -> None:
    """Motor and Pump of every skid are no machines of their own."""
    nodes = [
        node(f"Hall/{skid}/{part}/{name}", f"ns=2;s={skid}.{part}.{name}")
        for skid in ("S1", "S2")
        for part, name in (("Motor", "I"), ("Motor", "T"), ("Pump", "Q"))
    ]
    got = propose(nodes, "")
    assert list(got.templates["machine"]["signals"]) == ["Motor.I", "Motor.T", "Pump.Q"]
    assert set(got.assets) == {"S1", "S2"}
    assert got.node == "ns=2;s={asset}.{signal}"


def test_two_machines_of_one_name_are_two_assets() -> None:
    """In two lines; the id takes the line's name."""
    nodes = [
        node(f"{line}/{m}/Flow", f"ns=2;s={line}.{m}.Flow")
        for line in ("L1", "L2")
        for m in ("P1", "P2")
    ]
    assert set(propose(nodes, "").assets) == {"L1-P1", "L1-P2", "L2-P1", "L2-P2"}


def test_a_flat_list_of_tags() -> None:
    nodes = [node(f"Tags/{m}.{s}", f"ns=3;s={m}.{s}") for m in ("A", "B") for s in ("x", "y")]
    got = propose(nodes, "")
    assert set(got.assets) == {"A", "B"}
    assert got.node == "ns=3;s={asset}.{signal}"


def test_one_object_has_plain_addresses() -> None:
    """Numbers as ids: no pattern can be made of them."""
    got = propose([node("Pump/Flow", "ns=2;i=7"), node("Pump/Bar", "ns=2;i=9")], "plc", node="")
    signals = got.templates["machine"]["signals"]
    assert signals["Flow"] == {"source": "plc", "address": "ns=2;i=7"}
    assert got.assets == {"Pump": {"template": "machine"}}


def test_ranges_and_units_as_far_as_all_agree() -> None:
    nodes = [
        node("L/A/x", unit="bar", low=0.0, high=5.0),
        node("L/B/x", unit="bar", low=0.0, high=6.0),
    ]
    assert propose(nodes, "").templates["machine"]["signals"]["x"] == {"unit": "bar"}
