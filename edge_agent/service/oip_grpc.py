"""The Open Inference Protocol v2 by gRPC, on a port of its own: the same handlers as by REST.

Keys are the same, too: `authorization: Bearer KEY` in the metadata of a call.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict

from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.messages import Detail, Fault
from edge_agent.oip_messages import MESSAGES, SERVICE
from edge_agent.ops.access import Caller, check_size, denial
from edge_agent.ops.routes import INFER, MODELS, OPEN, READ, Client, Refusal, Request
from edge_agent.service.oip_answers import bytes_of, shown
from edge_agent.service.oip_tensors import RequestError, read_parts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from edge_agent.models import Signature
    from edge_agent.oip_messages import Message
    from edge_agent.ops.access import Access
    from edge_agent.service.oip import Oip
    from edge_agent.service.oip_tensors import InferRequest

log = logging.getLogger("edge_agent.service")

MAX_MESSAGE: Final = 4 << 20  # bytes; longer requests go by REST
MAX_CALLS: Final = 64  # at a time
STOP_S: Final = 1.0
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", MAX_CALLS),
)
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CLIENT: Final = ContextVar("client", default=Client())  # noqa: B039 (of each call; it is frozen)
_FORWARDED: Final = frozenset({"forwarded", "x-forwarded-for", "x-real-ip", "via"})  # by a proxy
_TYPE_NUMBERS: Final = {"TYPE_INT64": 9, "TYPE_FP32": 11}
_CONTENTS: Final = {"FP32": ("fp32_contents", np.float32), "INT64": ("int64_contents", np.int64)}


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of the service: `answer` makes the answer's fields, or the answer, of a request."""

    scope: str
    answer: Callable[[Oip, Message], Awaitable[Any]]


class GrpcServer:
    """Serves the handlers until stopped. A port that another program has is a fault.

    port: the one in use; 0 lets the system choose.
    """

    def __init__(self, oip: Oip, access: Access, host: str, port: int) -> None:
        self.port = port
        self._oip = oip
        self._access = access
        self._host = host
        self._server: Any = None
        self._reason = ""

    async def start(self) -> None:
        """Serve, unless it does already; call it every few seconds, in case the port is taken."""
        if self._server is not None:
            return
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        handlers = {name: self._handler(name, method) for name, method in _METHODS.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self.port = server.add_insecure_port(f"{self._host}:{self.port}")
        except RuntimeError:
            self._log_taken()
            return
        await server.start()
        self._server, self._reason = server, ""
        log.info("grpc serves", extra={"host": self._host, "port": self.port})

    def _log_taken(self) -> None:
        if not self._reason:
            self._reason = f"grpc cannot listen on {self._host}:{self.port}"
            hint = "another program has the port"
            log.warning("grpc cannot listen", extra={"port": self.port, "hint": hint})

    def faults(self) -> list[Fault]:
        """One if it cannot listen."""
        if not self._reason:
            return []
        args = {"where": f"grpc {self._host}:{self.port}", "reason": "in use"}
        return [Fault("grpc", self._reason, Detail("http_address", args))]

    async def stop(self) -> None:
        """End all calls; safe before `start` and when repeated."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(STOP_S)

    def _handler(self, name: str, method: _Method) -> Any:  # noqa: ANN401 (grpc is not typed)
        answer_class = MESSAGES[f"{name}Response"]

        async def call(message: Message, context: Any) -> Message:  # noqa: ANN401
            try:
                client = self._client(context, method.scope)
                check_size(client, message.ByteSize())
                _CLIENT.set(client)
                with self._access.running(client):
                    found = await method.answer(self._oip, message)
            except Refusal as refusal:
                await context.abort(_CODES[refusal.status], refusal.error)
            except NotFoundError as error:
                await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
            except EdgeAgentError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            if isinstance(found, dict):
                return ParseDict(found, answer_class(), ignore_unknown_fields=True)
            return found

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=answer_class.SerializeToString,
        )

    def _client(self, context: Any, scope: str) -> Client:  # noqa: ANN401
        """Who calls; Refusal if it may not."""
        metadata = dict(context.invocation_metadata() or ())
        address, is_local = _address(context.peer())
        is_local &= _FORWARDED.isdisjoint(metadata)
        caller = Caller(str(metadata.get("authorization", "")), address, is_local)
        client = self._access.client_of(caller)
        if scope != OPEN and scope not in client.scopes:
            raise denial(scope, client, caller)
        return client


def _address(peer: str) -> tuple[str, bool]:
    """The address of a peer (`ipv4:127.0.0.1:5`, `ipv6:%5B::1%5D:5`), and if it is the loopback."""
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
    try:
        return host, ip_address(host).is_loopback
    except ValueError:
        return host, False


# -- the methods ----------------------------------------------------------------------------------


def _parts(name: str, version: str) -> Request:
    """A request for a model, by default of its active version."""
    parts = {"model": name, **({"version": version} if version else {})}
    return Request(parts, {}, client=_CLIENT.get())


async def _ready(oip: Oip, _: Message) -> dict[str, Any]:
    return {"ready": (await oip.ready(Request({}, {}))).status == 200}  # noqa: PLR2004


async def _model_ready(oip: Oip, message: Message) -> dict[str, Any]:
    try:
        answer = await oip.model_ready(_parts(message.name, message.version))
    except NotFoundError:  # as Triton: clients ask for a flag
        return {"ready": False}
    return {"ready": answer.status == 200}  # noqa: PLR2004


async def _metadata(oip: Oip, message: Message) -> dict[str, Any]:
    return await oip.metadata(_parts(message.name, message.version))


async def _config(oip: Oip, message: Message) -> dict[str, Any]:
    found = await oip.config(_parts(message.name, message.version))
    for row in (*found["input"], *found["output"]):
        row["data_type"] = _TYPE_NUMBERS[row["data_type"]]
    return {"config": found}


async def _statistics(oip: Oip, message: Message) -> dict[str, Any]:
    request = _parts(message.name, message.version)
    return await (oip.statistics(request) if message.name else oip.all_statistics(request))


async def _index(oip: Oip, message: Message) -> dict[str, Any]:
    body = b'{"ready": true}' if message.ready else b""
    return {"models": await oip.index(Request({}, {}, body))}


async def _load(oip: Oip, message: Message) -> dict[str, Any]:
    return await oip.load(_parts(message.model_name, ""))


async def _unload(oip: Oip, message: Message) -> dict[str, Any]:
    return await oip.unload(_parts(message.model_name, ""))


async def _infer(oip: Oip, message: Message) -> Message:
    request = _parts(message.model_name, message.model_version)

    async def read(signature: Signature) -> InferRequest:
        head, raw = _head_of(message)
        return read_parts(head, {}, memoryview(raw), signature)

    manifest, asked, found = await oip.run(request.parts, read)
    answer = MESSAGES["ModelInferResponse"](
        model_name=manifest.name, model_version=manifest.version, id=asked.id
    )
    answer.parameters.extend(message.parameters)
    for one in asked.wanted:
        array, datatype = shown(found[one.name], one, manifest.classes)
        answer.outputs.add(name=one.name, datatype=datatype, shape=array.shape)
        answer.raw_output_contents.append(bytes_of(array))
    return answer


def _head_of(message: Message) -> tuple[dict[str, Any], bytes]:
    """A request as the JSON of the binary extension, and its raw bytes."""
    raws = list(message.raw_input_contents) or [_raw(tensor) for tensor in message.inputs]
    if len(raws) != len(message.inputs):
        raise RequestError(f"{len(raws)} raw contents, expected one for each input")
    head = {
        "id": message.id,
        "parameters": _values(message.parameters),
        "inputs": [_input_row(one, raw) for one, raw in zip(message.inputs, raws, strict=True)],
        "outputs": [
            {"name": one.name, "parameters": _values(one.parameters)} for one in message.outputs
        ],
    }
    return head, raws[0] if len(raws) == 1 else b"".join(raws)


def _input_row(tensor: Message, raw: bytes) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": {"binary_data_size": len(raw)},
    }


def _raw(tensor: Message) -> bytes:
    """The numbers of a tensor that does not come as raw bytes."""
    field, dtype = _CONTENTS.get(tensor.datatype, _CONTENTS["FP32"])
    return np.array(getattr(tensor.contents, field), dtype).tobytes()


def _values(parameters: Sequence[Message]) -> Mapping[str, Any]:
    """Parameters by key."""
    found = {}
    for one in parameters:
        set_fields = one.value.ListFields()
        if set_fields:
            found[one.key] = set_fields[0][1]
    return found


async def _live(oip: Oip, _: Message) -> dict[str, Any]:
    return await oip.live(Request({}, {}))


async def _server(oip: Oip, _: Message) -> dict[str, Any]:
    return await oip.server(Request({}, {}))


_METHODS: Final[Mapping[str, _Method]] = {
    "ServerLive": _Method(OPEN, _live),
    "ServerReady": _Method(OPEN, _ready),
    "ServerMetadata": _Method(OPEN, _server),
    "ModelReady": _Method(READ, _model_ready),
    "ModelMetadata": _Method(READ, _metadata),
    "ModelConfig": _Method(READ, _config),
    "ModelStatistics": _Method(READ, _statistics),
    "ModelInfer": _Method(INFER, _infer),
    "RepositoryIndex": _Method(READ, _index),
    "RepositoryModelLoad": _Method(MODELS, _load),
    "RepositoryModelUnload": _Method(MODELS, _unload),
}
