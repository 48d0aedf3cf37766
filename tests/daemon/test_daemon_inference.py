"""The daemon answers other programs with its models if the config says so, else at no cost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
from daemon_support import LENGTH, Running, Site, unused_url
from oip_support import asking
from text_support import fake_server

from edge_agent.cli import main
from edge_agent.clock import APART
from edge_agent.language import wording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon_support import Running as Daemon

UNUSED = """
import sys
from edge_agent.clock import SystemClock
from edge_agent.config.schema import Config
from edge_agent.daemon.build import Parts
from edge_agent.config.settings import Inference
Parts(Config(inference=Inference(enabled=sys.argv[1] == "yes")), None, SystemClock())
print(*(name for name in sys.modules if name.startswith("edge_agent.service.")))
"""


@pytest.mark.parametrize("enabled", ["no", "yes"])
def test_a_gateway_that_serves_no_models_does_not_import_them(enabled: str) -> None:
    """Its start and its memory stay as they are; one that does is the control."""
    command = [sys.executable, "-c", UNUSED, enabled]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    served = {"edge_agent.service.oip", "edge_agent.service.served_models"}
    assert served & {*found} == (served if enabled == "yes" else set())


@asynccontextmanager
async def gateway(folder: Path, **inference: Any) -> AsyncIterator[Daemon]:
    site = Site(folder, unused_url(), inference={"enabled": True, "deadline": "60s", **inference})
    async with Running(site.path) as daemon:
        yield daemon


async def test_the_daemon_serves_its_bundles(tmp_path: Path) -> None:
    """The score is that of the model in service; the processes end with the daemon."""
    x = np.tile(np.array([10.0, 4.0], np.float32), (2, LENGTH, 1))
    unit = {"name": "unit", "shape": [2], "datatype": "INT64", "data": [0, 1]}
    body = {"inputs": [*asking(x)["inputs"], unit]}
    before_s = APART.s
    async with gateway(tmp_path) as daemon, aiohttp.ClientSession() as session:
        url = f"{daemon.url}/v2/models/watch/infer"
        async with session.post(url, json=body) as answer:
            found = await answer.json()
            assert answer.status == 200, found
        model = daemon.daemon.runtime.models.deployments.latest("watch")
        assert model is not None
        wanted = model.infer({"x": x, "unit": np.array([0, 1])}).score
        outputs = {row["name"]: row["data"] for row in found["outputs"]}
        np.testing.assert_allclose(outputs[model.manifest.outputs.score], wanted, rtol=1e-6)
        models = daemon.daemon.parts.served
        assert models is not None
        assert APART.s > before_s
        [queue] = models.loaded()
    with pytest.raises(Exception, match="left memory"):
        await queue.infer({"x": x}, 2)


TEXTS = """
import sys
from edge_agent.clock import SystemClock
from edge_agent.config.schema import Config
from edge_agent.config.language import EngineKind, Language
from edge_agent.daemon.build import Parts
Parts(Config(language=Language(engine=EngineKind(sys.argv[1]))), None, SystemClock())
print(*(name for name in sys.modules if "llama" in name or name.endswith("service.openai")))
"""


@pytest.mark.parametrize("engine", ["none", "openai", "llama_cpp"])
def test_a_gateway_without_language_model_does_not_import_its_modules(engine: str) -> None:
    """llama.cpp itself is never in the daemon; a gateway with a model is the control."""
    command = [sys.executable, "-c", TEXTS, engine]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert ("edge_agent.service.openai" in found) is (engine != "none")
    assert "xllamacpp" not in found
    assert engine != "none" or found == []


async def test_the_daemon_serves_texts(tmp_path: Path) -> None:
    """The routes are there, in the form of the API, and the config says with which model."""
    site = Site(tmp_path, unused_url(), language={"engine": "assistant"})
    async with Running(site.path) as daemon, aiohttp.ClientSession() as session:
        async with session.get(f"{daemon.url}/v1/models") as answer:
            assert [row["id"] for row in (await answer.json())["data"]] == ["edge-agent"]
        said = {"role": "user", "content": "What is wrong with P-1?"}
        body = {"model": "edge-agent", "messages": [said]}
        async with session.post(f"{daemon.url}/v1/chat/completions", json=body) as answer:
            found = await answer.json()
            assert answer.status == 200, found
        assert "P-1" in found["choices"][0]["message"]["content"]
        async with session.get(f"{daemon.url}/v1/models/x") as answer:
            assert (await answer.json())["error"]["code"] == "model_not_found"


async def test_without_the_key_there_is_no_route(tmp_path: Path) -> None:
    """Off unless the config says so."""
    async with gateway(tmp_path, enabled=False) as daemon, aiohttp.ClientSession() as session:
        async with session.get(f"{daemon.url}/v2") as answer:
            assert answer.status == 404
        assert daemon.daemon.parts.served is None
        await asyncio.sleep(0)


async def test_words_of_a_language_model_stand_beside_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the exam alone; with a label, also in the command and in the assistant."""
    monkeypatch.setattr(wording, "LONG", 1)
    async with fake_server(speak=lambda body: str(body["messages"][1]["content"])) as fake:
        section = {"engine": "openai", "url": fake.url, "name": "theirs", "wording": True}
        site = Site(tmp_path, unused_url(), language=section)
        body = {"question": "What is wrong with P-1?"}
        async with Running(site.path) as daemon, aiohttp.ClientSession() as session:
            async with session.post(f"{daemon.url}/api/ask", json=body) as reply:
                before = await reply.json()
            assert (before["wording"], fake.asked) == ([], [])
            results = wording.results_beside(daemon.daemon.runtime.config.store.path)
            passed = wording.Result(52, 52, passed=True)
            results.keep(daemon.daemon.runtime.config.language, passed)
            async with session.post(f"{daemon.url}/api/ask", json=body) as reply:
                after = await reply.json()
            [row] = after.pop("wording")
            assert row["label"].startswith("In other words, by the language model theirs")
            before.pop("wording")
            assert after == before
            words = ["ask", body["question"], "--url", daemon.url]
            assert await asyncio.to_thread(main, words) == 0
            assert row["label"] in capsys.readouterr().out
