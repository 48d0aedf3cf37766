"""TLS of a sink's connection: always verified, and made anew for each, so that renewals count."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (the config's loader asks for the types of fields)
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ConnectError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

HANDSHAKE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""  # that the certificate must bear, where it is not the URL's host

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if self.key is not None and self.cert is None:
            yield "key", "a key needs its certificate: cert"


class _Context(ssl.SSLContext):
    """Asks for a name of our own choice, and closes the socket where the handshake fails."""

    server_name = ""

    def wrap_socket(self, sock: socket.socket, *_: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401
        name = self.server_name or options.get("server_hostname")
        wrapped = super().wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(HANDSHAKE_TIMEOUT_S)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a verifying client context; ConnectError where a file cannot be read."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = tls.server_name
    try:
        if tls.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(file) for file in (tls.ca, tls.cert, tls.key) if file)
        raise ConnectError(f"cannot read a certificate: {error}", where=files) from error
    return context
