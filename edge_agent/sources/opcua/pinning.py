"""Saves a server's certificate before it is trusted, so that a person can compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncua.client.client import Client
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.errors import ConnectError
from edge_agent.sources.opcua import wire
from edge_agent.sources.opcua.explain import explained
from edge_agent.sources.opcua.trust import split_chain, subject

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.sources.opcua.config import OpcUaSourceConfig


async def shown_certificate(config: OpcUaSourceConfig, file: Path) -> str:
    """Write the server's certificate to `file`, which must not exist; returns its subject."""
    wire.quieten()
    client = Client(config.url, timeout=config.timeout)
    with explained("asking for the certificate", config.url):
        endpoints = await client.connect_and_get_server_endpoints()
    data = next((bytes(one.ServerCertificate) for one in endpoints if one.ServerCertificate), b"")
    chain = split_chain(data)
    if not chain:
        raise ConnectError("the server has no certificate", where=config.url)
    try:
        with file.open("xb") as out:
            out.write(chain[0].public_bytes(Encoding.DER))
    except OSError as error:
        raise ConnectError(f"cannot write it: {error.strerror}", where=str(file)) from error
    return subject(chain[0])
