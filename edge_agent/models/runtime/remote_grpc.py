"""A connection to an inference server by gRPC; needs the extra `grpc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import grpc
import numpy as np

from edge_agent.errors import ConfigError
from edge_agent.models.runtime.remote_tensors import (
    DATATYPES,
    WrongAnswerError,
    check_complete,
    metadata_problem,
    shown,
    tensor_of,
)
from edge_agent.models.runtime.remote_wire import left_s
from edge_agent.oip_messages import MESSAGES, SERVICE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.config.settings import RemoteServer
    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.runtime.engine import Signature
    from edge_agent.oip_messages import Message

_MAX_BYTES: Final = 16 << 20
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not wait for another one's pause
)
_LABELS: Final = {
    grpc.StatusCode.UNAVAILABLE: ("unreachable", "no connection"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("too_long", "its answer is too long, or it is too busy"),
}
_CONTENTS: Final = {
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
}


class GrpcLink:
    """One server's gRPC interface; as `HttpLink`."""

    def __init__(self, url: str, server: RemoteServer, model: str, version: str) -> None:
        parts = urlsplit(url)
        self._target, self._tls = parts.netloc, parts.scheme == "grpcs"
        self._server = server
        self._named = {"name": model, "version": version}
        self._channel: grpc.Channel | None = None
        self._key: tuple[tuple[str, str], ...] = ()

    def describe(self, signature: Signature, until_s: float) -> None:
        """Ask whether it is ready, and compare its metadata with the manifest."""
        ready = self._call("ModelReady", MESSAGES["ModelReadyRequest"](**self._named), until_s)
        if not ready.ready:
            raise WrongAnswerError("refused", "the model is not ready there")
        request = MESSAGES["ModelMetadataRequest"](**self._named)
        found = self._call("ModelMetadata", request, until_s)
        rows = {key: [_row(one) for one in getattr(found, key)] for key in ("inputs", "outputs")}
        problem = metadata_problem(rows, signature)
        if problem:
            raise WrongAnswerError("metadata", problem)

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], signature: Signature, number: str, until_s: float
    ) -> Tensors:
        """Run N rows; the outputs have the shapes of the manifest."""
        rows, wanted = len(next(iter(feeds.values()))), signature.outputs
        request = MESSAGES["ModelInferRequest"](
            model_name=self._named["name"], model_version=self._named["version"], id=number
        )
        for name, array in feeds.items():
            request.inputs.add(
                name=name, datatype=DATATYPES[str(array.dtype)], shape=list(array.shape)
            )
            request.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
        for name in wanted:
            request.outputs.add(name=name)
        answer = self._call("ModelInfer", request, until_s)
        if answer.id not in {number, ""}:
            raise WrongAnswerError("protocol", "the answer is that of another request")
        found: Tensors = {}
        for index, given in enumerate(answer.outputs):
            if given.name in wanted:
                data, shape = _data(answer, index), list(given.shape)
                of_manifest = rows, wanted[given.name]
                found[given.name] = tensor_of(given.name, given.datatype, shape, data, of_manifest)
        check_complete(found, wanted)
        return found

    def close(self) -> None:
        """Close the channel."""
        kept, self._channel = self._channel, None
        if kept is not None:
            kept.close()

    def _call(self, method: str, request: Message, until_s: float) -> Message:
        left = left_s(until_s)
        channel = self._channel or self._opened()
        call = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=MESSAGES[f"{method}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{method}Response"].FromString,
        )
        try:
            return call(request, timeout=left, metadata=self._key)
        except grpc.RpcError as error:
            _raise(error)

    def _opened(self) -> grpc.Channel:
        server = self._server
        if server.key is not None:
            self._key = (("authorization", f"Bearer {server.key.reveal()}"),)
        if self._tls:
            files = (_read(one) for one in (server.ca, server.cert_key or server.cert, server.cert))
            credentials = grpc.ssl_channel_credentials(*files)
            self._channel = grpc.secure_channel(self._target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(self._target, options=_OPTIONS)
        return self._channel


def _raise(error: grpc.RpcError) -> NoReturn:
    """The error of a call in our own words; its details may be of any length."""
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise TimeoutError from error
    label, text = _LABELS.get(code, ("refused", f"{code.name}"))
    raise WrongAnswerError(label, f"{text}: {shown((error.details() or '').encode())}") from error


def _data(answer: Message, index: int) -> memoryview | list[float]:
    """The numbers of an output: raw, or in the field of their type."""
    if index < len(answer.raw_output_contents):
        return memoryview(answer.raw_output_contents[index])
    given = answer.outputs[index]
    field = _CONTENTS.get(given.datatype, "fp32_contents")
    return list(getattr(given.contents, field))


def _row(tensor: Message) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _read(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        message = f"cannot read a certificate: {error.strerror}"
        raise ConfigError(message, where=str(file)) from error
