"""What can go wrong with a gateway, one class for each thing that a program can do about it."""

from __future__ import annotations


class ClientError(Exception):
    """Base of all errors of this package; its text says what is wrong, and what to do.

    hint: what to do. url: of the gateway. status: of the HTTP answer; None if there was none.
    """

    def __init__(
        self, message: str, *, hint: str = "", url: str = "", status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.url = url
        self.status = status

    def __str__(self) -> str:
        text = f"{self.url}: {self.message}" if self.url else self.message
        return f"{text} ({self.hint})" if self.hint else text


class UnreachableError(ClientError):
    """No program answers at this address, or its certificate is not trusted."""


class TimedOutError(ClientError):
    """The gateway did not answer in time, or said that it cannot (504)."""


class UnauthorizedError(ClientError):
    """The API key is missing, unknown, expired or revoked."""


class ForbiddenError(ClientError):
    """The API key has not the scope of this call."""


class NotFoundError(ClientError):
    """There is no such asset, alarm, model or route."""


class BadDataError(ClientError):
    """The data or an argument do not fit; column: the one to look at, empty if it is none alone."""

    def __init__(
        self,
        message: str,
        *,
        column: str = "",
        hint: str = "",
        url: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, url=url, status=status)
        self.column = column


class ConflictError(ClientError):
    """It cannot be done now: the alarm's state does not allow it, or no model scores the asset."""


class BusyError(ClientError):
    """The gateway has too much to do; retry_after_s: when to ask again."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        hint: str = "",
        url: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, url=url, status=status)
        self.retry_after_s = retry_after_s


class ServerError(ClientError):
    """The gateway failed, or another program answered; the daemon's log says more."""
