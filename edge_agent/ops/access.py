"""Who asks, by a user of this machine, a key or the token, and what this client may do.

docs/http.md has the table of clients and scopes, docs/adr/0016-api-keys.md says why.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ConfigError
from edge_agent.ops.key_file import PREFIX, is_well_formed
from edge_agent.ops.local_socket import may_command
from edge_agent.ops.routes import INFER, READ, SCOPES, TEXT, TOKEN, Client, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from edge_agent.clock import Clock
    from edge_agent.config.settings import Http
    from edge_agent.ops.key_file import Key
    from edge_agent.ops.keys import KeyRing
    from edge_agent.ops.local_socket import Peer

log = logging.getLogger("edge_agent.ops")

MIN_TOKEN: Final = 16
UNGUESSABLE: Final = 32  # characters of a token; a shorter one may be words
REALM: Final = 'Bearer realm="edge-agent"'
# Wrong keys of one address: so many at once, then one in WRONG_EVERY_S.
WRONG_AT_ONCE: Final = 10
WRONG_EVERY_S: Final = 6.0
MAX_ADDRESSES: Final = 1024  # with wrong keys; the one that was silent for the longest gives way
_WARN_EVERY_S: Final = 60.0
# Why a key opens nothing; throttled: too many wrong ones came from its address.
WRONG: Final = ("unknown", "mistyped", "expired", "revoked", "throttled", "unreadable")
_ALL: Final = frozenset(SCOPES)
_READS: Final = frozenset({READ})
CHANGES_NOTHING: Final = frozenset({READ, INFER, TEXT})


@dataclass(frozen=True, slots=True)
class Caller:
    """What the connection and the request say about a client.

    peer: its user, on the unix socket. is_local: it is on this machine, and no proxy.
    """

    authorization: str = field(repr=False)
    address: str
    is_local: bool
    peer: Peer | None = None


class Access:
    """Decides who a caller is; ConfigError if the token is too short.

    group: the number of `http.group`, whose members may do everything over the socket. on_wrong:
    called with the reason, one of WRONG, for each key that opens nothing.
    """

    def __init__(self, config: Http, ring: KeyRing, clock: Clock) -> None:
        self.ring = ring
        self.group: int | None = None
        self.on_wrong: Callable[[str], object] = str
        self._local_scopes = config.local_scopes
        self._wrong = WrongKeys(clock)
        token = None if config.token is None else config.token.reveal().encode()
        if token is not None and len(token) < MIN_TOKEN:
            raise ConfigError(f"shorter than {MIN_TOKEN} characters", where="http.token")
        self._token = None if token is None else hashlib.sha256(token).digest()
        self._is_token_guessable = token is not None and len(token) < UNGUESSABLE

    @property
    def has_keys(self) -> bool:
        """True if clients can identify themselves over TCP."""
        return self._token is not None or self.ring.is_used

    def client_of(self, caller: Caller) -> Client:
        """Who asks. Refusal: a key that is wrong or that asks too often (401, 429, 503)."""
        has_keys = self.has_keys
        if caller.peer is not None and may_command(caller.peer, os.geteuid(), self.group):
            return Client(scopes=_ALL, has_keys=has_keys)
        nobody = Client(scopes=self._scopes_without_key(caller), has_keys=has_keys)
        scheme, _, rest = caller.authorization.partition(" ")
        # Clients that must send a key send any: where there are none, it says nothing.
        if not has_keys or scheme.lower() != "bearer":
            return nobody
        client = self._named(caller, rest.strip())
        return replace(client, scopes=client.scopes | nobody.scopes)

    def _scopes_without_key(self, caller: Caller) -> frozenset[str]:
        if not (caller.is_local or caller.peer is not None):
            return frozenset() if self.has_keys else _READS
        if self._local_scopes is not None:
            return frozenset(self._local_scopes)
        return _READS if self.ring.is_used else CHANGES_NOTHING

    def _named(self, caller: Caller, secret: str) -> Client:
        """The client of a key or of the token."""
        if (key := self.ring.find(secret)) is not None:
            self._check_age(key)
            self.ring.take_request(key)
            return Client(key.name, key.all_scopes, True, key.id, key.max_body)  # noqa: FBT003 (a field)
        wait_s = self._wrong.wait_s(_origin_of(caller))
        # A right key is never refused for the wrong ones of others, nor is a token that is long
        # enough. A short one waits with the guesses of its address: else they would find it.
        may_try = wait_s <= 0 or not self._is_token_guessable
        if may_try and self._is_token(secret):
            return Client(TOKEN, _ALL, has_keys=True)
        raise self._refused(caller, secret, wait_s)

    def _check_age(self, key: Key) -> None:
        if key.is_valid(self.ring.now_ms()):
            return
        is_revoked = key.revoked_ms is not None
        self.on_wrong("revoked" if is_revoked else "expired")
        text = f"the key {key.name} {'was revoked' if is_revoked else 'has expired'}"
        raise unauthorized(text, f"on the gateway: {key.renewal}", wrong=True)

    def _is_token(self, secret: str) -> bool:
        given = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, self._token or b"")

    def _refused(self, caller: Caller, secret: str, wait_s: float) -> Refusal:
        """The answer to a wrong key; it counts as a guess."""
        self._wrong.count(_origin_of(caller))
        if wait_s > 0:
            self.on_wrong("throttled")
            headers = {"Retry-After": str(math.ceil(wait_s))}
            hint = "correct the key, then ask again later"
            return Refusal(429, "too many wrong keys from this address", hint, headers)
        if not self.ring.is_readable:
            self.on_wrong("unreadable")
            hint = "its alarm `keys` and /health/ready have the reason"
            return Refusal(503, "this gateway cannot check keys now", hint, {"Retry-After": "60"})
        if secret.startswith(PREFIX) and not is_well_formed(secret):
            self.on_wrong("mistyped")
            return unauthorized("the key is cut or mistyped", "copy all of it", wrong=True)
        self.on_wrong("unknown")
        hint = "`edge-agent keys list` on the gateway shows which keys there are"
        return unauthorized("key or token missing or wrong", hint, wrong=True)

    def running(self, client: Client) -> AbstractContextManager[None]:
        """Hold it while a request of the client runs; Refusal (429) if too many do."""
        return self.ring.running(client.key_id) if client.key_id else nullcontext()

    def is_still_valid(self, client: Client) -> bool:
        """False after the client's key was revoked or has expired: ends its stream."""
        return not client.key_id or self.ring.is_valid(client.key_id)


class WrongKeys:
    """Counts the wrong keys of each address, of bounded memory. IPv6: of each /64."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # guesses left, at which time
        self._warned_s = -_WARN_EVERY_S

    def wait_s(self, origin: str) -> float:
        """How long an address must wait until its next guess is looked at; 0: not at all."""
        return max(0.0, 1.0 - self._guesses_left(origin)) * WRONG_EVERY_S

    def count(self, origin: str) -> None:
        """Count a wrong key."""
        left = self._guesses_left(origin)
        self._left.pop(origin, None)
        self._left[origin] = max(0.0, left - 1.0), self._clock.monotonic_s()
        if len(self._left) > MAX_ADDRESSES:
            del self._left[next(iter(self._left))]
        if left < 1.0:
            self._warn(origin)

    def _guesses_left(self, origin: str) -> float:
        left, at_s = self._left.get(origin, (WRONG_AT_ONCE, 0.0))
        return min(WRONG_AT_ONCE, left + (self._clock.monotonic_s() - at_s) / WRONG_EVERY_S)

    def _warn(self, origin: str) -> None:
        """Log it sometimes: strangers must not be able to fill the log."""
        now_s = self._clock.monotonic_s()
        if now_s - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now_s
            log.warning("too many wrong keys over http", extra={"client": origin})


def _origin_of(caller: Caller) -> str:
    """What wrong keys are counted by."""
    if caller.peer is not None:
        return f"uid {caller.peer.uid}"
    try:
        address = ip_address(caller.address)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


# Answers ------------------------------------------------------------------------------------------


def unauthorized(text: str, hint: str, *, wrong: bool = False) -> Refusal:
    """Answer 401 as of RFC 6750; wrong: there was a key, and it is none."""
    challenge = f'{REALM}, error="invalid_token"' if wrong else REALM
    return Refusal(401, text, hint, {"WWW-Authenticate": challenge})


def check_size(client: Client, size: int) -> None:
    """Refuse (413) a body of more bytes than the key of a client may send."""
    if client.max_body is not None and size > client.max_body:
        text = f"more than the {client.max_body} bytes that the key {client.name} may send"
        raise Refusal(413, text, "send less at a time, or use another key")


def denial(scope: str, client: Client, caller: Caller) -> Refusal:
    """The answer to a client that lacks a scope: 403 if its key does, 401 if it has none."""
    make = f"edge-agent keys create NAME --scope {scope}"
    if client.name:
        headers = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
        hint = f"use a key that has it; on the gateway: {make}"
        return Refusal(403, f"the key {client.name} has no scope {scope!r}", hint, headers)
    if client.has_keys:
        hint = f"Authorization: Bearer KEY, or http.token; on the gateway: {make}"
        return unauthorized(f"a key with the scope {scope!r} is needed", hint)
    if caller.peer is not None:
        hint = f"sudo, or become one of http.group; or use a key: {make}"
        return Refusal(403, f"user {caller.peer.uid} may not do this ({scope})", hint)
    hint = (
        f"{make}, or set http.token; or on the gateway: edge-agent alarms, as root or in http.group"
    )
    return Refusal(403, f"{scope} over TCP needs a key, and none is set", hint)
