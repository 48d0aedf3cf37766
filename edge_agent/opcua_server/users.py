"""Who a client is: by user and password, by its certificate, or nobody.

A password is only accepted where nobody can read it: on an encrypted channel, or on this machine.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.x509.oid import NameOID

from edge_agent.config.settings import AnonymousMay
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.sources.opcua.trust import application_uri, check_trusted, read_pair

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from edge_agent.config.settings import OpcuaServer

MIN_PASSWORD: Final = 8
_MAX_NAME: Final = 64
_NOBODY: Final = "anonymous"


@dataclass
class Person(User):
    """Who has a session. may_command: may change alarms, not only read."""

    may_command: bool = False

    @property
    def actor(self) -> str:
        """Who gave a command, as the audit shows it."""
        return f"{self.name or _NOBODY} (opcua)"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The server's certificate, its key, and the application URI that it names."""

    certificate: x509.Certificate
    key: RSAPrivateKey
    uri: str


def key_pair(config: OpcuaServer) -> KeyPair | None:
    """Read the files; None if the config has none. EdgeAgentError if they do not fit. Blocks."""
    if config.certificate is None or config.private_key is None:
        return None
    secret = config.private_key_password
    password = None if secret is None else secret.reveal()
    pair = read_pair(config.certificate, config.private_key, password)
    return KeyPair(*pair, application_uri(pair[0]))


class Users:
    """Decides who opens a session; the library asks it. ConfigError if a password is too short."""

    def __init__(self, config: OpcuaServer) -> None:
        self._config = config
        for name, secret in config.users.items():
            if len(secret.reveal()) < MIN_PASSWORD:
                text = f"shorter than {MIN_PASSWORD} characters"
                raise ConfigError(text, where=f"opcua_server.users.{name}")

    def get_user(
        self,
        iserver: object,
        username: str | None = None,
        password: str | None = None,
        certificate: bytes | None = None,
    ) -> Person | None:
        """The user of a session; None if it is refused. certificate: DER, its key was proved."""
        del iserver
        if username is not None:
            return self._by_password(username, password or "")
        if certificate is not None and self._config.trusted is not None:
            return Person(UserRole.User, self._by_certificate(certificate), may_command=True)
        if not self._config.is_loopback or self._config.anonymous is AnonymousMay.NOTHING:
            return None
        may = self._config.anonymous is AnonymousMay.COMMAND
        return Person(UserRole.User, _NOBODY, may_command=may)

    def _by_password(self, name: str, password: str) -> Person | None:
        secret = self._config.users.get(name)
        # A user who does not exist takes as long as a wrong password.
        known = secret.reveal().encode() if secret else b""
        is_right = hmac.compare_digest(known, password.encode("utf-8", "replace"))
        if not (is_right and secret):
            return None
        return Person(UserRole.User, name, may_command=True)

    def _by_certificate(self, certificate: bytes) -> str:
        found = x509.load_der_x509_certificate(certificate)
        self.check(found, "")
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value)[:_MAX_NAME] if names else "certificate"

    def check(self, certificate: x509.Certificate, uri: str) -> None:
        """Refuse a client's certificate that is not in the folder `trusted`, if there is one."""
        if self._config.trusted is None:
            return
        try:
            check_trusted(self._config.trusted, [certificate], uri or _uri(certificate), "")
        except EdgeAgentError as error:
            raise ServiceError(StatusCodes.BadCertificateUntrusted) from error

    async def validate(self, certificate: x509.Certificate, description: Any) -> None:  # noqa: ANN401
        """Check an application's certificate before it gets a session; the library calls it."""
        self.check(certificate, description.ApplicationUri or "")


def _uri(certificate: x509.Certificate) -> str:
    """The application URI that a certificate names; empty if it names none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")
