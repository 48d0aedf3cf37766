"""TLS of our connections: always verified; files are read again for each, for renewals."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 (the config's loader asks for the types of fields)
from typing import TYPE_CHECKING, Final

from cryptography import x509

from edge_agent.config.types import Secret  # noqa: TC001 (as above)
from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Iterator

# TLS alerts about our certificate (RFC 8446, 6.2), in the words of OpenSSL.
_ALERTS: Final = (
    ("certificate required", "it asks for a client certificate: set tls.cert and tls.key"),
    ("certificate expired", "the certificate tls.cert has expired: renew it"),
    ("unknown ca", "it does not know the authority of the certificate tls.cert"),
    ("certificate revoked", "the certificate tls.cert was revoked: make a new one"),
    ("bad certificate", "it refuses the certificate tls.cert, or misses one: see tls.cert"),
    ("certificate unknown", "it refuses the certificate tls.cert"),
    ("unsupported certificate", "it refuses the certificate tls.cert: is it one of a client?"),
    ("access denied", "it refuses the certificate tls.cert"),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None  # default: it is in the file of `cert`
    key_password: Secret | None = None
    server_name: str = ""  # the name in the certificate, if it is not the URL's host

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if self.key is not None and self.cert is None:
            yield "key", "a key needs its certificate: cert"
        if self.key_password is not None and self.cert is None:
            yield "key_password", "has no effect without cert and key"


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a verifying client context. Reads files: not on the event loop.

    ConnectError names the file that cannot be read or a key that does not open.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(tls.ca)
    except OSError as error:  # ssl.SSLError is one
        raise _unreadable("a certificate", tls.ca, error) from error
    if tls.cert is not None:
        _load_own(context, tls.cert, tls.key, tls.key_password)
    return context


def _load_own(
    context: ssl.SSLContext, cert: Path, key: Path | None, key_password: Secret | None
) -> None:
    password = key_password.reveal() if key_password else ""
    asked = False

    def answer() -> str:
        """Return the password; without this OpenSSL would ask on the terminal and wait for ever."""
        nonlocal asked
        asked = True
        return password

    try:
        context.load_cert_chain(cert, key, answer)
    except (OSError, ValueError) as error:
        where = str(key or cert)
        if asked and not password:
            hint = "set key_password"
            raise ConnectError("the key is encrypted", where=where, hint=hint) from error
        if asked:
            message = "the key does not open with this key_password"
            raise ConnectError(message, where=where) from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key does not belong to {cert}"
            raise ConnectError(message, where=where) from error
        raise _unreadable("a certificate or its key", cert, error, key) from error


def _unreadable(
    what: str, file: Path | None, error: Exception, other: Path | None = None
) -> ConnectError:
    where = ", ".join(str(one) for one in (file, other) if one)
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, ssl.SSLError):
        reason = "it is not in PEM, or damaged"
    return ConnectError(f"cannot read {what}: {reason}", where=where)


def alert_hint(reason: str) -> str:
    """The hint if the server ended a connection with a TLS alert; empty for other reasons."""
    words = reason.lower().replace("_", " ")
    if "alert" not in words:
        return ""
    return next((hint for alert, hint in _ALERTS if alert in words), "")


def tls_stamp(tls: Tls) -> tuple[tuple[int, int], ...]:
    """A stamp that changes with the files. Reads files: not on the event loop."""
    return tuple(_stamp(file) for file in (tls.ca, tls.cert, tls.key) if file is not None)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


def own_hint(tls: Tls, reason: str) -> str:
    """The problem of our certificate, if a connection ended for that `reason`.

    Empty if there is no sign of one. Reads the certificate.
    """
    ended = _ended_text(tls.cert) if tls.cert else ""
    return ended or alert_hint(reason)


def _ended_text(cert: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        end = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
        if end < datetime.now(UTC):
            return f"the certificate {cert} expired on {end:%Y-%m-%d}: renew it"
    return ""
