"""What both clients are: where the gateway is, the key, and how long and often to try."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from edge_agent.client.errors import ClientError
from edge_agent.client.exchange import Address, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

TIMEOUT_S: Final = 30.0
RETRIES: Final = 2


class Gateway:
    """The parameters of `Client` and of `AsyncClient`; see there."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        ca: str | PathLike[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        self._address = parse_url(url)
        self._api_key = api_key
        self._tls = _tls_of(self._address, ca)
        self._timeout_s = timeout_s
        self._retries = retries

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let errors say which gateway it is."""
        try:
            yield
        except ClientError as error:
            error.url = self._address.url
            raise


def _tls_of(address: Address, ca: str | PathLike[str] | None) -> ssl.SSLContext | None:
    """The verifying context of an address; None without TLS. OSError if `ca` cannot be read."""
    return ssl.create_default_context(cafile=ca) if address.is_tls else None
