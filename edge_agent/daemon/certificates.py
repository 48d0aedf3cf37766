"""Certificates of the config: how long they are valid, as a metric, a trouble and an alarm.

The files are read every minute, in a thread: a renewed one ends its alarm automatically, and the
next connection uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from edge_agent.clock import US_PER_S, SystemClock
from edge_agent.config import paths_of, walk
from edge_agent.errors import ConfigError, ConnectError
from edge_agent.findings import Finding, error, fine, warning
from edge_agent.messages import Detail, Fault
from edge_agent.transport import Tls, tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.ops.metrics import Metrics

EVERY_S: Final = 60.0
WARN_DAYS: Final = 30
_DAY_S: Final = 86_400
_MAX_FILE_BYTES: Final = 1 << 20
_MAX_FILES: Final = 200
# Keys of the config whose files are certificates. Of the first, all must be valid; of the others,
# the authorities and folders of trusted ones, one valid certificate is enough.
_NEEDED: Final = frozenset({"certificate", "server_certificate", "user_certificate", "cert"})
_ANY: Final = frozenset({"ca", "trusted"})


@dataclass(frozen=True, slots=True)
class Validity:
    """One entry of the config, with the state of its file or folder.

    link: `source.plc`; key: `security.certificate`; begin, end: seconds since the epoch between
    which it is valid; error: why it cannot be read.
    """

    link: str
    key: str
    path: Path
    begin: float = 0.0
    end: float = 0.0
    error: str = ""

    def problem(self, now_s: float) -> str:
        """Its present problem; empty if it is valid."""
        if self.error:
            return f"{self.path}: {self.error}"
        if now_s >= self.end:
            return f"{self.path} expired on {_date(self.end)}"
        if now_s < self.begin:
            return f"{self.path} is not valid before {_date(self.begin)}: is the clock right?"
        return ""

    def days_left(self, now_s: float) -> int:
        """Whole days until it expires."""
        return int((self.end - now_s) // _DAY_S)


def read_validities(config: Config) -> list[Validity]:
    """Read all certificates of the config; blocks."""
    return list(_validities(config))


def _validities(config: Config) -> Iterator[Validity]:
    for link, struct in links_of(config):
        for path, value in walk((), struct):
            if isinstance(value, Path) and path[-1] in _NEEDED | _ANY:
                key = ".".join(map(str, path))
                yield _validity(link, key, value, needs_all=path[-1] in _NEEDED)


def links_of(config: Config) -> Iterator[tuple[str, object]]:
    """`source.NAME`, `sink.NAME`, `camera.NAME` and `opcua_server` with their structs."""
    yield from ((f"source.{name}", struct) for name, struct in config.sources.items())
    yield from ((f"sink.{name}", struct) for name, struct in config.sinks.items())
    yield from ((f"camera.{name}", struct) for name, struct in config.cameras.items())
    if config.opcua_server.enabled:
        yield "opcua_server", config.opcua_server


def unusable_keys(config: Config) -> Iterator[str]:
    """TLS files that do not fit together, or keys that do not open; one line each. Blocks."""
    for link, struct in links_of(config):
        for path, value in walk((), struct):
            if isinstance(value, Tls) and value.cert is not None and _is_all_there(value):
                try:
                    tls_context(value)
                except ConnectError as problem:
                    yield f"{_config_key(link, '.'.join(map(str, path)))}: {problem}"
                except ConfigError:
                    continue  # the secret may exist on the machine of the daemon


def _validity(link: str, key: str, path: Path, *, needs_all: bool) -> Validity:
    try:
        found = [one for _, one in _load(path)]
    except OSError as problem:
        return Validity(link, key, path, error=str(problem.strerror or problem))
    if not found:
        return Validity(link, key, path, error="" if path.is_dir() else "contains no certificate")
    ends = [one.not_valid_after_utc.timestamp() for one in found]
    begins = [one.not_valid_before_utc.timestamp() for one in found]
    if needs_all:
        return Validity(link, key, path, max(begins), min(ends))
    return Validity(link, key, path, min(begins), max(ends))


def _load(path: Path) -> Iterator[tuple[Path, x509.Certificate]]:
    """The certificates of a file, or of the files of a folder, each with its file."""
    files = sorted(path.iterdir())[:_MAX_FILES] if path.is_dir() else [path]
    for file in files:
        if path.is_dir() and not file.is_file():
            continue
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES)
        with contextlib.suppress(ValueError):
            if b"-----BEGIN" in data:
                yield from ((file, one) for one in x509.load_pem_x509_certificates(data))
            else:
                yield file, x509.load_der_x509_certificate(data)


def _is_all_there(tls: Tls) -> bool:
    """True if its files exist here; they may exist only on the machine of the daemon."""
    return all(file.exists() for file in (tls.ca, tls.cert, tls.key) if file is not None)


def _config_key(link: str, key: str) -> str:
    room, dot, name = link.partition(".")
    return f"{room}s.{name}.{key}" if dot else f"{link}.{key}"


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def expired(found: Iterable[Validity], now_s: float) -> list[str]:
    """The errors for `check`, one line each."""
    return [
        f"{_config_key(one.link, one.key)}: {one.problem(now_s)}"
        for one in found
        if one.end and one.problem(now_s)
    ]


def ending(found: Iterable[Validity], now_s: float) -> list[str]:
    """Certificates that expire within 30 days, or are missing here, one line each."""
    found = list(found)
    missing = [f"{_config_key(o.link, o.key)}: {o.path}: {o.error}" for o in found if o.error]
    return missing + [
        f"{_config_key(one.link, one.key)}: {one.path} expires on {_date(one.end)}"
        for one in found
        if one.end and not one.problem(now_s) and one.days_left(now_s) < WARN_DAYS
    ]


def certificate_problems(config: Config) -> tuple[list[str], list[str]]:
    """Errors (expired, keys that do not open) and warnings (ends within 30 days), one line each."""
    now_s = SystemClock().now_us() / US_PER_S
    found = read_validities(config)
    return [*expired(found, now_s), *unusable_keys(config)], ending(found, now_s)


def certificate_findings(config: Config, now_s: float) -> list[Finding]:
    """A finding for each certificate of the config: unreadable, or how long it is valid."""
    found: list[Finding] = []
    for where, path in paths_of(config):
        if where.rpartition(".")[2] not in _NEEDED | _ANY:
            continue
        try:
            loaded = list(_load(path))
        except OSError as problem:
            what = f"{path}: {problem.strerror}"
            found.append(error(where, what, "name a file that the service can read"))
            continue
        if not loaded:
            found.append(error(where, f"{path} contains no certificate", "PEM or DER"))
        found += [_finding(where, file, one, now_s) for file, one in loaded]
    return found


def _finding(where: str, file: Path, one: x509.Certificate, now_s: float) -> Finding:
    name = f"{file} ({one.subject.rfc4514_string()})"
    begin, end = one.not_valid_before_utc, one.not_valid_after_utc
    if now_s >= end.timestamp():
        return error(where, f"{name} expired on {end:%Y-%m-%d}", "renew it")
    if now_s < begin.timestamp():
        what = f"{name} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
        return error(where, what, "is this machine's clock right?")
    days = int((end.timestamp() - now_s) // _DAY_S)
    if days < WARN_DAYS:
        return warning(where, f"{name} expires in {days} days, on {end:%Y-%m-%d}", "renew it")
    return fine(where, f"{name} holds until {end:%Y-%m-%d}")


class Certificates:
    """Monitors the certificates of the present config."""

    def __init__(self, config: Callable[[], Config], metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._found: list[Validity] = []
        self._shown: set[tuple[str, str]] = set()

    async def read_files(self) -> None:
        """Read all files, and show how long they are valid; call it every EVERY_S seconds."""
        self._found = await asyncio.to_thread(read_validities, self._config())
        gauge = self._metrics.certificate_expiry_seconds
        now_s = self._now_s()
        shown = {(one.link, one.key) for one in self._found if one.end}
        for link, key in self._shown - shown:
            gauge.remove(link, key)
        self._shown = shown
        for one in self._found:
            if one.end:
                gauge.labels(one.link, one.key).set(one.end - now_s)

    def faults(self) -> list[Fault]:
        """One fault per link: expired or unreadable, else expiring soon."""
        now_s = self._now_s()
        by_link: dict[str, list[Validity]] = {}
        for one in self._found:
            by_link.setdefault(one.link, []).append(one)
        made = (_fault(link, found, now_s) for link, found in by_link.items())
        return [fault for fault in made if fault is not None]

    def _now_s(self) -> float:
        return self._clock.now_us() / US_PER_S


def _fault(link: str, found: Sequence[Validity], now_s: float) -> Fault | None:
    name = link.partition(".")[2] or link
    wrong = [one for one in found if one.problem(now_s)]
    if wrong:
        problem = wrong[0].problem(now_s)
        args: dict[str, Any] = {"link": name, "problem": problem, "key": wrong[0].key}
        detail = Detail("certificate_wrong", args)
        return Fault(f"certificate.{name}", f"{name}: {problem}", detail)
    first = min((one for one in found if one.end), key=lambda one: one.end, default=None)
    if first is None or first.days_left(now_s) >= WARN_DAYS:
        return None
    days = first.days_left(now_s)
    args = {"link": name, "file": str(first.path), "date": _date(first.end), "days": days}
    text = f"{name}: {first.path} expires on {args['date']}, in {days} days"
    return Fault(f"certificate_expires.{name}", text, Detail("certificate_expires", args))
