"""Addresses that are no OPC UA nodes are problems of their line, before anything is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config.config_warnings import warnings
from edge_agent.daemon.tables import find_problems, load_config

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
sources:
  plc: {{type: opcua, url: "opc.tcp://127.0.0.1:4840"{node}}}
templates:
  pump:
    signals:
      flow: {{{signal}}}
assets:
  P-1: {{template: pump}}
"""


def problems(folder: Path, signal: str, node: str = "") -> list[str]:
    file = folder / "edge.yaml"
    file.write_text(CONFIG.format(signal=signal, node=node))
    return [str(one).removeprefix(f"{file}:") for one in find_problems(file)[1]]


@pytest.mark.parametrize(
    "address",
    ["Line3/P-101/Flow", "ns=two;x=3", "ns=2;x=3", "i=-1", "ns=2;i=4294967296", "g=1", "b=***"],
)
def test_no_node(tmp_path: Path, address: str) -> None:
    """File, line and key, and how to write one."""
    told = problems(tmp_path, f'address: "{address}"')
    assert len(told) == 1
    assert told[0].startswith(
        f"6: templates.pump.signals.flow.address: '{address}' is not an OPC UA n"
    )
    assert "nsu=URI;s=NAME" in told[0]


@pytest.mark.parametrize(
    "address",
    [
        "ns=2;s=Line3/P-101/Flow",
        "nsu=urn:acme:plc;s={asset}.{signal}",
        "ns={cell};i=10{asset}",
        "nsu=urn:{line};g={asset}",
        "i=2258",
        "g=09087e75-8e5e-499b-954f-f2a9603db28a",
        's=\\"DB\\".\\"x\\"[3]',
    ],
)
def test_a_node(tmp_path: Path, address: str) -> None:
    """Placeholders may stand anywhere in it."""
    told = problems(tmp_path, f'address: "{address}"')
    assert not [one for one in told if "is not an OPC UA node" in one]


def test_no_address_at_all(tmp_path: Path) -> None:
    """A warning: that one signal has no value is no reason to watch nothing at all."""
    assert problems(tmp_path, "unit: bar") == []
    config = load_config(tmp_path / "edge.yaml")
    (told,) = [one for one in warnings(config) if "address" in one]
    assert told == (
        "templates.pump.signals.flow: has no address, and its source has no node pattern: it will "
        "have no value (write address: nsu=URI;s=NAME, ns=2;s=NAME or ns=2;i=1001)"
    )
    assert problems(tmp_path, "unit: bar", ', node: "ns=2;s={asset}.{signal}"') == []


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    told = problems(tmp_path, "unit: bar", ', node: "{asset}.{signal}"')
    assert len(told) == 1
    assert told[0].startswith("2: sources.plc.node: is not an OPC UA node")
