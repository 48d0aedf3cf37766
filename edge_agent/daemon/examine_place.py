"""Probes of this machine: files, folders, certificates, the store, the port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import shutil
import socket
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from edge_agent.config import paths_of
from edge_agent.errors import EdgeAgentError, StoreError
from edge_agent.findings import Finding, error, fine, first_of, warning
from edge_agent.store import look_at_store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.daemon.examined import Examined

_WARN_DAYS: Final = 30
_MAX_FILE_BYTES: Final = 1 << 20
_MAX_FILES: Final = 200
_SPARE_BYTES: Final = 32 << 20
# Keys of the config whose files are certificates, or folders of them.
_CERTIFICATES: Final = frozenset(
    {"certificate", "server_certificate", "user_certificate", "cert", "ca", "trusted"}
)


async def certificates(examined: Examined) -> list[Finding]:
    """Own, pinned and trusted certificates: whether they can be read, and how long they hold."""
    now = datetime.fromtimestamp(examined.clock.now_us() / 1e6, UTC)
    found: list[Finding] = []
    for where, path in paths_of(examined.config):
        if where.rpartition(".")[2] in _CERTIFICATES:
            found += await asyncio.to_thread(_certificates, where, path, now)
    return found


def _certificates(where: str, path: Path, now: datetime) -> list[Finding]:
    try:
        files = sorted(path.iterdir())[:_MAX_FILES] if path.is_dir() else [path]
        datas = [file.read_bytes()[:_MAX_FILE_BYTES] for file in files if file.is_file()]
    except OSError as problem:
        return [
            error(where, f"{path}: {problem.strerror}", "name a file that the service can read")
        ]
    if not path.is_dir() and not path.is_file():
        return [error(where, f"{path}: there is no such file")]
    loaded = [(path, one) for path, data in zip(files, datas, strict=False) for one in _load(data)]
    if not loaded:
        return [error(where, f"{path} holds no certificate", "PEM or DER")]
    return [_validity(where, file, one, now) for file, one in loaded]


def _load(data: bytes) -> list[x509.Certificate]:
    with contextlib.suppress(ValueError):
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    return []


def _validity(where: str, file: Path, one: x509.Certificate, now: datetime) -> Finding:
    name = f"{file} ({one.subject.rfc4514_string()})"
    end, begin = one.not_valid_after_utc, one.not_valid_before_utc
    if now >= end:
        return error(where, f"{name} expired on {end:%Y-%m-%d}", "renew it")
    if now < begin:
        what = f"{name} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
        return error(where, what, "is this machine's clock right?")
    days = (end - now).days
    if days < _WARN_DAYS:
        return warning(where, f"{name} expires in {days} days, on {end:%Y-%m-%d}", "renew it")
    return fine(where, f"{name} holds until {end:%Y-%m-%d}")


async def models_dir(examined: Examined) -> list[Finding]:
    """The folder of the models: what is learned must be written there."""
    folder = examined.config.models_dir
    learning = any(one.learn is not None for one in examined.config.templates.values())
    why = await asyncio.to_thread(_unwritable, folder)
    if not why:
        return [fine("models_dir", f"{folder} can be written")]
    mend = "the user of this command and that of the service must be able to write there"
    make = error if learning else warning
    return [make("models_dir", f"{folder}: {why}", mend)]


async def store(examined: Examined) -> list[Finding]:
    """The store: its folder can be written, and its file, where it can be seen, is sound."""
    path = examined.config.store.path
    why = await asyncio.to_thread(_unwritable, path.parent)
    if why:
        mend = "store.path must be where the service can write"
        return [error("store", f"{path.parent}: {why}", mend)]
    try:
        return [fine("store", f"{path}: {await asyncio.to_thread(look_at_store, path)}")]
    except StoreError as problem:
        return [error("store", f"{path}: {problem.message}", problem.hint)]


def _unwritable(folder: Path) -> str:
    """Why nothing can be written in a folder, or in the one in which it would be made."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is no folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as problem:
        return (problem.strerror or str(problem)).lower()


async def disk(examined: Examined) -> list[Finding]:
    """Space for the store at its largest, and for models."""
    config = examined.config
    found = []
    for where, folder, need in (
        ("store", config.store.path.parent, _growth(config.store.path, config.store.max_bytes)),
        ("models_dir", config.models_dir, _SPARE_BYTES),
    ):
        place = folder
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        text = f"{place}: {free >> 20} MiB free"
        if free < need:
            make = error if free < need // 4 else warning
            what = f"{text}, {need >> 20} MiB may be needed"
            found.append(make(where, what, "make space, or lower store.max_bytes"))
        else:
            found.append(fine(where, text))
    return found


def _growth(path: Path, max_bytes: int) -> int:
    """How many bytes the store may still grow."""
    with contextlib.suppress(OSError):
        return max(0, max_bytes - path.stat().st_size)
    return max_bytes


async def http_port(examined: Examined) -> list[Finding]:
    """The port of our HTTP server: free, or taken by the daemon of this very gateway."""
    http = examined.config.http
    if not http.enabled or not http.port:
        return []
    try:
        await asyncio.to_thread(_bind, http.host, http.port)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return [await _who_answers(examined)]
        mend = "is http.host an address of this machine?"
        what = f"{http.host}:{http.port}: {(problem.strerror or str(problem)).lower()}"
        return [error("http", what, mend)]
    return [fine("http", f"{http.host}:{http.port} is free")]


def _bind(host: str, port: int) -> None:
    rows: Iterable[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = next(iter(rows))
    with socket.socket(family, kind, protocol) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)


async def _who_answers(examined: Examined) -> Finding:
    config, where = examined.config, f"{examined.config.http.host}:{examined.config.http.port}"
    mend = "stop the other one, or choose another http.port"
    try:
        body = await asyncio.to_thread(examined.ask, str(examined.url), "/api/summary")
        gateway = str(json.loads(body)["gateway"])
    except (EdgeAgentError, ValueError, KeyError, TypeError):
        return error("http", f"{where} is taken by another program", mend)
    if gateway == config.gateway.id:
        return fine("http", f"{where}: the running daemon of this gateway")
    shown = first_of([gateway.encode("ascii", "replace").decode()[:64]])
    return error("http", f"{where} is taken by the edge-agent of gateway {shown}", mend)
