"""Whose bundles are loaded: those that a trusted key signed, and those that are allowed by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ConfigError, ModelError
from edge_agent.models.bundle.bundle import file_problems, read_file
from edge_agent.models.bundle.folder import write_file
from edge_agent.models.bundle.kinds import MANIFEST, SIGNATURE
from edge_agent.models.bundle.manifest import parse_manifest
from edge_agent.models.bundle.signature import (
    is_by,
    key_id,
    parse_signature,
    read_private_key,
    read_public_key,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from edge_agent.config.schema import Trust

UNSIGNED: Final = ""
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The trusted keys by their id, and the names that need no signature."""

    keys: Mapping[str, Ed25519PublicKey]
    allow_unsigned: tuple[str, ...]

    def allows(self, name: str) -> bool:
        """Whether a bundle of that name needs no signature."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_unsigned)

    def by_name_only(self, names: tuple[str, ...] = ()) -> Keyring:
        """For bundles from elsewhere: a pattern allows nothing, `names` are allowed too."""
        allowed = (*self.allow_unsigned, *names)
        return Keyring(self.keys, tuple(n for n in allowed if not _PATTERN.search(n)))

    def signer(self, folder: Path, name: str, manifest: bytes) -> str:
        """The id of the trusted key that signed `manifest`; UNSIGNED where the name is allowed.

        ModelError for all else. What claims to be of a trusted key and is not is refused even
        where no signature is needed: somebody has changed it.
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
    """Sign the bundle in `folder` with the private key of that file; gives the key's id.

    ModelError where the key cannot be used, or the bundle's files are not those of its manifest.
    """
    raw = read_file(folder, MANIFEST)
    problems = file_problems(folder, parse_manifest(raw, folder / MANIFEST))
    if problems:
        raise ModelError(problems[0].text)
    signature = sign(read_private_key(key), raw)
    write_file(folder / SIGNATURE, signature.dumped())
    return signature.key_id


def checked_signer(folder: Path, keys: Keyring) -> str:
    """Who signed the bundle in `folder`, as `Keyring.signer` has it."""
    raw = read_file(folder, MANIFEST)
    return keys.signer(folder, parse_manifest(raw, folder / MANIFEST).name, raw)


def claimed_signer(folder: Path) -> str | None:
    """The id of the key that a bundle says it is signed with; None where it is not signed."""
    if not (folder / SIGNATURE).exists():
        return None
    where = str(folder / SIGNATURE)
    return parse_signature(read_file(folder, SIGNATURE), where).key_id


def signer_shown(folder: Path, keys: Keyring) -> str:
    """Who signed it, in words: a trusted key's id, `unsigned`, `not trusted` or `broken`."""
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
    """The keys that the config trusts; ConfigError where one cannot be read."""
    try:
        keys = [read_public_key(path) for path in trust.keys]
    except ModelError as error:
        raise ConfigError(f"trust.keys: {error.message}", where=error.where) from error
    return Keyring({key_id(key): key for key in keys}, trust.allow_unsigned)
