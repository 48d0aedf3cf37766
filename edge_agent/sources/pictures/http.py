"""Snapshots of IP cameras by HTTP: at an interval, or when a signal of the plant changes."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp import DigestAuthMiddleware, encode_basic_auth

from edge_agent.errors import ConnectError
from edge_agent.sources.pictures.base import CameraSource
from edge_agent.transport import (
    RefusedError,
    Tls,
    is_loopback,
    origin,
    tls_context,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_agent.config.cameras import Snapshot, Trigger

_PIECE: Final = 1 << 16
_WAITING: Final = 4  # triggers that wait for their picture
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READABLE: Final = "it asks for Basic, which sends the password unencrypted: use https"


class Asked(NamedTuple):
    """A trigger: when it came (monotonic, seconds), and the part that it is about."""

    at_s: float
    part: str | None


class SnapshotClient:
    """Gets pictures of one URL; the session and the way to log in stay between two."""

    def __init__(self, config: Snapshot, max_bytes: int) -> None:
        self._config = config
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None
        self._login = ""  # digest or basic, as the camera has asked

    async def get(self) -> bytes:
        """One picture, whatever it is: it is decoded elsewhere. ConnectError says why not."""
        try:
            status, asked, data = await self._get()
            if status == HTTPStatus.UNAUTHORIZED and not self._login:
                await self._log_in(asked)
                status, _, data = await self._get()
        except TimeoutError as error:
            raise ConnectError(
                f"no picture within {self._config.timeout:g} s", where=self._where
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectError(str(error) or type(error).__name__, where=self._where) from error
        self._check(status)
        return data

    async def close(self) -> None:
        """Close the connection; safe when repeated."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def _where(self) -> str:
        return origin(self._config.url)

    async def _get(self) -> tuple[int, str, bytes]:
        """Status, WWW-Authenticate and body, which is read up to its limit."""
        session = self._session or await self._open()
        async with session.get(self._config.url, allow_redirects=False) as answer:
            data = bytearray()
            if answer.status == HTTPStatus.OK:
                async for piece in answer.content.iter_chunked(_PIECE):
                    data += piece
                    if len(data) > self._max_bytes:
                        answer.close()
                        text = f"its picture is larger than max_bytes ({self._max_bytes})"
                        raise RefusedError(text, where=self._where)
            asked = ", ".join(answer.headers.getall("WWW-Authenticate", []))
            return answer.status, asked, bytes(data)

    async def _open(self) -> aiohttp.ClientSession:
        config = self._config
        tls = Tls(config.ca, config.cert, config.cert_key)
        secure = config.url.startswith("https:")
        context = await asyncio.to_thread(tls_context, tls) if secure else True
        headers = {"Accept": "image/jpeg, image/png"}
        digest: tuple[DigestAuthMiddleware, ...] = ()
        if self._login and config.password is not None:
            password = config.password.reveal()
            if self._login == "digest":
                digest = (DigestAuthMiddleware(config.username, password),)
            else:
                headers["Authorization"] = encode_basic_auth(config.username, password)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=context),
            timeout=aiohttp.ClientTimeout(total=config.timeout),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=digest,
        )
        return self._session

    async def _log_in(self, asked: str) -> None:
        """Log in as the camera asks, from the next request on."""
        config = self._config
        if config.password is None:
            raise RefusedError("it asks for a login: set username and password", where=self._where)
        login = "digest" if "digest" in asked.lower() else "basic"
        is_safe = config.url.startswith("https:") or is_loopback(config.url)
        if login == "basic" and not (is_safe or config.allow_insecure_password):
            raise RefusedError(
                _READABLE, where=self._where, hint="or set allow_insecure_password: true"
            )
        self._login = login
        await self.close()

    def _check(self, status: int) -> None:
        if status == HTTPStatus.OK:
            return
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            self._login = ""
            raise RefusedError(f"it refuses the login (HTTP {status})", where=self._where)
        if status in _REDIRECTS:
            hint = "write the URL that it leads to: a login goes to no other host"
            raise RefusedError(f"it redirects (HTTP {status})", where=self._where, hint=hint)
        raise ConnectError(f"it answers HTTP {status}", where=self._where)


class HttpCamera(CameraSource):
    """An IP camera with a URL for snapshots."""

    def _prepare(self) -> None:
        super()._prepare()
        assert self._config.http is not None  # noqa: S101 (its kind)
        self._snapshot = self._config.http
        self.target = origin(self._snapshot.url)
        self._asked: asyncio.Queue[Asked] = asyncio.Queue(_WAITING)

    @property
    def trigger(self) -> Trigger | None:
        """The signal that asks for pictures."""
        return self._snapshot.trigger

    def ask(self, part: str | None) -> None:
        """The signal has changed: a picture is wanted, of this part."""
        if self._asked.full():
            self.refuse("busy", "triggers come faster than the camera answers")
        else:
            self._asked.put_nowait(Asked(self._clock.monotonic_s(), part))

    async def _serve(self) -> None:
        client = SnapshotClient(self._snapshot, int(self._config.max_bytes))
        try:
            if self._snapshot.every_s is None:  # only to know that it answers
                await client.get()
                self._reconnector.set_connected()
            async for part in self._due():
                data = await client.get()
                self._reconnector.set_connected()
                self.deliver(data, part=part)
        finally:
            await client.close()

    async def _due(self) -> AsyncIterator[str | None]:
        """Yields when a picture is due: the part that it is of, if a trigger knows it."""
        every_s = self._snapshot.every_s
        while True:
            begin_s = self._clock.monotonic_s()
            if every_s is not None:
                yield None
            rest_s = None
            if every_s is not None:
                rest_s = max(0.0, every_s - (self._clock.monotonic_s() - begin_s))
            try:
                asked = await asyncio.wait_for(self._asked.get(), rest_s)
            except TimeoutError:
                continue
            await self._wait_for_part(asked)
            yield asked.part

    async def _wait_for_part(self, asked: Asked) -> None:
        trigger = self._snapshot.trigger
        delay_s = 0.0 if trigger is None else float(trigger.delay)
        await asyncio.sleep(max(0.0, asked.at_s + delay_s - self._clock.monotonic_s()))
