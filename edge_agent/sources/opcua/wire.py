"""All uses of asyncua's (2.1.0) private interfaces, in one place, each with its reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncua import ua
from asyncua.client.ua_client import UaClientState
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.transport import dial

if TYPE_CHECKING:
    from asyncua.client.client import Client

_HAND_ON: Final = "_call_callback"
MAX_MESSAGE_BYTES: Final = 32 << 20

T = TypeVar("T")


def quieten() -> None:
    """Silence the library's own logs.

    It logs each failed attempt several times, with tracebacks, and at DEBUG every request: a login
    request contains the password. Everything important reaches us as an exception.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)


async def connect_socket(client: Client, host: str, port: int, timeout_s: float) -> None:
    """Connect to the first address of the host that answers, within `timeout_s`; OSError.

    The library's own function spends all the time on the first address, and resolves names in the
    thread pool that all other code uses.
    """
    opened = await dial(host, port, timeout_s)
    inner = client.uaclient
    inner._set_state(UaClientState.CONNECTING)  # noqa: SLF001
    make = inner._make_protocol  # noqa: SLF001
    try:
        await asyncio.get_running_loop().create_connection(make, sock=opened)
    except BaseException:
        opened.close()
        inner._set_state(UaClientState.DISCONNECTED)  # noqa: SLF001
        raise
    inner._set_state(UaClientState.SOCKET_OPEN)  # noqa: SLF001


async def open_channel(client: Client) -> None:
    """Open the secure channel; UaStatusCodeError contains why the server refuses it.

    A server may refuse with a ServiceFault: the library then fails an assertion and loses the code.
    """
    protocol = client.uaclient.protocol
    if protocol is None:
        raise ConnectionError("the connection is closed")
    answers: list[Any] = []
    hand_on = getattr(protocol, _HAND_ON)

    def keep(number: int, body: Any) -> None:  # noqa: ANN401
        answers.append(body.copy() if isinstance(body, Buffer) else body)
        hand_on(number, body)

    setattr(protocol, _HAND_ON, keep)
    try:
        await client.open_secure_channel()
    except (AssertionError, AttributeError) as error:
        refused: Exception = UaStatusCodeError(_refusal(answers))  # type: ignore[no-untyped-call]
        raise refused from error
    finally:
        setattr(protocol, _HAND_ON, hand_on)


def _refusal(answers: list[Any]) -> int:
    """The code of a ServiceFault or a response; BadSecurityChecksFailed if there is none."""
    if answers and isinstance(answers[-1], Buffer):
        with contextlib.suppress(Exception):  # a server may send any other message
            nodeid_from_binary(answers[-1])
            header = struct_from_binary(ua.ResponseHeader, answers[-1])
            if header.ServiceResult.value:
                return int(header.ServiceResult.value)
    return int(StatusCodes.BadSecurityChecksFailed)


async def call(client: Client, request: object, answer: type[T]) -> T:
    """Send a service request and decode its answer.

    The public `create_subscription` starts its own publish loop: one request in flight, four
    objects built for every value, and no end if a request remains unanswered.
    """
    data = await client.uaclient._send_request(request)  # noqa: SLF001
    result = struct_from_binary(answer, data)
    result.ResponseHeader.ServiceResult.check()  # type: ignore[attr-defined]
    return result


async def publish(client: Client, acks: list[ua.SubscriptionAcknowledgement]) -> bytes:
    """Send one PublishRequest; returns the bytes of its answer, without a timeout.

    The public `publish` returns the decoded structure, at 18 CPU seconds per million values.
    """
    request = ua.PublishRequest()
    request.Parameters.SubscriptionAcknowledgements = acks
    data = await client.uaclient._send_request(request, 0)  # noqa: SLF001
    return data.read(len(data))


async def history_read(
    client: Client, parameters: ua.HistoryReadParameters, timeout_s: float
) -> bytes:
    """Send one HistoryReadRequest; returns the bytes of its answer, or TimeoutError.

    The public `history_read` returns decoded structures, four objects for every value.
    """
    request = ua.HistoryReadRequest(Parameters=parameters)
    data = await client.uaclient._send_request(request, timeout_s)  # noqa: SLF001
    return data.read(len(data))


def check_open(client: Client) -> None:
    """ConnectionError if the connection is closed."""
    protocol = client.uaclient.protocol
    if protocol is None or protocol.is_closed:
        raise ConnectionError("the connection is closed")


def bound(client: Client) -> None:
    """After the Hello: limit the memory that a server can use, and correct the negotiated sizes.

    The library does not limit a message or a chunk, and confuses the two directions of the server's
    Acknowledge: a server that accepts less than it sends would break the connection.
    """
    protocol = client.uaclient.protocol
    if protocol is None:
        raise ConnectionError("the connection is closed")
    limits = protocol._connection._limits  # noqa: SLF001
    limits.max_send_buffer = min(limits.max_send_buffer, limits.max_recv_buffer)
    limits.max_recv_buffer = MAX_MESSAGE_BYTES
    limits.max_message_size = MAX_MESSAGE_BYTES
    limits.max_chunk_count = 0
    receive = protocol.data_received

    def receive_bounded(data: bytes) -> None:
        if len(protocol.receive_buffer or b"") > MAX_MESSAGE_BYTES:
            cut(client)
        else:
            receive(data)

    protocol.data_received = receive_bounded  # type: ignore[method-assign]


def cut(client: Client) -> None:
    """Close the socket now. A graceful close waits for a peer that may be stalled."""
    protocol = client.uaclient.protocol
    transport = protocol.transport if protocol is not None else None
    client.disconnect_socket()
    if transport is not None:
        transport.abort()
