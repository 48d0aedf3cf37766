"""The Open Inference Protocol v2 by REST: what a client sees."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import threading
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
import tiny_versions
from oip_support import LENGTH, NAME, asking, serving, windows
from status_support import BEARER
from support import until, value_of

from edge_agent.errors import NotFoundError
from edge_agent.ops import bodies
from edge_agent.ops.routes import Client, Request
from edge_agent.service import oip, oip_bodies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from oip_support import Served

MODEL = f"/v2/models/{NAME}"
INFER = f"{MODEL}/infer"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Served]:
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with serving(tmp_path) as made:
        yield made


async def get(here: Served, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(here.url + path) as answer:
        return answer.status, await answer.json()


async def post(
    here: Served, path: str, body: object, **headers: str
) -> tuple[int, Any, aiohttp.ClientResponse]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.post(here.url + path, data=io.BytesIO(raw), headers=headers) as answer,
    ):
        content = await answer.read()
        is_json = answer.content_type == "application/json"
        return answer.status, json.loads(content) if is_json else content, answer


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
async def test_the_server_names_its_extensions(here: Served, path: str) -> None:
    """Clients send binary tensors only to a server that lists them."""
    status, found = await get(here, path)
    assert status == 200
    assert "binary_tensor_data" in found["extensions"]


async def test_health_has_both_words(here: Served, tmp_path: Path) -> None:
    """kserve's client reads the body, tritonclient the status; without a model it is not ready."""
    assert await get(here, "/v2/health/live") == (200, {"live": True, "ready": True})
    assert await get(here, "/v2/health/ready") == (200, {"live": True, "ready": True})
    (tmp_path / NAME / "model.yaml").unlink()
    assert await get(here, "/v2/health/ready") == (503, {"live": True, "ready": False})


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/1"])
async def test_metadata_is_that_of_the_manifest(here: Served, path: str) -> None:
    """Without loading the model."""
    status, found = await get(here, path)
    assert status == 200
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, LENGTH, 2]}]
    assert found["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [-1]}]
    assert found["parameters"]["channels"] == ["flow", "pressure"]
    assert here.models.loaded() == []


@pytest.mark.parametrize(
    "path", ["", "/ready", "/config", "/stats", "/versions/9", "/versions/9/ready"]
)
async def test_an_unknown_model_is_404(here: Served, path: str) -> None:
    """Of a model or of a version."""
    name = NAME if "versions" in path else "nope"
    status, found = await get(here, f"/v2/models/{name}{path}")
    assert status == 404
    assert found["error"]


async def test_infer_needs_no_content_type(here: Served) -> None:
    """tritonclient sends none; id and parameters come back."""
    body = asking(windows(3.0, 5.0), id="a7", parameters={"plant": "north"})
    status, found, _ = await post(here, INFER, body)
    assert status == 200
    assert found == {
        "model_name": NAME,
        "model_version": "1",
        "id": "a7",
        "parameters": {"plant": "north"},
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [2], "data": [3.0, 5.0]}],
    }
    assert value_of(here.metrics.served_requests.labels("answered")) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_compressed_body_is_unpacked(here: Served, pack: Any) -> None:
    """Both forms that the clients send."""
    encoding = "gzip" if pack is gzip.compress else "deflate"
    body = pack(json.dumps(asking(windows(3.0))).encode())
    headers = {"Content-Encoding": encoding}
    status, found, _ = await post(here, INFER, body, **headers)
    assert (status, found["outputs"][0]["data"]) == (200, [3.0])


async def test_a_bomb_is_refused(here: Served) -> None:
    """16 KiB that unpack to 17 MiB; a cut and a wrong one are refused, too."""
    bomb = gzip.compress(b" " * (oip_bodies.MAX_INFER_BODY + 1))
    headers = {"Content-Encoding": "gzip"}
    assert (await post(here, INFER, bomb, **headers))[0] == 413
    small = gzip.compress(json.dumps(asking(windows(3.0))).encode())
    assert (await post(here, INFER, small[:-9], **headers))[0] == 400
    assert (await post(here, INFER, b"no gzip", **headers))[0] == 400
    assert (await post(here, INFER, b"{}", **{"Content-Encoding": "br"}))[0] == 400


async def test_binary_tensors_both_ways(here: Served) -> None:
    """A request and an answer of JSON and raw bytes."""
    x = windows(3.0, 5.0)
    head = asking(x, outputs=[{"name": "score", "parameters": {"binary_data": True}}])
    row = head["inputs"][0]
    del row["data"]
    row["parameters"] = {"binary_data_size": x.nbytes}
    text = json.dumps(head).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    status, raw, answer = await post(here, INFER, text + x.tobytes(), **length)
    assert status == 200
    size = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(raw[:size])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    np.testing.assert_array_equal(np.frombuffer(raw[size:], np.float32), [3.0, 5.0])
    wrong = {"Inference-Header-Content-Length": "many"}
    assert (await post(here, INFER, text + x.tobytes(), **wrong))[0] == 400


async def test_a_request_that_does_not_fit_is_400_with_what_was_expected(here: Served) -> None:
    """The author of the client sees only this."""
    status, found, _ = await post(here, INFER, asking(np.zeros((1, 3), np.float32)))
    assert status == 400
    assert f"expected FP32 [-1, {LENGTH}, 2]" in found["error"]
    assert (await post(here, INFER, b"no json"))[0] == 400
    assert (await post(here, INFER, b""))[0] == 400


async def test_a_long_body_is_for_inference_alone(here: Served) -> None:
    """A million numbers pass there, and nowhere else."""
    x = np.zeros((20_000, LENGTH, 2), np.float32)
    status, found, _ = await post(here, INFER, asking(x))
    assert status == 200
    assert found["outputs"][0]["shape"] == [20_000]
    assert (await post(here, INFER, b" " * (oip_bodies.MAX_INFER_BODY + 1)))[0] == 413
    assert (await post(here, "/v2/repository/index", b" " * 20_000))[0] == 413


async def test_large_bodies_share_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections send one: the first is held in memory until it is answered."""
    monkeypatch.setattr(bodies, "MAX_LARGE", 50_000)
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    body = asking(np.zeros((1_000, LENGTH, 2), np.float32))
    async with serving(tmp_path, is_busy=lambda: not gate.is_set()) as here:
        first = asyncio.create_task(post(here, INFER, body))
        await until(lambda: [one for one in here.models.loaded() if one.pending], "it waits")
        status, found, _ = await post(here, INFER, body)
        assert (status, found["error"]) == (429, "too many large requests at a time")
        gate.set()
        assert (await first)[0] == 200
        assert (await post(here, INFER, body))[0] == 200


async def test_a_full_queue_is_429_with_retry_after(tmp_path: Path) -> None:
    """And a request behind the plant's windows is 504 at its deadline."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    busy: Any = {"is_busy": lambda: not gate.is_set(), "queue": 1, "deadline": 60.0}
    async with serving(tmp_path, **busy) as here:
        first = asyncio.create_task(post(here, INFER, asking(windows(1.0))))
        await until(lambda: [one for one in here.models.loaded() if one.pending], "it waits")
        status, _, answer = await post(here, INFER, asking(windows(1.0)))
        assert status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        gate.set()
        assert (await first)[0] == 200
    busy["deadline"] = 2.0
    gate.clear()
    async with serving(tmp_path, **busy) as here:
        while not here.models.loaded():
            assert (await post(here, INFER, asking(windows(1.0))))[0] in {503, 504}
        assert (await post(here, INFER, asking(windows(1.0))))[0] == 504
        gate.set()


async def test_load_and_unload_need_the_scope(tmp_path: Path, here: Served) -> None:
    """A client of this machine may infer without a key, and not load or unload."""
    repository = f"/v2/repository/models/{NAME}"
    assert (await post(here, f"{repository}/unload", b""))[0] == 403
    async with serving(tmp_path, has_token=True) as other:
        assert (await post(other, f"{repository}/load", b""))[0] == 401
        assert (await post(other, f"{repository}/load", b"", **BEARER))[0] == 200
        assert len(other.models.loaded()) == 1
        assert (await post(other, f"{repository}/unload", b"", **BEARER))[0] == 200
        assert (await post(other, INFER, asking(windows(1.0))))[0] == 503
        assert (await get(other, f"{MODEL}/ready"))[0] == 503
        assert (await post(other, f"{repository}x/unload", b"", **BEARER))[0] == 404


async def test_what_a_client_loads_and_unloads_is_audited(here: Served) -> None:
    """With the name of its key, once it is done."""
    api = oip.Oip(here.models, here.metrics)
    noted: list[tuple[Any, ...]] = []

    async def note(*entry: Any) -> None:
        noted.append(entry)

    api.audit = note
    for client in (Client("mes"), Client()):
        await api.load(Request({"model": NAME}, {}, b"", client))
    with pytest.raises(NotFoundError):
        await api.load(Request({"model": "nope"}, {}, b"", Client("mes")))
    await api.unload(Request({"model": NAME}, {}, b"", Client("token")))
    assert noted == [
        ("mes", "load", [NAME]),
        ("socket", "load", [NAME]),
        ("token", "unload", [NAME]),
    ]


async def test_a_page_of_another_origin_gets_nothing(here: Served) -> None:
    """A form of a page could send a body without a Content-Type of its own."""
    body = asking(windows(1.0))
    assert (await post(here, INFER, body, Origin="http://evil.example"))[0] == 403
    assert (await post(here, INFER, body, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert (await post(here, INFER, body, Origin=here.url))[0] == 200


async def test_the_repository_lists_every_version(here: Served) -> None:
    """Also with an empty body, as tritonclient sends."""
    for body in (b"", {"ready": True}):
        status, found, _ = await post(here, "/v2/repository/index", body)
        assert status == 200
        assert found == [{"name": NAME, "version": "1", "state": "READY", "reason": ""}]


async def test_statistics_count_requests_rows_and_runs(here: Served) -> None:
    """Of the models in memory."""
    assert await get(here, "/v2/models/stats") == (200, {"model_stats": []})
    await post(here, INFER, asking(windows(1.0, 2.0)))
    status, found = await get(here, f"{MODEL}/versions/1/stats")
    [row] = found["model_stats"]
    assert (status, row["inference_count"], row["execution_count"]) == (200, 2, 1)
    assert row["inference_stats"]["success"]["count"] == 1
    assert row["batch_stats"][0]["batch_size"] == 2
