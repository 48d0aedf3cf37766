"""TLS contexts: keys with a password, files that do not fit, and what the other side says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from sink_support import Certificates, make_certificates

from edge_agent.config.types import Secret
from edge_agent.errors import ConfigError, ConnectError
from edge_agent.transport.tls import Tls, alert_hint, tls_context

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "correct horse"  # noqa: S105


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


def encrypt(key: Path) -> Path:
    """The same key under PASSWORD."""
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = key.with_name("encrypted.key")
    encrypted.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    )
    return encrypted


def secret(tmp_path: Path, text: str) -> Secret:
    (tmp_path / "secret").write_text(f"{text}\n")
    return Secret(file=tmp_path / "secret")


def test_an_encrypted_key_opens_with_its_password(files: Certificates, tmp_path: Path) -> None:
    key = encrypt(files.client_key)
    tls_context(Tls(files.ca, files.client, key, secret(tmp_path, PASSWORD)))


def test_an_encrypted_key_without_a_password_is_an_error_and_never_a_prompt(
    files: Certificates,
) -> None:
    """OpenSSL would ask on the terminal, and the daemon would stand still for ever."""
    key = encrypt(files.client_key)
    with pytest.raises(ConnectError, match=r"the key is encrypted \(set key_password\)"):
        tls_context(Tls(files.ca, files.client, key))


def test_a_wrong_password_is_said(files: Certificates, tmp_path: Path) -> None:
    key = encrypt(files.client_key)
    with pytest.raises(ConnectError, match="does not open with this key_password"):
        tls_context(Tls(files.ca, files.client, key, secret(tmp_path, "wrong")))


def test_a_password_that_is_not_there_is_said(files: Certificates) -> None:
    key = encrypt(files.client_key)
    with pytest.raises(ConfigError, match="NOBODY_SET_ME is not set"):
        tls_context(Tls(files.ca, files.client, key, Secret(env="NOBODY_SET_ME")))


def test_a_key_in_the_certificate_s_own_file_may_be_encrypted(
    files: Certificates, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files.client.read_bytes() + encrypt(files.client_key).read_bytes())
    tls_context(Tls(files.ca, both, None, secret(tmp_path, PASSWORD)))
    with pytest.raises(ConnectError, match="the key is encrypted"):
        tls_context(Tls(files.ca, both))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "server_key"}, "the key does not belong to .*client.pem"),
        ({"cert": "client_key"}, "cannot read a certificate or its key: it is not in PEM"),
        ({"ca": "client_key"}, "cannot read a certificate: it is not in PEM"),
        ({"ca": "nothing"}, "nothing.pem: cannot read a certificate: No such file"),
    ],
)
def test_the_file_that_does_not_fit_is_named(
    files: Certificates, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    fitting: dict[str, Any] = {"ca": files.ca, "cert": files.client, "key": files.client_key}
    other = {k: getattr(files, v, tmp_path / f"{v}.pem") for k, v in change.items()}
    with pytest.raises(ConnectError, match=reason):
        tls_context(Tls(**{**fitting, **other}))


def test_a_password_without_a_key_has_no_effect_and_is_refused() -> None:
    problems = dict(Tls(key_password=Secret(env="X")).problems())
    assert problems == {"key_password": "has no effect without cert and key"}


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "tls.cert"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", "has expired"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "does not know the authority"),
        ("closed by the broker", ""),
    ],
)
def test_what_the_other_side_says_of_our_certificate_becomes_advice(reason: str, hint: str) -> None:
    found = alert_hint(reason)
    assert hint in found
    assert bool(found) == bool(hint)
