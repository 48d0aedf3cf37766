"""Shared by all connections: opening, keeping, reconnecting, and TLS."""

from edge_agent.transport.dialling import dial, dial_endpoint, dial_error, resolve
from edge_agent.transport.reconnect import (
    LinkReporter,
    LostError,
    Reconnector,
    RefusedError,
    Waits,
    backoff_s,
)
from edge_agent.transport.tls import Tls, own_hint, tls_context, tls_stamp
from edge_agent.transport.url import is_loopback, origin, url_problems

__all__ = [
    "LinkReporter",
    "LostError",
    "Reconnector",
    "RefusedError",
    "Tls",
    "Waits",
    "backoff_s",
    "dial",
    "dial_endpoint",
    "dial_error",
    "is_loopback",
    "origin",
    "own_hint",
    "resolve",
    "tls_context",
    "tls_stamp",
    "url_problems",
]
