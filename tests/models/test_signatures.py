"""Who signed a bundle is known from its bytes alone, and nobody else's word counts."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import replace_file, scaled_model, write_mean_bundle

from edge_agent.config.settings import Runtime, Trust
from edge_agent.errors import ConfigError, ModelError
from edge_agent.models.bundle.trust import (
    UNSIGNED,
    Keyring,
    checked_signer,
    generate_keys,
    key_id,
    keyring,
    parse_signature,
    read_private_key,
    read_public_key,
    sign_bundle,
    signer_shown,
)
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Pair(NamedTuple):
    """A pair of keys on disk."""

    private: Path
    public: Path

    @property
    def id(self) -> str:
        return key_id(read_public_key(self.public))


def pair(folder: Path, name: str = "plant") -> Pair:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    for file, raw in zip((private, public), generate_keys(), strict=True):
        file.write_bytes(raw)
        file.chmod(0o600)
    return Pair(private, public)


@pytest.fixture
def keys(tmp_path: Path) -> Pair:
    return pair(tmp_path)


@pytest.fixture
def signed(tmp_path: Path, keys: Pair) -> Path:
    """A bundle in the folder of models, signed."""
    folder = tmp_path / "models" / "mean"
    write_mean_bundle(folder, version="2")
    sign_bundle(folder, keys.private)
    return folder


def ring(keys: Pair, *allow_unsigned: str) -> Keyring:
    return keyring(Trust(keys=(keys.public,), allow_unsigned=allow_unsigned))


def refusal(folder: Path, trusted: Keyring) -> str:
    with pytest.raises(ModelError) as refused:
        checked_signer(folder, trusted)
    return str(refused.value)


def test_a_signed_bundle_is_its_signers(signed: Path, keys: Pair) -> None:
    assert checked_signer(signed, ring(keys)) == keys.id
    assert signer_shown(signed, ring(keys)) == keys.id


def test_signing_again_gives_the_same_bytes(signed: Path, keys: Pair) -> None:
    before = (signed / "model.sig").read_bytes()
    sign_bundle(signed, keys.private)
    assert (signed / "model.sig").read_bytes() == before


def test_openssl_agrees(signed: Path, keys: Pair, tmp_path: Path) -> None:
    """Nobody needs this program to check what it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    found = parse_signature((signed / "model.sig").read_bytes(), "")
    (tmp_path / "raw.sig").write_bytes(found.value)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys.public), "-rawin"]
    command += ["-in", str(signed / "model.yaml"), "-sigfile", str(tmp_path / "raw.sig")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


# -- what does not count ----------------------------------------------------------------------


def _unsigned(folder: Path) -> None:
    (folder / "model.sig").unlink()


def _other_manifest(folder: Path) -> None:
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("threshold: 2.0", "threshold: 9.0"))


def _other_model(folder: Path) -> None:
    """With its checksum stated, as somebody with the files but not the key would do it."""
    replace_file(folder, "model.onnx", scaled_model(9.0))


def _of_another_version(folder: Path) -> None:
    """An earlier version's signature beside a new manifest."""
    signature = (folder / "model.sig").read_bytes()
    write_mean_bundle(folder, version="3")
    (folder / "model.sig").write_bytes(signature)


def _of_another_bundle(folder: Path) -> None:
    other = pair(folder.parent, "same")
    write_mean_bundle(folder.parent / "other")
    sign_bundle(folder.parent / "other", folder.parent.parent / "plant.key")
    assert other.id
    shutil.copy(folder.parent / "other" / "model.sig", folder / "model.sig")


def _wrong_key(folder: Path) -> None:
    sign_bundle(folder, pair(folder.parent, "evil").private)


def _claims_the_key(folder: Path) -> None:
    """Signed by another key, under the trusted one's name."""
    claimed = json.loads((folder / "model.sig").read_bytes())["key_id"]
    _wrong_key(folder)
    found = json.loads((folder / "model.sig").read_bytes())
    (folder / "model.sig").write_text(json.dumps(found | {"key_id": claimed}))


def _link(folder: Path) -> None:
    (folder / "model.sig").rename(folder.parent / "elsewhere.sig")
    (folder / "model.sig").symlink_to("../elsewhere.sig")


def _dangling(folder: Path) -> None:
    _unsigned(folder)
    (folder / "model.sig").symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_unsigned, "it is not signed"),
        (_other_manifest, "one of them was changed"),
        (_other_model, "one of them was changed"),
        (_of_another_version, "one of them was changed"),
        (_of_another_bundle, "one of them was changed"),
        (_wrong_key, "which is not trusted"),
        (_claims_the_key, "one of them was changed"),
        (_link, "cannot be read"),
        (_dangling, "cannot be read"),
    ],
)
def test_anybody_elses_word_is_refused(
    spoil: Callable[[Path], None], told: str, signed: Path, keys: Pair
) -> None:
    spoil(signed)
    assert told in refusal(signed, ring(keys))
    assert signer_shown(signed, ring(keys)) in {"unsigned", "not trusted", "broken"}


@pytest.mark.parametrize(
    "spoil", [_other_manifest, _other_model, _of_another_version, _claims_the_key, _link]
)
def test_what_was_changed_is_refused_even_where_no_signature_is_needed(
    spoil: Callable[[Path], None], signed: Path, keys: Pair
) -> None:
    spoil(signed)
    refusal(signed, ring(keys, "mean"))


@pytest.mark.parametrize("spoil", [_unsigned, _wrong_key])
def test_a_name_may_be_allowed(spoil: Callable[[Path], None], signed: Path, keys: Pair) -> None:
    spoil(signed)
    assert checked_signer(signed, ring(keys, "mean")) == UNSIGNED
    assert checked_signer(signed, ring(keys, "me*")) == UNSIGNED
    refusal(signed, ring(keys, "other", "Mean", "mea"))


def test_from_elsewhere_a_pattern_allows_nothing(signed: Path, keys: Pair) -> None:
    _unsigned(signed)
    refusal(signed, ring(keys, "me*", "[m]ean", "mea?").by_name_only())
    assert checked_signer(signed, ring(keys, "mean").by_name_only()) == UNSIGNED
    assert checked_signer(signed, ring(keys).by_name_only(("mean",))) == UNSIGNED


# -- in the daemon ----------------------------------------------------------------------------


def load(models: Path, trust: Trust, metrics: Metrics) -> str:
    return SessionRegistry(models, Runtime(), metrics, trust).load("mean").signer


def test_the_daemon_loads_what_a_trusted_key_signed(signed: Path, keys: Pair) -> None:
    assert load(signed.parent, Trust(keys=(keys.public,)), Metrics()) == keys.id


def test_the_daemon_refuses_the_rest_and_counts_it(signed: Path, keys: Pair) -> None:
    _wrong_key(signed)
    metrics = Metrics()
    with pytest.raises(ModelError, match="not trusted"):
        load(signed.parent, Trust(keys=(keys.public,)), metrics)
    labels = {"model": "mean", "reason": "signature"}
    assert metrics.registry.get_sample_value("edge_agent_model_rejected_total", labels) == 1


def test_without_keys_everything_is_loaded_and_that_is_said_once(
    signed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _unsigned(signed)
    write_mean_bundle(signed.parent / "other")
    found = SessionRegistry(signed.parent, Runtime(), Metrics())
    found.load("mean")
    found.load("other")
    told = [r for r in caplog.records if r.message == "model signatures not checked"]
    assert len(told) == 1


def test_what_was_learned_on_the_box_needs_no_signature_and_no_warning(
    tmp_path: Path, keys: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    write_mean_bundle(tmp_path / "models" / "learned-pump-1")
    for trust in (Trust(), Trust(keys=(keys.public,))):
        SessionRegistry(tmp_path / "models", Runtime(), Metrics(), trust).load("learned-pump-1")
    assert caplog.records == []


def test_a_key_that_cannot_be_read_is_an_error_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "no.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    for name in ("gone.pub", "no.pub"):
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
            SessionRegistry(tmp_path, Runtime(), Metrics(), Trust(keys=(tmp_path / name,)))


# -- keys and files ---------------------------------------------------------------------------


def test_a_key_that_others_may_read_signs_nothing(signed: Path, keys: Pair) -> None:
    keys.private.chmod(0o640)
    with pytest.raises(ModelError, match="others may read it"):
        sign_bundle(signed, keys.private)


def test_a_bundle_that_is_not_whole_is_not_signed(signed: Path, keys: Pair) -> None:
    before = (signed / "model.sig").read_bytes()
    (signed / "golden.npz").write_bytes(b"other")
    with pytest.raises(ModelError, match="checksum"):
        sign_bundle(signed, keys.private)
    assert (signed / "model.sig").read_bytes() == before


def _openssl(*words: str) -> bytes:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    return subprocess.run(["openssl", *words], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("genpkey", "-algorithm", "X25519"), "is not an Ed25519 private key"),
        (("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:1234"), "is encrypted"),
        (("rand", "100"), "is not an Ed25519 private key"),
        (("version",), "is not an Ed25519 private key"),
    ],
)
def test_what_is_no_private_key_is_said(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.key"
    file.write_bytes(_openssl(*words))
    file.chmod(0o600)
    with pytest.raises(ModelError, match=told):
        read_private_key(file)


def test_a_key_of_openssl_is_a_key(tmp_path: Path, signed: Path) -> None:
    private, public = tmp_path / "o.key", tmp_path / "o.pub"
    private.touch(0o600)
    private.write_bytes(_openssl("genpkey", "-algorithm", "ed25519"))
    public.write_bytes(_openssl("pkey", "-in", str(private), "-pubout"))
    assert sign_bundle(signed, private) == checked_signer(signed, ring(Pair(private, public)))


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "none"},
        {"algorithm": "ED25519"},
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": "*" * 88},
        {"signature": None},
        {"signature": 7},
        {"key_id": None},
        {"key_id": ["a"]},
        {"more": 1},
    ],
)
def test_a_signature_of_another_form_is_refused(
    changes: dict[str, object], signed: Path, keys: Pair
) -> None:
    found = json.loads((signed / "model.sig").read_bytes())
    (signed / "model.sig").write_text(json.dumps(found | changes))
    assert "model.sig: not a signature" in refusal(signed, ring(keys))


@given(st.binary(max_size=200) | st.just(b"[" * 4000))
def test_garbage_is_no_signature(raw: bytes) -> None:
    with pytest.raises(ModelError):
        parse_signature(raw, "model.sig")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Keyring]:
    folder = tmp_path_factory.mktemp("signed")
    keys = pair(folder)
    write_mean_bundle(folder / "mean")
    sign_bundle(folder / "mean", keys.private)
    return folder / "mean", (folder / "mean" / "model.sig").read_bytes(), ring(keys)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_signature_never_counts(
    good: tuple[Path, bytes, Keyring], data: st.DataObject
) -> None:
    """One byte changed anywhere: refused, unless it says the very same in other words."""
    folder, raw, trusted = good
    damaged = bytearray(raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged[at] = data.draw(st.integers(0, 255))
    (folder / "model.sig").write_bytes(damaged)
    before = parse_signature(raw, "")
    with suppress(ModelError):
        checked_signer(folder, trusted)
        assert parse_signature(bytes(damaged), "") == before


@settings(deadline=None)
@given(st.data())
def test_a_damaged_manifest_never_counts(
    good: tuple[Path, bytes, Keyring], data: st.DataObject
) -> None:
    """Not one bit of what was signed may change."""
    folder, raw, trusted = good
    manifest = bytearray((folder / "model.yaml").read_bytes())
    at = data.draw(st.integers(0, len(manifest) - 1))
    manifest[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "model.sig").write_bytes(raw)
    with pytest.raises(ModelError):
        trusted.signer(folder, "mean", bytes(manifest))
