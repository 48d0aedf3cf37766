"""Notifications to systemd: one datagram each, no library (sd_notify(3), sd_watchdog_enabled(3)).

Without NOTIFY_SOCKET, as outside of a unit of Type=notify, every call does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from edge_agent.clock import US_PER_S

log = logging.getLogger("edge_agent.ops")

# The receiver's queue may be full for a moment; the daemon must not hang on it.
SEND_TIMEOUT_S = 0.5
MAX_STATUS = 1024


def ready() -> bool:
    """Report that start-up or a reload is done. Each call returns True if a datagram was sent."""
    return _send("READY=1")


def stopping() -> bool:
    """Report that shutdown has begun."""
    return _send("STOPPING=1")


def reloading() -> bool:
    """Report that a reload has begun; `ready` ends it. Type=notify-reload asks for the stamp."""
    stamp_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return _send(f"RELOADING=1\nMONOTONIC_USEC={stamp_us}")


def watchdog() -> bool:
    """Reset the watchdog: the daemon works, or reports why it cannot."""
    return _send("WATCHDOG=1")


def status(text: str) -> bool:
    """One line for `systemctl status`. Without line breaks: each line is a command."""
    return _send("STATUS=" + " ".join(text.split())[:MAX_STATUS])


def watchdog_interval_s() -> float | None:
    """Seconds between two resets, half the unit's WatchdogSec; None without a watchdog."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        timeout_us = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return timeout_us / US_PER_S / 2 if timeout_us > 0 else None


def _send(state: str) -> bool:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in {"/", "@"}:
        return False
    # An @ stands for the NUL that begins a name in Linux' abstract name space (unix(7)).
    address = f"\0{path[1:]}" if path[0] == "@" else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SEND_TIMEOUT_S)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd not notified", extra={"state": state[:32], "reason": str(error)})
        return False
    return True
