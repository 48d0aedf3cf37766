"""Clients that nobody here wrote use the models: tritonclient, kserve's client, schemathesis.

Each has a control: a server that is wrong in one thing, which the same comparison must find.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from oip_support import serving
from status_support import plant_of
from support import shipped_bundles

from edge_agent.clock import SystemClock
from edge_agent.config.settings import Http
from edge_agent.config.types import Secret
from edge_agent.models import parse_golden
from edge_agent.ops.access import Access
from edge_agent.ops.keys import KeyRing
from edge_agent.ops.metrics import Metrics
from edge_agent.service import admission, oip, oip_grpc, oip_tensors, status_routes
from edge_agent.service.oip import Oip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oip_support import Served

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CALLS = Path(__file__).with_name("oip_clients.py")
KINDS = ("triton-http", "triton-grpc", "kserve-rest", "kserve-grpc")
MODEL = "demo-pump"
CLOSE = 1e-6
# What the calls that return no arrays must say; a text is a part of what is raised.
SAID: dict[str, Any] = {
    "live": True,
    "ready": True,
    "model_ready": True,
    "classes": [32, 1],
    "unload": None,
    "load": None,
}
RAISED = {
    "infer_unknown": "nope",
    "unknown": "nope",
    "bad_input": "expected FP32 [-1, 32, 8]",
    "no_input": "inputs must be",
    "infer_unloaded": "unloaded",
}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The golden vectors of the shipped bundle, as a file for the client."""
    [folder] = [one for one in shipped_bundles() if one.name == MODEL]
    golden = parse_golden((folder / "golden.npz").read_bytes())
    sent = {f"in.{name}": array for name, array in golden.inputs.items()}
    expected = {f"out.{name}": array for name, array in golden.outputs.items()}
    path = tmp_path / "case.npz"
    np.savez(path, **sent, **expected)  # type: ignore[arg-type]
    return path


@asynccontextmanager
async def both(tmp_path: Path) -> AsyncIterator[tuple[Served, int]]:
    """The shipped models by REST and by gRPC (its port)."""
    folder = shipped_bundles()[0].parent
    config = Http(port=0, token=Secret(env="EDGE_AGENT_TEST_TOKEN"))
    clock = SystemClock()
    routes = status_routes(plant_of(50), Metrics())
    async with serving(folder, routes, has_token=True) as made:
        access = Access(config, KeyRing(tmp_path / "keys", clock), clock)
        server = oip_grpc.GrpcServer(Oip(made.models, made.metrics), access, "127.0.0.1", 0)
        await server.start()
        try:
            yield made, server.port
        finally:
            await server.stop()


async def run(*command: object) -> tuple[int, str]:
    """Run a program beside the server of this process."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 240)
    return process.returncode or 0, out.decode()


async def calls(kind: str, python: Path, case: Path, tmp_path: Path) -> dict[str, Any]:
    """What the calls of a client come to."""
    async with both(tmp_path) as (here, grpc_port):
        address = f"127.0.0.1:{grpc_port}" if kind.endswith("grpc") else here.url[7:]
        code, out = await run(python, CALLS, kind, address, MODEL, case)
        assert code == 0, out
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found


def problems(found: dict[str, Any]) -> list[str]:
    """What is wrong in the answers of all calls."""
    wrong = [f"{key}: {found[key]}" for key, said in SAID.items() if found.get(key, said) != said]
    for key, text in RAISED.items():
        if key in found and text not in str(found[key].get("raised", "")):
            wrong.append(f"{key}: {found[key]}")
    for key in found.keys() - SAID.keys() - RAISED.keys():
        wrong += [f"{key}: {one}" for one in _wrong_answer(key, found[key])]
    return sorted(wrong)


def _wrong_answer(key: str, answer: Any) -> list[str]:
    if key == "unknown_ready":
        return [] if answer is False else [str(answer)]
    if "raised" in answer:
        return [answer["raised"]]
    if not key.startswith("infer"):
        texts = {"server": "binary_tensor_data", "index": "READY", "statistics": "execution_count"}
        return [] if texts.get(key, MODEL) in str(answer) else [str(answer)]
    rows = [row for row in answer.values() if isinstance(row, dict)]
    wrong = [str(row) for row in rows if row["off"] > CLOSE or row["dtype"] != "float32"]
    expected = {"infer_id": "r7", "infer_again": "r8"}.get(key, answer["id"])
    return wrong if answer["id"] == expected and len(rows) == 3 else [*wrong, f"id or {rows}"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_client_is_served(
    kind: str, clients_python: Path, case: Path, tmp_path: Path
) -> None:
    """Every call of it, with the values of the golden vectors."""
    found = await calls(kind, clients_python, case, tmp_path)
    assert problems(found) == []
    assert len(found) >= (7 if "kserve" in kind else 20)


def off_by_a_little(patch: pytest.MonkeyPatch) -> None:
    """Every value of an answer."""
    right = admission.ModelQueue._outputs

    def wrong(self: Any, *args: Any) -> Any:
        found: dict[str, Any] = dict(right(self, *args))
        return {name: array + np.float32(1e-3) for name, array in found.items()}

    patch.setattr(admission.ModelQueue, "_outputs", wrong)


def rows_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """As if the answers of two requests were mixed up."""
    right = admission.ModelQueue._outputs

    def wrong(self: Any, *args: Any) -> Any:
        return {name: array[::-1] for name, array in right(self, *args).items()}

    patch.setattr(admission.ModelQueue, "_outputs", wrong)


def never_ready(patch: pytest.MonkeyPatch) -> None:
    """Health says no."""

    async def no(_: Any) -> bool:
        return False

    patch.setattr(oip.Oip, "_is_ready", no)


@pytest.mark.parametrize("spoil", [off_by_a_little, rows_in_another_order, never_ready])
@pytest.mark.parametrize("kind", ["triton-http", "triton-grpc"])
async def test_a_wrong_server_is_found_out(
    kind: str, spoil: Any, clients_python: Path, case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    spoil(monkeypatch)
    assert problems(await calls(kind, clients_python, case, case.parent))


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


async def fuzz(here: Served, python: Path, folder: Path, *more: object) -> tuple[int, str]:
    """Schemathesis over all routes; names of models in paths are right half of the time."""
    (folder / "schemathesis.toml").write_text(f'[parameters]\n"path.model" = "{MODEL}"\n')
    tool, config = python.with_name("schemathesis"), folder / "schemathesis.toml"
    options = ("--phases", "examples,coverage,fuzzing", "-n", 15, "--warnings", "off", *more)
    url = f"{here.url}/openapi.json"
    return await run(tool, "--config-file", config, "run", url, "--checks", CHECKS, *options)


async def test_no_request_makes_an_error_and_each_answer_has_its_schema(
    clients_python: Path, tmp_path: Path
) -> None:
    """Requests that schemathesis makes from /openapi.json, right and wrong ones."""
    async with both(tmp_path) as (here, _):
        code, out = await fuzz(here, clients_python, tmp_path)
        assert code == 0, out
        assert "passed" in out


async def test_a_broken_answer_is_found_out(
    clients_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: an error of the server, and an answer without its schema."""
    monkeypatch.setattr(oip, "metadata_of", lambda *_: {"name": 7})
    monkeypatch.setattr(oip_tensors, "_list", lambda *_: 1 // 0)
    async with both(tmp_path) as (here, _):
        code, out = await fuzz(here, clients_python, tmp_path, "--continue-on-failure")
        assert code != 0
        assert "Server error" in out
        assert "violates schema" in out
