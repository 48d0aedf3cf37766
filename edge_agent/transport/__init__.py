"""What all connections share: how they are opened, and how TLS checks who is at the other end."""

from edge_agent.transport._dial import dial, dial_endpoint, dial_error, resolve
from edge_agent.transport._tls import Tls, alert_hint, tls_context

__all__ = ["Tls", "alert_hint", "dial", "dial_endpoint", "dial_error", "resolve", "tls_context"]
