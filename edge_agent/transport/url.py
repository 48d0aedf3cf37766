"""Checks addresses of endpoints in the config, with errors by key."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def url_problems(
    url: str, schemes: Collection[str], form: str, login: str, *, bare: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the problems of a URL as ("url", message).

    form: the right form; login: the hint for credentials in it; bare: nothing follows the port.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield "url", str(error)
        return
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        yield "url", form
    elif "@" in parts.netloc:
        yield "url", login
    elif bare and (parts.path.strip("/") or parts.query or parts.fragment):
        yield "url", "has nothing after the port"


def is_loopback(url: str) -> bool:
    """True if what is sent to a valid URL cannot leave this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")


def origin(url: str) -> str:
    """Scheme, host and port of a valid URL: what logs may show where the rest is a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
