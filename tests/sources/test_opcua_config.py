"""The config of an OPC UA source: what it takes and what it refuses before any packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent import config as loader
from edge_agent.config.types import Name, Secret
from edge_agent.sources.opcua.config import (
    OpcUaSourceConfig,
    Security,
    SecurityMode,
    SecurityPolicy,
)

URL = "opc.tcp://plc:4840"
POLICY = SecurityPolicy.BASIC256SHA256
FILES: dict[str, Any] = {"certificate": Path("c.pem"), "private_key": Path("k.pem")}
PINNED = Security(POLICY, server_certificate=Path("s.pem"), **FILES)
PASSWORD = Secret(env="PLC")

YAML = """
sources:
  plc:
    type: opcua
    url: opc.tcp://plc.local:4840/path
    security:
      policy: Aes256Sha256RsaPss
      mode: Sign
      certificate: own.pem
      private_key: own_key.pem
      private_key_password: {env: KEY_PASSWORD}
      trusted: trusted
    username: edge
    password: {credential: plc}
    node: "nsu=urn:plant;s={asset}.{signal}"
    publishing_interval: 250ms
    sampling_interval: 50ms
    queue_size: 20
    stall_after: 10s
templates:
  pump: {signals: {flow: {deadband: 0.1, sampling: 1s}}}
assets:
  P-{1..2}: {template: pump}
"""


def test_the_loader_reads_the_whole_struct(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(YAML)
    config = loader.load(file, sources={"opcua": OpcUaSourceConfig}, sinks={})
    plc: Any = config.sources[Name("plc")]
    assert plc.security.policy is SecurityPolicy.AES256_SHA256_RSAPSS
    assert plc.security.trusted == tmp_path / "trusted"
    assert plc.mode is SecurityMode.SIGN
    assert (plc.publishing_interval, plc.sampling_interval, plc.queue_size) == (0.25, 0.05, 20)


def test_none_is_a_policy_that_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(
        "sources:\n  plc: {type: opcua, url: 'opc.tcp://h:1', security: {policy: None, mode: None}}"
    )
    config = loader.load(file, sources={"opcua": OpcUaSourceConfig}, sinks={})
    plc: Any = config.sources[Name("plc")]
    assert not plc.is_secure


@pytest.mark.parametrize(
    "config",
    [
        OpcUaSourceConfig(URL),
        OpcUaSourceConfig("opc.tcp://[::1]/x"),
        OpcUaSourceConfig(URL, PINNED, username="u", password=PASSWORD),
        OpcUaSourceConfig(URL, username="u", allow_insecure_password=True),
        OpcUaSourceConfig(URL, PINNED, user_certificate=Path("u"), user_private_key=Path("k")),
    ],
)
def test_sound_configs_have_no_problems(config: OpcUaSourceConfig) -> None:
    assert list(config.problems()) == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (OpcUaSourceConfig("http://plc:4840"), "url"),
        (OpcUaSourceConfig("opc.tcp://"), "url"),
        (OpcUaSourceConfig("opc.tcp://plc:99999"), "url"),
        (OpcUaSourceConfig("opc.tcp://[::1"), "url"),
        (OpcUaSourceConfig("opc.tcp://u:secret@plc:4840"), "url"),
        (OpcUaSourceConfig(URL, username="u", password=PASSWORD), "username"),
        (OpcUaSourceConfig(URL, PINNED, password=PASSWORD), "password"),
        (OpcUaSourceConfig(URL, PINNED, user_certificate=Path("u")), "user_certificate"),
        (
            OpcUaSourceConfig(
                URL, PINNED, username="u", user_certificate=Path("u"), user_private_key=Path("k")
            ),
            "username",
        ),
        (OpcUaSourceConfig(URL, Security(mode=SecurityMode.SIGN)), "security.policy"),
        (OpcUaSourceConfig(URL, Security(POLICY, trusted=Path("t"))), "security.certificate"),
        (OpcUaSourceConfig(URL, Security(POLICY, **FILES)), "security.server_certificate"),
        (
            OpcUaSourceConfig(URL, Security(POLICY, SecurityMode.NONE, trusted=Path("t"), **FILES)),
            "security.mode",
        ),
    ],
)
def test_contradictions_are_named_by_their_key(config: OpcUaSourceConfig, key: str) -> None:
    assert key in [where for where, _ in config.problems()]


def test_a_policy_means_encryption_unless_said_otherwise() -> None:
    assert OpcUaSourceConfig(URL, PINNED).mode is SecurityMode.SIGN_AND_ENCRYPT
    assert OpcUaSourceConfig(URL).mode is SecurityMode.NONE
