"""The few error types of the daemon; each has where it happened and what to do about it."""

from __future__ import annotations


class EdgeAgentError(Exception):
    """Base of all errors that are shown to a user as one readable line.

    `where` is the file and key, endpoint, topic, node or model; `hint` is what to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(EdgeAgentError):
    """The config is wrong; systemd must not restart (RestartPreventExitStatus=78)."""

    exit_code = 78


class UsageError(EdgeAgentError):
    """A command was called with wrong arguments."""

    exit_code = 2


class NotFoundError(EdgeAgentError):
    """A command names an alarm, asset or model that does not exist."""


class ConnectError(EdgeAgentError):
    """An endpoint (broker, server) cannot be reached or refused us; retried by its caller."""


class DecodeError(EdgeAgentError):
    """A received payload cannot be decoded; `reason` is a bounded label for metrics."""

    def __init__(self, reason: str, message: str, *, where: str = "") -> None:
        super().__init__(message, where=where)
        self.reason = reason


class ModelError(EdgeAgentError):
    """A model bundle is refused or a model run failed."""


class StoreError(EdgeAgentError):
    """The SQLite store cannot be opened or written."""
