"""A mail server of a few lines (RFC 5321, 3207, 4954): STARTTLS or TLS, AUTH PLAIN, refusals."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import email.policy
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from email.message import EmailMessage

_QUICK: Final = {"NOOP": "250 ok", "RSET": "250 ok", "MAIL": "250 ok"}


class MailServer:
    """Takes every mail, unless `refuse` (of its text) or `refuse_to` (of an address) says a reply.

    context: for STARTTLS, or from the first byte with `at_once`. login: user and password that it
    wants; then it offers AUTH only on an encrypted connection.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.at_once = False
        self.login: tuple[str, str] | None = None
        self.refuse: Callable[[bytes], str] = lambda _: ""
        self.refuse_to: Callable[[str], str] = lambda _: ""
        self.received: list[bytes] = []
        self.encrypted: list[bool] = []
        self._context = context
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        context = self._context if self.at_once else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)

    async def down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await server.wait_closed()

    def mails(self) -> list[EmailMessage]:
        return [email.message_from_bytes(one, policy=email.policy.default) for one in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _say(writer, "220 test")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "STARTTLS" and self._context is not None:
                await _say(writer, "220 go")
                await writer.start_tls(self._context)
            elif verb == "DATA":
                await self._data(reader, writer)
            elif verb == "QUIT":
                await _say(writer, "221 bye")
                return
            else:
                await _say(writer, self._reply(verb, rest, is_safe=_is_encrypted(writer)))

    def _reply(self, verb: str, rest: str, *, is_safe: bool) -> str:
        if verb == "EHLO":
            words = ["STARTTLS"] if self._context is not None and not is_safe else []
            words += ["AUTH PLAIN"] if self.login and is_safe else []
            return "".join(f"250-{one}\r\n" for one in ("test", *words)) + "250 8BITMIME"
        if verb == "AUTH":
            given = base64.b64decode(rest.split()[1]).decode().split("\0")[1:]
            return "235 ok" if tuple(given) == self.login else "535 wrong password"
        if verb == "RCPT":
            return self.refuse_to(rest.partition("<")[2].rstrip(">")) or "250 ok"
        return _QUICK.get(verb, "502 unknown")

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _say(writer, "354 go")
        body = await reader.readuntil(b"\r\n.\r\n")
        reply = self.refuse(body)
        if not reply:
            self.received.append(body)
            self.encrypted.append(_is_encrypted(writer))
        await _say(writer, reply or "250 taken")


def _is_encrypted(writer: asyncio.StreamWriter) -> bool:
    return writer.get_extra_info("sslcontext") is not None


async def _say(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"{text}\r\n".encode())
    await writer.drain()
