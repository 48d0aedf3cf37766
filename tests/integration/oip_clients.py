"""Calls of foreign clients of the Open Inference Protocol: `CLIENT HOST:PORT MODEL FILE.npz`.

Run by the Python of requirements/clients.txt. CLIENT is `triton-http`, `triton-grpc`, `kserve-rest`
or `kserve-grpc`. The file has the arrays to send (`in.NAME`) and the expected ones (`out.NAME`).
Prints one JSON object: what each call came to. The environment has the key for load and unload.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = {"authorization": f"Bearer {os.environ['EDGE_AGENT_TEST_TOKEN']}"}
DATATYPES = {"float32": "FP32", "int64": "INT64"}


class Case:
    """The arrays of the file."""

    def __init__(self, path: str) -> None:
        arrays = dict(np.load(path))
        self.sent = {key[3:]: array for key, array in arrays.items() if key.startswith("in.")}
        self.expected = {key[4:]: array for key, array in arrays.items() if key.startswith("out.")}

    def compared(self, found: Callable[[str], Any]) -> dict[str, Any]:
        """Shape, type and largest difference of each output."""
        return {
            name: self._row(np.asarray(found(name)), array) for name, array in self.expected.items()
        }

    @staticmethod
    def _row(array: Any, expected: Any) -> dict[str, Any]:
        off = np.abs(array.reshape(expected.shape).astype(float) - expected)
        return {"shape": array.shape, "dtype": str(array.dtype), "off": float(off.max())}


def triton(client: Any, module: Any, model: str, case: Case, *, is_http: bool) -> dict[str, Any]:
    """The calls of tritonclient, http or grpc."""

    def tensors(*, binary: bool) -> list[Any]:
        found = []
        for name, array in case.sent.items():
            tensor = module.InferInput(name, array.shape, DATATYPES[str(array.dtype)])
            more = {"binary_data": binary} if is_http else {}
            tensor.set_data_from_numpy(array, **more)
            found.append(tensor)
        return found

    def wanted(*, binary: bool, **more: int) -> list[Any]:
        kind = {"binary_data": binary} if is_http else {}
        return [module.InferRequestedOutput(name, **kind, **more) for name in case.expected]

    def infer(*, binary: bool = True, ask: bool = True, **more: Any) -> dict[str, Any]:
        outputs = wanted(binary=binary) if ask else None
        found = client.infer(model, tensors(binary=binary), outputs=outputs, **more)
        answer = found.get_response()
        return {
            **case.compared(found.as_numpy),
            "id": answer["id"] if is_http and "id" in answer else getattr(answer, "id", ""),
        }

    name = next(iter(case.expected))
    bad = module.InferInput(next(iter(case.sent)), [1, 3], "FP32")
    bad.set_data_from_numpy(np.zeros((1, 3), np.float32))
    classes = [module.InferRequestedOutput(name, class_count=1)]
    calls = {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model_ready": lambda: client.is_model_ready(model),
        "unknown_ready": lambda: client.is_model_ready("nope"),
        "server": lambda: plain(client.get_server_metadata()),
        "metadata": lambda: plain(client.get_model_metadata(model)),
        "config": lambda: plain(client.get_model_config(model)),
        "index": lambda: plain(client.get_model_repository_index()),
        "infer": infer,
        "infer_all": lambda: infer(ask=False),
        "infer_id": lambda: infer(request_id="r7"),
        "infer_again": lambda: infer(request_id="r8"),
        "classes": lambda: (
            client.infer(model, tensors(binary=True), outputs=classes).as_numpy(name).shape
        ),
        "statistics": lambda: plain(client.get_inference_statistics(model)),
        "unknown": lambda: client.get_model_metadata("nope"),
        "infer_unknown": lambda: client.infer("nope", tensors(binary=True)),
        "bad_input": lambda: client.infer(model, [bad]),
        "no_input": lambda: client.infer(model, []),
    }
    if is_http:
        calls |= {
            "infer_json": lambda: infer(binary=False),
            "infer_gzip": lambda: infer(request_compression_algorithm="gzip"),
            "infer_deflate": lambda: infer(binary=False, request_compression_algorithm="deflate"),
        }
    calls |= {
        "unload": lambda: client.unload_model(model, headers=KEY),
        "infer_unloaded": infer,
        "load": lambda: client.load_model(model, headers=KEY),
        "infer_loaded": infer,
    }
    return {key: outcome(call) for key, call in calls.items()}


def plain(found: Any) -> Any:
    """A message of protobuf as a dict."""
    if isinstance(found, dict | list):
        return found
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    return MessageToDict(found, preserving_proto_field_name=True)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the text of what it raises."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 (whatever a client raises is its answer)
        return {"raised": f"{type(error).__name__}: {error}"}


async def kserve(kind: str, address: str, model: str, case: Case) -> dict[str, Any]:
    """The calls of kserve's client, REST or gRPC; its package without its server."""
    spec = importlib.util.find_spec("kserve")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("kserve is not installed")
    bare = types.ModuleType("kserve")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["kserve"] = bare
    from kserve.inference_client import (  # noqa: PLC0415
        InferenceGRPCClient,
        InferenceRESTClient,
        RESTConfig,
    )
    from kserve.protocol.infer_type import InferInput, InferRequest  # noqa: PLC0415

    is_rest = kind == "kserve-rest"
    client: Any = (
        InferenceRESTClient(RESTConfig(protocol="v2")) if is_rest else InferenceGRPCClient(address)
    )
    place = [f"http://{address}"] if is_rest else []

    async def infer(*, binary: bool, name: str = model) -> Any:
        tensors = []
        for key, array in case.sent.items():
            tensor = InferInput(key, list(array.shape), DATATYPES[str(array.dtype)])
            tensor.set_data_from_numpy(array, binary_data=binary)
            tensors.append(tensor)
        request = InferRequest(name, tensors, request_id="k7")
        named = {"model_name": name} if is_rest else {}
        found = await client.infer(*place, request, **named)
        by_name = {one.name: one.as_numpy() for one in found.outputs}
        return {**case.compared(by_name.__getitem__), "id": found.id}

    calls: dict[str, Callable[[], Any]] = {
        "live": lambda: client.is_server_live(*place),
        "ready": lambda: client.is_server_ready(*place),
        "model_ready": lambda: client.is_model_ready(*place, model),
        "unknown_ready": lambda: client.is_model_ready(*place, "nope"),
        "infer": lambda: infer(binary=True),
        "infer_json": lambda: infer(binary=False),
        "infer_unknown": lambda: infer(binary=True, name="nope"),
    }
    found = {}
    for key, call in calls.items():
        try:
            found[key] = await call()
        except Exception as error:  # noqa: BLE001 (same)
            found[key] = {"raised": f"{type(error).__name__}: {error}"}
    await client.close()
    return found


def main() -> None:
    """Make the calls and print what they came to."""
    kind, address, model, path = sys.argv[1:]
    case = Case(path)
    if kind.startswith("kserve"):
        found = asyncio.run(kserve(kind, address, model, case))
    elif kind == "triton-http":
        from tritonclient import http  # noqa: PLC0415

        found = triton(http.InferenceServerClient(address), http, model, case, is_http=True)
    else:
        from tritonclient import grpc  # noqa: PLC0415

        found = triton(grpc.InferenceServerClient(address), grpc, model, case, is_http=False)
    print(json.dumps(found))  # noqa: T201 (for the test)


if __name__ == "__main__":
    main()
