"""What all connections share: how they are opened, kept and opened again, and checked by TLS."""

from edge_agent.transport.dialling import dial, dial_endpoint, dial_error, resolve
from edge_agent.transport.pace import FollowerPace, ReaderPace
from edge_agent.transport.reconnect import (
    LinkReporter,
    LostError,
    Reconnector,
    RefusedError,
    Waits,
    backoff_s,
)
from edge_agent.transport.takeover import STEADY_S, Takeovers
from edge_agent.transport.tls import Tls, own_hint, tls_context, tls_stamp
from edge_agent.transport.url import url_problems

__all__ = [
    "STEADY_S",
    "FollowerPace",
    "LinkReporter",
    "LostError",
    "ReaderPace",
    "Reconnector",
    "RefusedError",
    "Takeovers",
    "Tls",
    "Waits",
    "backoff_s",
    "dial",
    "dial_endpoint",
    "dial_error",
    "own_hint",
    "resolve",
    "tls_context",
    "tls_stamp",
    "url_problems",
]
