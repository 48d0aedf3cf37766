"""The bundles that may be loaded: signed by a trusted key, or allowed by name.

Signatures are detached: Ed25519 (RFC 8032) over the bytes of `model.yaml`, which lists all other
files. Keys are PEM files, in OpenSSL's format; `model.sig` is a small JSON file.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge_agent.errors import ConfigError, ModelError
from edge_agent.models.bundle.bundle import file_problems, read_file
from edge_agent.models.bundle.folder import write_file
from edge_agent.models.bundle.kinds import MANIFEST, SIGNATURE
from edge_agent.models.bundle.manifest_text import parse_manifest
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.config.settings import Trust

UNSIGNED: Final = ""
_PATTERN: Final = re.compile(r"[*?\[]")
ALGORITHM: Final = "ed25519"
_MAX_PEM: Final = 4096
_SIGNATURE_BYTES: Final = 64
_ID_DIGITS: Final = 16
_FIELDS: Final = {"algorithm", "key_id", "signature"}


@dataclass(frozen=True, slots=True)
class Signature:
    """The contents of `model.sig`: the key's id, and the 64 bytes."""

    key_id: str
    value: bytes

    def dumped(self) -> bytes:
        """The file's bytes."""
        text = base64.b64encode(self.value).decode()
        fields = {"algorithm": ALGORITHM, "key_id": self.key_id, "signature": text}
        return json.dumps(fields, indent=1).encode() + b"\n"


def parse_signature(raw: bytes, where: str) -> Signature:
    """The signature in `raw`; ModelError if it is not one."""
    try:
        return _parsed(json.loads(raw))
    except (ValueError, TypeError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelError(f"not a signature: {text}", where=where) from error


def _parsed(found: object) -> Signature:
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        raise ValueError(f"needs exactly {', '.join(sorted(_FIELDS))}")
    if found["algorithm"] != ALGORITHM:
        raise ValueError(f"the algorithm is not {ALGORITHM}")
    value = base64.b64decode(found["signature"], validate=True)
    if len(value) != _SIGNATURE_BYTES or not isinstance(found["key_id"], str):
        raise ValueError(f"wants {_SIGNATURE_BYTES} bytes and the id of a key")
    return Signature(found["key_id"], value)


def sign(private: Ed25519PrivateKey, manifest: bytes) -> Signature:
    """Sign a manifest; the same key and bytes always result in the same signature."""
    return Signature(key_id(private.public_key()), private.sign(manifest))


def is_by(public: Ed25519PublicKey, signature: Signature, manifest: bytes) -> bool:
    """True if the owner of that key signed exactly these bytes."""
    try:
        public.verify(signature.value, manifest)
    except InvalidSignature:
        return False
    return True


def key_id(public: Ed25519PublicKey) -> str:
    """A short name of a key: 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return sha256(public.public_bytes_raw()).hexdigest()[:_ID_DIGITS]


def generate_keys() -> tuple[bytes, bytes]:
    """A new pair as PEM: the private key (PKCS 8, not encrypted) and the public one."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def read_public_key(file: Path) -> Ed25519PublicKey:
    """A trusted key; ModelError if the file is not an Ed25519 public key in PEM."""
    try:
        key = load_pem_public_key(_read(file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(file, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _not_a_key(file, "public")
    return key


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """A private key for signing; ModelError if it is not one, or others may read it."""
    raw = _read(file, private=True)
    try:
        key = load_pem_private_key(raw, None)
    except TypeError as error:
        hint = "decrypt it with 'openssl pkey' into a file that only you can read"
        raise ModelError("is encrypted", where=str(file), hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(file, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(file, "private")
    return key


def _read(file: Path, *, private: bool = False) -> bytes:
    try:
        with file.open("rb") as stream:
            if private and os.fstat(stream.fileno()).st_mode & 0o077:
                raise ModelError("others may read it", where=str(file), hint=f"chmod 600 {file}")
            return stream.read(_MAX_PEM)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error


def _not_a_key(file: Path, which: str) -> ModelError:
    hint = "'edge-agent models keygen' creates a pair"
    return ModelError(f"is not an Ed25519 {which} key in PEM", where=str(file), hint=hint)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The trusted keys by their id, and the names that need no signature."""

    keys: Mapping[str, Ed25519PublicKey]
    allow_unsigned: tuple[str, ...]

    def allows(self, name: str) -> bool:
        """True if a bundle of that name needs no signature."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_unsigned)

    def by_name_only(self, names: tuple[str, ...] = ()) -> Keyring:
        """For bundles from elsewhere: patterns allow nothing, `names` are allowed in addition."""
        allowed = (*self.allow_unsigned, *names)
        return Keyring(self.keys, tuple(n for n in allowed if not _PATTERN.search(n)))

    def signer(self, folder: Path, name: str, manifest: bytes) -> str:
        """The id of the trusted key that signed `manifest`; UNSIGNED if the name is allowed.

        ModelError otherwise. A wrong signature with the id of a trusted key is refused even if no
        signature is needed: the bundle was changed.
        """
        if not (folder / SIGNATURE).exists() and not (folder / SIGNATURE).is_symlink():
            return self._unsigned(folder, name, "it is not signed")
        where = str(folder / SIGNATURE)
        signature = parse_signature(read_file(folder, SIGNATURE), where)
        public = self.keys.get(signature.key_id)
        if public is None:
            shown = "".join(c for c in signature.key_id[:32] if c.isalnum())
            return self._unsigned(folder, name, f"it is signed by {shown}, which is not trusted")
        if not is_by(public, signature, manifest):
            text = "the signature is not of this model.yaml: one of them was changed"
            raise ModelError(text, where=where)
        return signature.key_id

    def _unsigned(self, folder: Path, name: str, why: str) -> str:
        if self.allows(name):
            return UNSIGNED
        hint = "sign it with a key of trust.keys, or allow it by name in trust.allow_unsigned"
        raise ModelError(why, where=str(folder), hint=hint)


def sign_bundle(folder: Path, key: Path) -> str:
    """Sign the bundle in `folder` with the private key of that file; returns the key's id.

    ModelError if the key cannot be used, or the bundle's files do not match its manifest.
    """
    raw = read_file(folder, MANIFEST)
    problems = file_problems(folder, parse_manifest(raw, folder / MANIFEST))
    if problems:
        raise ModelError(problems[0].text)
    signature = sign(read_private_key(key), raw)
    with as_owner_of(folder):
        write_file(folder / SIGNATURE, signature.dumped())
    return signature.key_id


def checked_signer(folder: Path, keys: Keyring) -> str:
    """The signer of the bundle in `folder`; see `Keyring.signer`."""
    raw = read_file(folder, MANIFEST)
    return keys.signer(folder, parse_manifest(raw, folder / MANIFEST).name, raw)


def claimed_signer(folder: Path) -> str | None:
    """The key id in a bundle's signature, not verified; None if it is not signed."""
    if not (folder / SIGNATURE).exists():
        return None
    where = str(folder / SIGNATURE)
    return parse_signature(read_file(folder, SIGNATURE), where).key_id


def signer_shown(folder: Path, keys: Keyring) -> str:
    """The signer as text: a trusted key's id, `unsigned`, `not trusted` or `broken`."""
    if not (folder / SIGNATURE).exists():
        return "unsigned"
    try:
        signature = parse_signature(read_file(folder, SIGNATURE), "")
        public = keys.keys.get(signature.key_id)
        if public is None:
            return "not trusted"
        good = is_by(public, signature, read_file(folder, MANIFEST))
    except ModelError:
        return "broken"
    return signature.key_id if good else "broken"


def keyring(trust: Trust) -> Keyring:
    """The keys that the config trusts; ConfigError if one cannot be read."""
    try:
        keys = [read_public_key(path) for path in trust.keys]
    except ModelError as error:
        raise ConfigError(f"trust.keys: {error.message}", where=error.where) from error
    return Keyring({key_id(key): key for key in keys}, trust.allow_unsigned)
