"""Addresses of nodes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asyncua import ua
from opcua_support import named
from support import NO_SOURCE

from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.plant import Plant
from edge_agent.sources.opcua.nodes import address_of, node_id

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

NAMESPACES = ["http://opcfoundation.org/UA/", "urn:server", "urn:plant"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nsu=urn:plant;s=P-1.flow", _ua.NodeId("P-1.flow", 2)),
        ("ns=2;s=a;b=c", _ua.NodeId("a;b=c", 2)),
        ("i=85", _ua.NodeId(85, 0)),
        ("nsu=urn:server;i=7", _ua.NodeId(7, 1)),
        ("g=00000000-0000-0000-0000-000000000007", _ua.NodeId(uuid.UUID(int=7), 0)),
        ("ns=1;b=AAE=", _ua.NodeId(b"\x00\x01", 1, ua.NodeIdType.ByteString)),
    ],
)
def test_addresses_are_resolved_by_the_servers_namespaces(
    address: str, expected: ua.NodeId
) -> None:
    assert node_id(address, NAMESPACES) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "flow",
        "s",
        "nsu=urn:gone;s=x",
        "ns=70000;s=x",
        "ns=-1;i=1",
        "i=99999999999",
        "i=x",
        "g=zz",
        "svr=1;i=5",
        "srv=1;i=5",
        "nsx=urn:plant;s=x",
        "i=-5",
        "b=***",
    ],
)
def test_what_is_no_address_here_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        node_id(address, NAMESPACES)


def test_the_pattern_serves_signals_without_an_address() -> None:
    signals = {"flow": schema.Signal(), "own": schema.Signal(address="ns=1;s={asset}/x")}
    config = schema.Config(
        sources={Name("plc"): NO_SOURCE},
        templates={Name("t"): schema.Template(signals=named(signals))},
        assets={"P-{1..2}": schema.Asset(template=Name("t"), line=Name("L"))},
    )
    made = [address_of(s, "nsu=u;s={line}.{asset}.{signal}") for s in Plant(config).signals]
    assert made == ["nsu=u;s=L.P-1.flow", "ns=1;s=P-1/x", "nsu=u;s=L.P-2.flow", "ns=1;s=P-2/x"]
