"""Whom to trust: certificates of servers and our own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from opcua_support import CLIENT_URI, SERVER_URI, Pair, make_pair

from edge_agent.sources.opcua.trust import (
    application_uri,
    check_pinned,
    check_trusted,
    read_certificate,
    read_pair,
    split_chain,
)
from edge_agent.transport import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOST = "127.0.0.1"
DER = serialization.Encoding.DER


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """A CA, an intermediate CA, servers of each, a self-signed one and impostors."""
    folder = tmp_path_factory.mktemp("pki")
    pairs = {"ca": make_pair(folder, "ca", "urn:ca", ca=True)}
    pairs["middle"] = make_pair(folder, "middle", "urn:middle", ca=True, issuer=pairs["ca"])
    pairs["server"] = make_pair(folder, "server", SERVER_URI, issuer=pairs["ca"])
    pairs["deep"] = make_pair(folder, "deep", SERVER_URI, issuer=pairs["middle"])
    pairs["self"] = make_pair(folder, "self", SERVER_URI)
    pairs["old"] = make_pair(folder, "old", SERVER_URI, days=(-30, -1))
    pairs["future"] = make_pair(folder, "future", SERVER_URI, days=(1, 30))
    pairs["by_leaf"] = make_pair(folder, "by_leaf", SERVER_URI, issuer=pairs["self"])
    pairs["old_ca"] = make_pair(folder, "old_ca", "urn:oca", ca=True, days=(-30, -1))
    pairs["of_old"] = make_pair(folder, "of_old", SERVER_URI, issuer=pairs["old_ca"])
    pairs["elsewhere"] = make_pair(
        folder, "elsewhere", SERVER_URI, issuer=pairs["ca"], host="10.0.0.9"
    )
    pairs["weak"] = make_pair(folder, "weak", SERVER_URI, issuer=pairs["ca"], bits=1024)
    pairs["client"] = make_pair(folder, "client", CLIENT_URI)
    return pairs


@pytest.fixture
def trusting(pki: dict[str, Pair], tmp_path: Path) -> Callable[..., Path]:
    """Call it with names for a folder that holds their certificates."""

    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / f"{name}.der").write_bytes(pki[name].x509.public_bytes(DER))
        (tmp_path / "readme.txt").write_text("not a certificate")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("trusted", "shown"),
    [
        (["self"], ["self"]),
        (["server"], ["server"]),
        (["ca"], ["server"]),
        (["ca"], ["deep", "middle"]),
        (["middle"], ["deep"]),
    ],
)
def test_servers_that_are_vouched_for_are_trusted(
    pki: dict[str, Pair], trusting: Callable[..., Path], trusted: list[str], shown: list[str]
) -> None:
    check_trusted(trusting(*trusted), [pki[name].x509 for name in shown], SERVER_URI, HOST)


@pytest.mark.parametrize(
    ("trusted", "shown", "reason"),
    [
        (["ca"], ["self"], "not trusted"),
        (["ca"], ["deep"], "not trusted"),  # its issuer is missing
        (["self"], ["server"], "not trusted"),
        (["self"], ["by_leaf"], "not trusted"),  # what is no CA signs nothing
        (["old_ca"], ["of_old"], "not trusted"),
        (["old"], ["old"], "valid from"),
        (["ca"], ["elsewhere"], "does not name the host"),
        (["ca", "weak"], ["weak"], "2048"),
        (["ca"], [], "no certificate"),
        ([], ["self"], "not trusted"),
    ],
)
def test_all_others_are_refused_with_the_reason(
    pki: dict[str, Pair],
    trusting: Callable[..., Path],
    trusted: list[str],
    shown: list[str],
    reason: str,
) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_trusted(trusting(*trusted), [pki[name].x509 for name in shown], SERVER_URI, HOST)


def test_a_server_must_name_its_own_uri(
    pki: dict[str, Pair], trusting: Callable[..., Path]
) -> None:
    with pytest.raises(RefusedError, match="does not name its URI"):
        check_trusted(trusting("self"), [pki["self"].x509], "urn:somebody:else", HOST)


def test_a_certificate_put_there_itself_needs_no_host_name(
    pki: dict[str, Pair], trusting: Callable[..., Path]
) -> None:
    check_trusted(trusting("elsewhere"), [pki["elsewhere"].x509], SERVER_URI, HOST)


def write_crl(file: Path, issuer: Pair, of: x509.Certificate, *, signer: Pair) -> None:
    """A revocation list of `issuer` that names a certificate; it is out of date."""
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(of.serial_number)
        .revocation_date(of.not_valid_before_utc)
        .build()
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.x509.subject)
        .last_update(of.not_valid_before_utc - timedelta(days=9))
        .next_update(of.not_valid_before_utc)
        .add_revoked_certificate(revoked)
        .sign(signer.private, hashes.SHA256())
    )
    file.write_bytes(crl.public_bytes(DER))


@pytest.mark.parametrize("trusted", [["ca"], ["ca", "server"]])
def test_a_revoked_certificate_is_refused(
    pki: dict[str, Pair], trusting: Callable[..., Path], trusted: list[str]
) -> None:
    folder, ca, server = trusting(*trusted), pki["ca"], pki["server"].x509
    write_crl(folder / "ca.crl", ca, server, signer=ca)
    with pytest.raises(RefusedError, match="revoked"):
        check_trusted(folder, [server], SERVER_URI, HOST)
    check_trusted(folder, [pki["deep"].x509, pki["middle"].x509], SERVER_URI, HOST)


@pytest.mark.parametrize(
    ("trusted", "shown"),
    [
        (["ca"], ["deep", "middle"]),
        (["middle", "ca"], ["deep"]),
        (["middle", "ca"], ["deep", "middle"]),
    ],
)
def test_a_revoked_authority_between_is_refused(
    pki: dict[str, Pair], trusting: Callable[..., Path], trusted: list[str], shown: list[str]
) -> None:
    """Whether the server shows it or it lies in the folder."""
    folder = trusting(*trusted)
    chain = [pki[name].x509 for name in shown]
    check_trusted(folder, chain, SERVER_URI, HOST)
    write_crl(folder / "ca.crl", pki["ca"], pki["middle"].x509, signer=pki["ca"])
    with pytest.raises(RefusedError, match="not trusted") as refused:
        check_trusted(folder, chain, SERVER_URI, HOST)
    assert "revoked in its chain: CN=middle" in refused.value.hint


def test_a_revocation_list_that_another_has_signed_is_refused(
    pki: dict[str, Pair], trusting: Callable[..., Path]
) -> None:
    folder = trusting("ca")
    write_crl(folder / "ca.crl", pki["ca"], pki["self"].x509, signer=pki["middle"])
    with pytest.raises(RefusedError, match="not of its issuer"):
        check_trusted(folder, [pki["server"].x509], SERVER_URI, HOST)


def test_a_pinned_certificate_is_the_only_one(pki: dict[str, Pair]) -> None:
    check_pinned(pki["self"].x509, [pki["self"].x509])
    check_pinned(pki["self"].x509, [])
    with pytest.raises(RefusedError, match="not the pinned one"):
        check_pinned(pki["self"].x509, [pki["server"].x509])


def test_an_expired_pinned_certificate_is_refused_unless_told(pki: dict[str, Pair]) -> None:
    """One of the future is accepted: the clock of the gateway may never have been set."""
    old = pki["old"].x509
    for shown in ([old], []):
        check_pinned(old, shown, allow_expired=True)
        with pytest.raises(RefusedError, match="ended on") as refused:
            check_pinned(old, shown)
        assert "allow_expired" in refused.value.hint
    check_pinned(pki["future"].x509, [pki["future"].x509])


def test_a_chain_is_split_into_its_certificates(pki: dict[str, Pair]) -> None:
    chain = [pki[name].x509 for name in ("deep", "middle", "ca")]
    blob = b"".join(one.public_bytes(DER) for one in chain)
    assert split_chain(blob) == chain
    assert split_chain(b"") == []


@pytest.mark.parametrize(
    "blob", [b"\x30", b"\x30\x82", b"\x30\x82\xff\xff", b"garbage", b"\x30\x00"]
)
def test_a_blob_that_is_no_chain_is_refused(blob: bytes) -> None:
    with pytest.raises(RefusedError):
        split_chain(blob)


def test_our_uri_is_the_one_in_our_certificate(pki: dict[str, Pair]) -> None:
    assert application_uri(pki["client"].x509) == CLIENT_URI
    assert application_uri(pki["client"].x509, CLIENT_URI) == CLIENT_URI
    with pytest.raises(RefusedError, match="urn:other"):
        application_uri(pki["client"].x509, "urn:other")


def test_a_pair_must_belong_together(pki: dict[str, Pair]) -> None:
    client, server = pki["client"], pki["self"]
    assert read_pair(client.certificate, client.key, None)[0] == client.x509
    with pytest.raises(RefusedError, match="another key"):
        read_pair(client.certificate, server.key, None)


def test_files_that_are_not_what_they_should_be_are_named(
    pki: dict[str, Pair], tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match=r"gone\.pem"):
        read_certificate(tmp_path / "gone.pem")
    with pytest.raises(RefusedError, match="not a certificate"):
        read_certificate(pki["client"].key)
    with pytest.raises(RefusedError, match="does not open"):
        read_pair(pki["client"].certificate, pki["client"].certificate, None)


def test_an_encrypted_key_needs_its_password(pki: dict[str, Pair], tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        pki["client"].private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    read_pair(pki["client"].certificate, locked, "word")
    for wrong in (None, "other"):
        with pytest.raises(RefusedError, match="does not open"):
            read_pair(pki["client"].certificate, locked, wrong)
