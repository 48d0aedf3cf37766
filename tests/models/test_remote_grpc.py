"""A model on an inference server by gRPC: the same checks as by REST."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from isolated_models import rows
from remote_models import RemoteSite, is_used

from edge_agent.testing import wait_until

grpc = pytest.importorskip("grpc")

from edge_agent.oip_messages import MESSAGES, SERVICE  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

X = rows(1.0, 2.0, 3.0)


class GrpcServer:
    """The mean of x, by gRPC. mode: what is wrong; contents: as numbers, not as raw bytes."""

    def __init__(self) -> None:
        self.mode = "good"
        self.contents = False
        self.asked: list[Any] = []
        methods = ("ModelReady", "ModelMetadata", "ModelInfer")
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, name),
                request_deserializer=MESSAGES[f"{name}Request"].FromString,
                response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
            )
            for name in methods
        }
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((handler,))
        self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def ModelReady(self, *_: Any) -> Any:  # noqa: N802 (of the protocol)
        return MESSAGES["ModelReadyResponse"](ready=True)

    def ModelMetadata(self, *_: Any) -> Any:  # noqa: N802
        found = MESSAGES["ModelMetadataResponse"](name="watch")
        found.inputs.add(name="x", datatype="FP32", shape=[-1, 4, 2])
        found.outputs.add(name="score", datatype="FP32", shape=[-1])
        return found

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append((request, dict(context.invocation_metadata())))
        if self.mode == "hang":
            time.sleep(1.5)
        if self.mode == "refuse":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        x = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(-1, 4, 2)
        score = x.mean(axis=(1, 2)) * np.float32("nan" if self.mode == "nan" else 1)
        score = score[:-1] if self.mode == "short" else score
        answer = MESSAGES["ModelInferResponse"](model_name="watch", id=request.id)
        output = answer.outputs.add(name="score", datatype="FP32", shape=[len(score), 1])
        if self.contents:
            output.contents.fp32_contents.extend(score.tolist())
        else:
            answer.raw_output_contents.append(score.tobytes())
        return answer

    def stop(self) -> None:
        """End it."""
        self._server.stop(0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[RemoteSite]:
    made = RemoteSite(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    made = GrpcServer()
    yield made
    made.stop()


@pytest.mark.parametrize("contents", [False, True], ids=["raw", "numbers"])
def test_a_server_scores_by_grpc(site: RemoteSite, server: GrpcServer, *, contents: bool) -> None:
    """Both forms of an answer are read; the id is sent."""
    server.contents = contents
    model = site.load(urls=(server.url,))
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert (site.scored("remote"), site.scored("local")) == (3, 0)
    assert server.asked[-1][0].id.startswith("watch.")


@pytest.mark.parametrize(
    ("mode", "label"),
    [("nan", "not_a_number"), ("short", "shape"), ("hang", "timeout"), ("refuse", "refused")],
)
def test_what_a_server_answers_wrong_by_grpc_the_graph_here_scores(
    site: RemoteSite, server: GrpcServer, mode: str, label: str
) -> None:
    """And the server returns by itself."""
    model = site.load(urls=(server.url,), timeout_s=0.6)
    server.mode = mode
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert site.failures(label) >= 1
    assert not is_used(model)
    server.mode = "good"
    wait_until(lambda: is_used(model), timeout_s=15, what="the return")
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert site.scored("remote") == 3
