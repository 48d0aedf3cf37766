"""Removes secrets from texts that people see: findings of `doctor`, and the config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge_agent.config import secrets_of
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.schema import Config

_MIN_SECRET: Final = 4  # characters; shorter texts occur in many words


def censor_of(config: Config) -> Callable[[str], str]:
    """A function that removes secrets from a text: those of the config, and a webhook's path."""
    hidden: set[str] = set()
    for _, secret in secrets_of(config):
        try:
            hidden.add(secret.reveal())
        except ConfigError:
            continue
    for sink in config.sinks.values():
        hidden.update(_of_webhook(sink))
    words = sorted((word for word in hidden if len(word) >= _MIN_SECRET), key=len, reverse=True)
    if not words:
        return str
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.sub("...", text)


def _of_webhook(sink: object) -> set[str]:
    """Chat services put their token into the path or query, so only the host is shown."""
    parts = urlsplit(str(getattr(sink, "url", "")))
    if parts.scheme not in {"http", "https"}:
        return set()
    headers = set(getattr(sink, "headers", {}).values())
    return {f"{parts.path}?{parts.query}", parts.path, parts.query} | headers
