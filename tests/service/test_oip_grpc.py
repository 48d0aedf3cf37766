"""The Open Inference Protocol v2 by gRPC: the same answers, keys and refusals as by REST."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tiny_versions
from oip_support import LENGTH, NAME, serving, windows
from status_support import BEARER, TOKEN

from edge_agent.clock import SystemClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.ops.access import Access
from edge_agent.ops.key_file import changed_keys, new_key
from edge_agent.ops.keys import KeyRing
from edge_agent.service.oip import Oip

grpc = pytest.importorskip("grpc")

from edge_agent.oip_messages import MESSAGES, SERVICE  # noqa: E402
from edge_agent.service import oip_grpc  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Caller:
    """Calls methods over a channel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    async def __call__(self, name: str, fields: dict[str, Any], **metadata: str) -> Any:
        method = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=MESSAGES[f"{name}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{name}Response"].FromString,
        )
        headers = tuple((key.lower(), value) for key, value in metadata.items())
        return await method(MESSAGES[f"{name}Request"](**fields), metadata=headers)


@asynccontextmanager
async def calling(
    folder: Path, *, has_token: bool = False, audit: Any = None
) -> AsyncIterator[Caller]:
    token = Secret(env="EDGE_AGENT_TEST_TOKEN") if has_token else None
    config, clock = Http(port=0, token=token), SystemClock()
    async with serving(folder) as made:
        access = Access(config, KeyRing(folder / "keys", clock), clock)
        api = Oip(made.models, made.metrics)
        api.audit = audit
        server = oip_grpc.GrpcServer(api, access, "127.0.0.1", 0)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Caller(channel)
        finally:
            await server.stop()


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Caller]:
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with calling(tmp_path) as made:
        yield made


def asking(x: np.ndarray, **more: Any) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": x.shape}
    return {"model_name": NAME, "inputs": [tensor], "raw_input_contents": [x.tobytes()], **more}


async def test_metadata_and_health(call: Caller) -> None:
    """As by REST."""
    assert (await call("ServerLive", {})).live
    assert (await call("ServerReady", {})).ready
    assert "binary_tensor_data" in (await call("ServerMetadata", {})).extensions
    assert (await call("ModelReady", {"name": NAME})).ready
    assert not (await call("ModelReady", {"name": "nope"})).ready
    found = await call("ModelMetadata", {"name": NAME, "version": "1"})
    assert list(found.inputs[0].shape) == [-1, LENGTH, 2]
    config = (await call("ModelConfig", {"name": NAME})).config
    assert (config.input[0].data_type, list(config.input[0].dims)) == (11, [-1, LENGTH, 2])
    [row] = (await call("RepositoryIndex", {})).models
    assert (row.name, row.version, row.state) == (NAME, "1", "READY")


async def test_infer_with_raw_bytes_and_with_contents(call: Caller) -> None:
    """Both forms of the protocol; the answer has raw bytes, the id and the parameters."""
    x = windows(3.0, 5.0)
    parameters = [{"key": "plant", "value": {"string_param": "north"}}]
    listed = asking(x, id="a7", parameters=parameters)
    del listed["raw_input_contents"]
    listed["inputs"][0]["contents"] = {"fp32_contents": x.ravel()}
    for fields in (asking(x, id="a7", parameters=parameters), listed):
        found = await call("ModelInfer", fields)
        assert (found.model_name, found.model_version, found.id) == (NAME, "1", "a7")
        assert found.parameters[0].value.string_param == "north"
        assert list(found.outputs[0].shape) == [2]
        assert np.frombuffer(found.raw_output_contents[0], np.float32).tolist() == [3.0, 5.0]
    [row] = (await call("ModelStatistics", {"name": NAME})).model_stats
    assert (row.inference_count, row.inference_stats.success.count) == (4, 2)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_name": "nope"}, "NOT_FOUND"),
        ({"model_version": "9"}, "NOT_FOUND"),
        ({"raw_input_contents": []}, "INVALID_ARGUMENT"),
        ({"raw_input_contents": [b"1", b"2"]}, "INVALID_ARGUMENT"),
        ({"inputs": []}, "INVALID_ARGUMENT"),
        ({"outputs": [{"name": "nope"}]}, "INVALID_ARGUMENT"),
    ],
)
async def test_refusals(call: Caller, change: dict[str, Any], code: str) -> None:
    """With gRPC's own words."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call("ModelInfer", asking(windows(1.0)) | change)
    assert refused.value.code().name == code


async def test_keys_and_scopes_hold(tmp_path: Path) -> None:
    """Load needs the scope; a wrong key is refused; with the token it works, and is audited."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    audited: list[tuple[Any, ...]] = []

    async def audit(*entry: Any) -> None:
        audited.append(entry)

    async with calling(tmp_path, has_token=True, audit=audit) as call:
        load = {"model_name": NAME}
        for metadata in ({}, {"authorization": f"Bearer {TOKEN[:-1]}x"}):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call("RepositoryModelLoad", load, **metadata)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert audited == []
        await call("RepositoryModelLoad", load, **BEARER)
        assert audited == [("token", "load", [NAME])]
        assert (await call("ModelInfer", asking(windows(3.0)))).outputs
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call("ModelInfer", asking(windows(3.0)), **{"x-forwarded-for": "10.0.0.1"})
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_key_may_send_so_much(tmp_path: Path) -> None:
    """As by REST; a key without a limit is not limited."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    made = [new_key("few", ["infer"], 0, max_body=100), new_key("any", ["infer"], 0)]
    with changed_keys(tmp_path / "keys") as keys:
        keys |= {key.id: key for key, _ in made}
    few, all_of_it = ({"authorization": f"Bearer {secret}"} for _, secret in made)
    async with calling(tmp_path) as call:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call("ModelInfer", asking(windows(3.0, 4.0, 5.0)), **few)
        assert "100 bytes that the key few" in str(refused.value.details())
        assert (await call("ModelInfer", asking(windows(3.0, 4.0, 5.0)), **all_of_it)).outputs


async def test_a_taken_port_is_a_fault(tmp_path: Path) -> None:
    """It is tried again by the next `start`."""
    config, clock = Http(port=0), SystemClock()
    access = Access(config, KeyRing(tmp_path / "keys", clock), clock)
    oip: Any = None
    first = oip_grpc.GrpcServer(oip, access, "127.0.0.1", 0)
    await first.start()
    second = oip_grpc.GrpcServer(oip, access, "127.0.0.1", first.port)
    await second.start()
    assert second.faults()
    await first.stop()
    await second.start()
    assert second.faults() == []
    await second.stop()
    await second.stop()
