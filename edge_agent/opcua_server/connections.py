"""The TCP side with bounds (OPC 10000-6, 7.1): sizes, times, and what a client does not read.

The library collects whatever length a client announces, up to 4 GB, and answers a client that
reads nothing until memory is full (its report #1982).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import header_from_binary

if TYPE_CHECKING:
    from edge_agent.opcua_server.sessions import SessionServer

log = logging.getLogger("edge_agent.opcua_server")

MAX_CHUNK: Final = 65_535  # bytes
MAX_MESSAGE: Final = 1 << 20  # bytes of a request
MAX_CHUNKS: Final = 32  # of a request
MAX_SENT: Final = 16 << 20  # bytes of answers that a client has not read
_HEADER: Final = 8  # bytes before which nothing is known
_LONG_HEADER: Final = 12
_KINDS: Final = frozenset({b"HEL", b"OPN", b"MSG", b"CLO"})
_FINAL: Final = frozenset(b"CFA")


def limits() -> TransportLimits:
    """What a client is told in the Acknowledge."""
    return TransportLimits(
        max_recv_buffer=MAX_CHUNK,
        max_send_buffer=MAX_CHUNK,
        max_chunk_count=MAX_CHUNKS,
        max_message_size=MAX_MESSAGE,
    )


class Connection(OPCUAProtocol):
    """One connection; whatever is malformed ends it."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._bytes = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept it, if there are not too many."""
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)  # type: ignore[no-untyped-call]

    def data_received(self, data: bytes) -> None:
        """Cut the stream into chunks."""
        self._bytes += data
        while len(self._bytes) >= _HEADER:
            size = int.from_bytes(self._bytes[4:_HEADER], "little")
            if not _is_header(self._bytes, size):
                self._end("a malformed header")
                return
            if len(self._bytes) < size:
                return
            chunk = Buffer(bytes(self._bytes[:size]))
            del self._bytes[:size]
            if not self._enqueue(chunk):
                return

    def _enqueue(self, chunk: Buffer) -> bool:
        try:
            self.messages.put_nowait((header_from_binary(chunk), chunk))
        except asyncio.QueueFull:
            self._end("too many requests at once")
            return False
        return True

    async def _process_one_msg(self, header: Any, buf: Buffer) -> bool:  # noqa: ANN401
        try:
            return await super()._process_one_msg(header, buf)
        except Exception as error:  # noqa: BLE001 (of the library, about what a client has sent)
            self._end(f"a request that cannot be read: {type(error).__name__}")
            return False

    def _end(self, reason: str) -> None:
        log.info("opc ua connection ended", extra={"client": self.peer_name, "reason": reason})
        self._bytes.clear()
        if self.transport is not None:
            self.transport.abort()


def _is_header(start: bytearray, size: int) -> bool:
    """True if a chunk may begin like this."""
    kind = bytes(start[:3])
    least = _HEADER if kind == b"HEL" else _LONG_HEADER
    return kind in _KINDS and start[3] in _FINAL and least < size <= MAX_CHUNK


class _Processor(UaProcessor):
    """Answers the requests of a connection."""

    def send_response(
        self,
        requesthandle: Any,  # noqa: ANN401
        seqhdr: Any,  # noqa: ANN401
        response: Any,  # noqa: ANN401
        msgtype: bytes = ua.MessageType.SecureMessage,
    ) -> None:
        """Send an answer, unless the client does not read those before."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_SENT:
            log.warning("opc ua client does not read its answers", extra={"client": self.name})
            self._transport.abort()
            return
        super().send_response(requesthandle, seqhdr, response, msgtype)  # type: ignore[no-untyped-call]


class Listener(BinaryServer):
    """Accepts connections."""

    def __init__(self, server: SessionServer, host: str, port: int) -> None:
        super().__init__(server, host, port, limits())

    def _make_protocol(self) -> Connection:
        return Connection(
            self.iserver, self._policies, self.clients, self.closing_tasks, self.limits
        )
