"""What all connections share: how they are opened, and how TLS checks who is at the other end."""

from edge_agent.transport.dialling import dial, dial_endpoint, dial_error, resolve
from edge_agent.transport.takeover import STEADY_S, Takeovers
from edge_agent.transport.tls import Tls, own_hint, tls_context, tls_stamp

__all__ = [
    "STEADY_S",
    "Takeovers",
    "Tls",
    "dial",
    "dial_endpoint",
    "dial_error",
    "own_hint",
    "resolve",
    "tls_context",
    "tls_stamp",
]
