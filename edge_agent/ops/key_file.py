"""The file of the API keys: what a key is, how its secret is made, and how the file is changed.

A secret has 190 random bits, so that nobody can guess it, and a slow hash would protect nothing: it
would cost a gateway 29 ms for each request, also for each wrong one. Hence a salted SHA-256. See
docs/adr/0016-api-keys.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import string
import tempfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.ops.routes import SCOPES, TOKEN, all_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

FILE_NAME: Final = "keys.json"  # beside the store, unless the config names another
# Secret scanners find it by this prefix and its last six characters, a CRC-32 of all before them.
PREFIX: Final = "edgeagent_"
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID: Final = 8  # characters; each has 5.95 bits
_SECRET: Final = 32
_CHECK: Final = 6
SECRET_FORM: Final = re.compile(f"{PREFIX}[0-9A-Za-z]{{{_ID + _SECRET + _CHECK}}}")
MAX_BYTES: Final = 1 << 20
MAX_KEYS: Final = 1000
SOON_MS: Final = 14 * 86_400_000  # an end within this time is told
MAX_NAME: Final = 28  # with a user's name before it, it fits into an entry of the audit
OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LAST_MS: Final = 253_402_300_799_000  # the year 9999
_VERSION: Final = 1
_WHO: Final = "as root or as the service's user: sudo edge-agent keys ..."


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. Times in ms since the epoch; a limit of None is no limit."""

    name: str
    id: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None
    salt: str = field(repr=False)  # hexadecimal, as is sha256
    sha256: str = field(repr=False)
    revoked_ms: int | None = None
    rate: float | None = None  # requests a second
    concurrency: int | None = None  # requests at the same time
    max_body: int | None = None  # bytes

    def is_valid(self, now_ms: int) -> bool:
        """True if it is neither revoked nor expired."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)

    def ends_soon(self, now_ms: int) -> bool:
        """True if it is valid, and expires within 14 days."""
        is_soon = self.expires_ms is not None and self.expires_ms - now_ms < SOON_MS
        return is_soon and self.is_valid(now_ms)

    @property
    def renewal(self) -> str:
        """The command that makes another key of this name."""
        return f"edge-agent keys create {self.name} --scope {','.join(self.scopes)}"

    def matches(self, secret: str) -> bool:
        """True if `secret` is that of this key; takes as long for a wrong one."""
        return hmac.compare_digest(_hash(self.salt, secret), self.sha256)

    @property
    def all_scopes(self) -> frozenset[str]:
        """Its scopes with those that they contain."""
        return all_scopes(self.scopes)


def new_key(
    name: str, scopes: Iterable[str], now_ms: int, **limits: float | None
) -> tuple[Key, str]:
    """Make a key; return it with its secret, which is nowhere else. EdgeAgentError for a bad name.

    limits: expires_ms, rate, concurrency, max_body.
    """
    if not _is_name(name):
        hint = f"letters, digits and _.-, at most {MAX_NAME}, and not {TOKEN!r}"
        raise EdgeAgentError(f"{name[:MAX_NAME]!r} is not a name for a key", hint=hint)
    body = "".join(secrets.choice(_DIGITS) for _ in range(_ID + _SECRET))
    secret = f"{PREFIX}{body}{_checksum(PREFIX + body)}"
    salt = secrets.token_hex(16)
    given: dict[str, Any] = {
        "expires_ms": None,
        **limits,
        "salt": salt,
        "sha256": _hash(salt, secret),
    }
    return Key(name, id_of(secret), tuple(scopes), now_ms, **given), secret


def is_well_formed(secret: str) -> bool:
    """True if it has the form of a secret, and its checksum is right."""
    is_form = SECRET_FORM.fullmatch(secret) is not None
    return is_form and secret[-_CHECK:] == _checksum(secret[:-_CHECK])


def id_of(secret: str) -> str:
    """The public part of a well-formed secret, by which its key is found."""
    return secret[len(PREFIX) : len(PREFIX) + _ID]


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _hash(salt: str, secret: str) -> str:
    return hmac.digest(bytes.fromhex(salt), secret.encode(), "sha256").hex()


# Reading ------------------------------------------------------------------------------------------


def read_keys(path: Path) -> dict[str, Key]:
    """All keys of the file by id, also expired and revoked ones.

    FileNotFoundError if there is none; EdgeAgentError for a file that others may read or write,
    that cannot be read, or that is damaged.
    """
    try:
        with _opened(path) as file:
            return parse_keys(file.read(MAX_BYTES + 1), str(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EdgeAgentError(error.strerror or str(error), where=str(path), hint=_WHO) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open it for reading if it belongs to us or to root, and to nobody else."""
    # Without waiting: for the other end, should it be a pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _damage(path, "it is not a file")
        if found.st_uid not in {0, os.geteuid()}:
            hint = f"sudo chown {os.geteuid()} {path}"
            raise EdgeAgentError(f"it belongs to user {found.st_uid}", where=str(path), hint=hint)
        if found.st_mode & _OTHERS:
            reason = f"others may read or write it (mode {found.st_mode & 0o777:o})"
            raise EdgeAgentError(reason, where=str(path), hint=f"chmod 600 {path}")
        yield file


def open_to_others(path: Path) -> bool:
    """True if others than its owner may read or write the file; OSError if there is none."""
    return bool(path.stat().st_mode & _OTHERS)


def parse_keys(raw: bytes, where: str) -> dict[str, Key]:
    """The keys of a file's content by id; EdgeAgentError if anything of it is not as written."""
    if len(raw) > MAX_BYTES:
        raise _damage(where, f"it is larger than {MAX_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _damage(where, "it is not JSON") from None
    if not isinstance(document, dict) or document.keys() != {"version", "sha256", "keys"}:
        raise _damage(where, "it is not a file of keys")
    if document["version"] != _VERSION:
        raise _damage(where, "another version of edge-agent has written it")
    rows = document["keys"]
    if not isinstance(rows, list) or document["sha256"] != _sum(rows):
        raise _damage(where, "its checksum is wrong")
    if len(rows) > MAX_KEYS or not all(map(_is_row, rows)):
        raise _damage(where, "it holds what is not a key")
    keys = {row["id"]: Key(**row | {"scopes": tuple(row["scopes"])}) for row in rows}
    if len(keys) != len(rows) or len({key.name for key in keys.values()}) != len(rows):
        raise _damage(where, "two keys have one name")
    return keys


def _damage(where: Path | str, reason: str) -> EdgeAgentError:
    hint = "restore it, or delete it and create the keys anew"
    return EdgeAgentError(reason, where=str(where), hint=hint)


def _sum(rows: object) -> str:
    return hashlib.sha256(orjson.dumps(rows)).hexdigest()


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or row.keys() != _FIELDS.keys():
        return False
    return all(fits(row[name]) for name, fits in _FIELDS.items())


def _is_name(value: object) -> bool:
    is_text = isinstance(value, str) and len(value) <= MAX_NAME and value != TOKEN
    return is_text and _NAME.fullmatch(str(value)) is not None


def _is_hex(size: int) -> Callable[[object], bool]:
    form = re.compile(f"[0-9a-f]{{{2 * size}}}")
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


def _is_number(low: float, high: float, *kinds: type) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        return type(value) in kinds and low <= value <= high  # type: ignore[operator]

    return fits


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _are_scopes(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(one in SCOPES for one in value)


_is_time: Final = _is_number(0, _LAST_MS, int)
_FIELDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "name": _is_name,
    "id": lambda value: (
        isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z]{8}", value) is not None
    ),
    "scopes": _are_scopes,
    "created_ms": _is_time,
    "expires_ms": _or_none(_is_time),
    "salt": _is_hex(16),
    "sha256": _is_hex(32),
    "revoked_ms": _or_none(_is_time),
    "rate": _or_none(_is_number(1e-3, 1e6, int, float)),
    "concurrency": _or_none(_is_number(1, 10_000, int)),
    "max_body": _or_none(_is_number(1, 1 << 40, int)),
}


# Changing -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def changed_keys(path: Path) -> Iterator[dict[str, Key]]:
    """The keys by id, to change; what they are at the end is written. One change at a time.

    EdgeAgentError if it cannot be read or written.
    """
    try:
        with _locked(path.with_name(f"{path.name}.lock")):
            try:
                keys = read_keys(path)
            except FileNotFoundError:
                keys = {}
            yield keys
            _write(path, keys.values())
    except OSError as error:
        raise EdgeAgentError(error.strerror or str(error), where=str(path), hint=_WHO) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW, OWNER_ONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, keys: Iterable[Key]) -> None:
    """Replace the file as a whole: a reader sees the old one or the new one."""
    rows = [asdict(key) for key in keys]
    if len(rows) > MAX_KEYS:
        raise EdgeAgentError(f"there are {MAX_KEYS} keys", where=str(path), hint="revoke some")
    document = {"version": _VERSION, "sha256": _sum(rows), "keys": rows}
    write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 under its final name only when it is on the disk."""
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(number)
        Path(name).replace(path)
        _sync(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Bring the new name to the disk, too: a power cut must not undo a revocation."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
