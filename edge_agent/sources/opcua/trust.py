"""Certificates of OPC UA applications (Part 4, 6.1.3): our own, and checks of a server's."""

from __future__ import annotations

import contextlib
import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from edge_agent.transport import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MIN_KEY_BITS: Final = 2048  # Part 7: of all three policies
_MAX_CHAIN: Final = 5
_MAX_FILES: Final = 1000
_MAX_FILE_BYTES: Final = 1 << 20
_PEM: Final = b"-----BEGIN"
_CERTIFICATE_FILES: Final = frozenset({".pem", ".crt", ".cer", ".der"})


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate, PEM or DER, with any file name."""
    data = _read(path)
    try:
        if _PEM in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise RefusedError("this is not a certificate", where=str(path), hint=str(error)) from error


def read_key(path: Path, password: str | None) -> RSAPrivateKey:
    """A private RSA key, PEM or DER."""
    data = _read(path)
    secret = password.encode() if password else None
    load = (
        serialization.load_pem_private_key if _PEM in data else serialization.load_der_private_key
    )
    try:
        key = load(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "is its password right?" if secret else "does it need private_key_password?"
        raise RefusedError("this private key does not open", where=str(path), hint=hint) from error
    if not isinstance(key, RSAPrivateKey):
        raise RefusedError("OPC UA's policies need an RSA key", where=str(path))
    return key


def read_pair(
    certificate: Path, private_key: Path, password: str | None
) -> tuple[x509.Certificate, RSAPrivateKey]:
    """A certificate and its key; RefusedError if they do not match."""
    pair = read_certificate(certificate), read_key(private_key, password)
    if pair[0].public_key() != pair[1].public_key():
        hint = f"it belongs to {private_key}"
        raise RefusedError("the certificate has another key", where=str(certificate), hint=hint)
    return pair


def application_uri(certificate: x509.Certificate, wanted: str = "") -> str:
    """The URI of the certificate's subjectAltName, which the application must use as its own."""
    found = _uris(certificate)
    uri = wanted or next(iter(found), "")
    if uri and uri in found:
        return uri
    have = ", ".join(found) or "none"
    raise RefusedError(
        f"the client certificate does not name the application URI {wanted or '(any)'}",
        hint=f"it names {have}; servers refuse a session whose URI differs from its certificate",
    )


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1, as every OPC UA tool displays it."""
    return certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 (a name, not a proof)


def subject(certificate: x509.Certificate) -> str:
    """The subject and thumbprint, for users."""
    return f"{certificate.subject.rfc4514_string()} (SHA-1 {thumbprint(certificate)})"


def split_chain(blob: bytes) -> list[x509.Certificate]:
    """The certificates of a ServerCertificate: the server's own, then its issuers, in DER."""
    chain: list[x509.Certificate] = []
    while blob and len(chain) < _MAX_CHAIN:
        size = _der_size(blob)
        try:
            chain.append(x509.load_der_x509_certificate(blob[:size]))
        except ValueError as error:
            raise RefusedError("the server's certificate does not decode") from error
        blob = blob[size:]
    return chain


def check_pinned(
    pinned: x509.Certificate, shown: Sequence[x509.Certificate], *, allow_expired: bool = False
) -> None:
    """Check that the pinned certificate has not ended, and is the server's if one is shown.

    A begin in the future is no reason: rather this gateway's clock was never set.
    """
    if not allow_expired and pinned.not_valid_after_utc < datetime.now(UTC):
        raise RefusedError(
            f"the pinned certificate {ended_text(pinned)}",
            hint="or set security.allow_expired: true, until the server has a new one",
        )
    if shown and shown[0] != pinned:
        raise RefusedError(
            "the server's certificate is not the pinned one",
            hint=f"its certificate is {subject(shown[0])}; pinned is {subject(pinned)}",
        )


def check_trusted(folder: Path, shown: Sequence[x509.Certificate], uri: str, host: str) -> None:
    """Check that the server's certificate is in `folder`, or that a chain leads to a CA there.

    A certificate in the folder was put there for this server. A CA signs many, so in that case the
    certificate must contain the requested host. Nothing that a revocation list of the folder
    names counts, wherever it stands in the chain.
    """
    if not shown:
        raise RefusedError("the server has no certificate")
    leaf, anchors = shown[0], _read_folder(folder)
    _check_leaf(leaf, uri)
    revoked = _revoked(folder, [*anchors, *shown])
    if leaf in revoked:
        raise RefusedError(f"the server's certificate has been revoked: {subject(leaf)}")
    if leaf in anchors:
        return
    between = [one for one in shown[1:] if one not in revoked]
    anchors = [one for one in anchors if one not in revoked]
    if not _chains_to(leaf, between, anchors):
        hint = f"put its certificate or its CA's into {folder}"
        if revoked:
            hint = f"revoked in its chain: {', '.join(map(subject, revoked))}"
        raise RefusedError(f"the server's certificate is not trusted: {subject(leaf)}", hint=hint)
    if not _names_host(leaf, host):
        hint = "connect by a name in it, or pin it with server_certificate"
        raise RefusedError(f"the server's certificate does not name the host {host}", hint=hint)


def _check_leaf(leaf: x509.Certificate, uri: str) -> None:
    if not _is_current(leaf):
        dates = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        hint = "renew it, set this gateway's clock, or pin it with server_certificate"
        raise RefusedError(f"the server's certificate is valid from {dates}", hint=hint)
    key = leaf.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_KEY_BITS:
        raise RefusedError(f"the server's key is not RSA of at least {_MIN_KEY_BITS} bits")
    if uri not in _uris(leaf):
        hint = "pin it with server_certificate if this is intended"
        raise RefusedError(f"the server's certificate does not name its URI {uri}", hint=hint)


def _chains_to(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> bool:
    """True if signatures lead from `leaf` over `between` to a CA of `anchors`."""
    current, left = leaf, list(between)
    for depth in range(_MAX_CHAIN):
        if any(_is_issuer(anchor, current, depth) for anchor in anchors):
            return True
        issuer = next((one for one in left if _is_issuer(one, current, depth)), None)
        if issuer is None:
            return False
        left.remove(issuer)
        current = issuer
    return False


def _is_issuer(issuer: x509.Certificate, of: x509.Certificate, depth: int) -> bool:
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        of.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    long_enough = basic.path_length is None or basic.path_length >= depth
    return basic.ca and long_enough and _may_sign(issuer) and _is_current(issuer)


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign


def ended_text(certificate: x509.Certificate) -> str:
    """`ended on 2025-01-01` or `is valid only from ...`; empty for one that is valid now."""
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        return f"ended on {certificate.not_valid_after_utc:%Y-%m-%d}: renew it, or set the clock"
    if certificate.not_valid_before_utc > now:
        return f"is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}: set the clock"
    return ""


def _is_current(certificate: x509.Certificate) -> bool:
    now = datetime.now(UTC)
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _names_host(certificate: x509.Certificate, host: str) -> bool:
    names = _alternative_names(certificate)
    if host.lower() in {name.lower() for name in names.get_values_for_type(x509.DNSName)}:
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    return False


def _uris(certificate: x509.Certificate) -> list[str]:
    return _alternative_names(certificate).get_values_for_type(x509.UniformResourceIdentifier)


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return x509.SubjectAlternativeName([])


def _revoked(folder: Path, known: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Those of `known` that a revocation list (*.crl) in the folder names.

    A list must be signed by its issuer if that is known. One that is out of date still counts: it
    can only refuse more.
    """
    found: list[x509.Certificate] = []
    for path in _files(folder, frozenset({".crl"})):
        data = _read(path)
        load = x509.load_pem_x509_crl if _PEM in data else x509.load_der_x509_crl
        try:
            crl = load(data)
        except ValueError as error:
            raise RefusedError("this is not a revocation list", where=str(path)) from error
        issuers = [one for one in known if one.subject == crl.issuer]
        if issuers and not any(_has_signed(issuer, crl) for issuer in issuers):
            raise RefusedError("this revocation list is not of its issuer", where=str(path))
        found += [
            one
            for one in known
            if one.issuer == crl.issuer
            and crl.get_revoked_certificate_by_serial_number(one.serial_number) is not None
        ]
    return found


def _has_signed(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, UnsupportedAlgorithm):  # a key that signs no lists
        return False


def _read_folder(folder: Path) -> list[x509.Certificate]:
    return [read_certificate(path) for path in _files(folder, _CERTIFICATE_FILES)]


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes)
    except OSError as error:
        reason = f"cannot read the folder: {error.strerror}"
        raise RefusedError(reason, where=str(folder)) from error
    return found[:_MAX_FILES]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise RefusedError(f"cannot read it: {error.strerror}", where=str(path)) from error


def _der_size(blob: bytes) -> int:
    """Size of the DER element at the start of `blob`."""
    if len(blob) < 2:  # noqa: PLR2004 (tag and length)
        return len(blob)
    if blob[1] < 0x80:  # noqa: PLR2004 (the short form)
        return 2 + blob[1]
    n = blob[1] & 0x7F
    return 2 + n + int.from_bytes(blob[2 : 2 + n], "big")
