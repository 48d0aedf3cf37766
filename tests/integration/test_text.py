"""The real child with a real language model: what it generates, and what it can never do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
from daemon_support import Running, Site, unused_url
from support import until
from text_support import local, texts

from edge_agent.client import AsyncClient, Client
from edge_agent.clock import FakeClock
from edge_agent.config.types import Size
from edge_agent.language.llama import LlamaProcess
from edge_agent.language.text_server import EngineError
from edge_agent.models import child_command, child_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from text_support import Texts

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.usefixtures("text_model")]

HELLO = [{"role": "user", "content": "Say hello."}]
CHAT: dict[str, Any] = {"model": "smollm2", "messages": HELLO, "temperature": 0, "max_tokens": 8}
CHATS = "/v1/chat/completions"
LONG = CHAT | {"max_tokens": 900, "logit_bias": {"2": -100, "0": -100}, "stream": True}


def process_of(here: Texts) -> LlamaProcess:
    assert here.api.engine is not None
    assert here.api.engine.process is not None
    return here.api.engine.process


async def test_text_is_generated_as_the_api_says() -> None:
    """Greedy text repeats itself; stop, logprobs, json_schema, several answers, embeddings."""
    async with texts(local()) as here:
        first, again = [await here.ask(CHATS, CHAT) for _ in range(2)]
        assert first[0] == 200, first
        [choice] = first[1]["choices"]
        text = choice["message"]["content"]
        assert text
        assert text == again[1]["choices"][0]["message"]["content"]
        assert choice["finish_reason"] == "length"
        assert first[1]["usage"]["completion_tokens"] == 8
        _, said = await here.ask(CHATS, CHAT | {"stop": text[3:6]})
        assert said["choices"][0]["finish_reason"] == "stop"
        assert said["choices"][0]["message"]["content"] == text.partition(text[3:6])[0]
        _, said = await here.ask(CHATS, CHAT | {"logprobs": True, "top_logprobs": 2, "n": 2})
        assert [one["index"] for one in said["choices"]] == [0, 1]
        assert len(said["choices"][1]["logprobs"]["content"][0]["top_logprobs"]) == 2
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
        named = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        _, said = await here.ask(CHATS, CHAT | {"response_format": named, "max_tokens": 60})
        assert isinstance(json.loads(said["choices"][0]["message"]["content"])["ok"], bool)
        warm = CHAT | {"temperature": 1.5, "seed": 3}
        one, other = [await here.ask(CHATS, warm) for _ in range(2)]
        assert one[1]["choices"][0]["message"] == other[1]["choices"][0]["message"]
        _, said = await here.ask(
            "/v1/completions",
            {"model": "smollm2", "prompt": "A pump", "max_tokens": 4, "logprobs": 1},
        )
        assert len(said["choices"][0]["logprobs"]["tokens"]) == 4
        _, said = await here.ask("/v1/embeddings", {"model": "smollm2", "input": ["a", "b"]})
        assert [len(row["embedding"]) for row in said["data"]] == [576, 576]
        status, said = await here.ask(
            CHATS, CHAT | {"messages": [{"role": "user", "content": "word " * 2000}]}
        )
        assert (status, said["error"]["code"]) == (400, "context_length_exceeded")


async def test_the_sdk_generates_text_whole_and_in_pieces() -> None:
    """`generate_text` and `stream_text` say the same, with the first model that is no assistant."""
    async with texts(local()) as here:
        client = Client(here.url)
        whole = await asyncio.to_thread(client.generate_text, "Say hello.", 8, temperature=0)
        assert whole.text
        assert (whole.completion_tokens, whole.model) == (8, "smollm2")
        pieces = await asyncio.to_thread(
            lambda: list(client.stream_text("Say hello.", 8, temperature=0))
        )
        assert len(pieces) > 1
        assert "".join(pieces) == whole.text
        found = await AsyncClient(here.url).generate_text("Say hello.", 8, temperature=0)
        assert found.text == whole.text


async def test_the_daemon_has_the_child_and_ends_it(tmp_path: Path) -> None:
    """From the config to the text; the loop of the pipeline is not that of the texts."""
    config = local()
    section = {"engine": "llama_cpp", "model": str(config.model), "sha256": config.sha256}
    site = Site(tmp_path, unused_url(), language=section | {"name": "smollm2", "context": 512})
    async with Running(site.path) as daemon:
        found = await AsyncClient(daemon.url).generate_text("Say hello.", 8, temperature=0)
        assert found.completion_tokens == 8
        text = daemon.daemon.parts.text
        assert text is not None
        assert text.engine is not None
        assert text.engine.process is not None
        child = psutil.Process(text.engine.process.pid)
    await until(lambda: not child.is_running(), "ended")


@asynccontextmanager
async def generating(here: Texts) -> AsyncIterator[aiohttp.ClientResponse]:
    """A long text, of which the first piece is there."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(here.url + CHATS, json=LONG) as answer,
    ):
        assert answer.status == 200, await answer.text()
        await answer.content.readuntil(b"content")
        yield answer


async def test_a_client_that_goes_stops_the_model() -> None:
    """The child's processor time stands still soon after."""
    async with texts(local()) as here:
        async with generating(here):
            child = psutil.Process(process_of(here).pid)
            before = child.cpu_times().user
            await until(lambda: child.cpu_times().user > before, "it works")
        used = [0.0, -1.0]

        def stands_still() -> bool:
            used.append(child.cpu_times().user)
            return len(used) > 60 and used[-1] == used[-50]

        await until(stands_still, "it stands still")
        assert here.api.engine is not None
        assert here.api.engine.load.running == 0


async def test_a_child_that_dies_is_started_again_after_a_pause() -> None:
    """Its client hears it within the stream; the pauses grow, and a good start needs none."""
    clock = FakeClock()
    async with texts(local(), clock) as here:
        async with generating(here) as answer:
            os.kill(process_of(here).pid or 0, signal.SIGKILL)
            assert b'"error"' in await answer.read()
        await until(lambda: not process_of(here).is_running, "gone")
        status, said = await here.ask(CHATS, CHAT)
        assert (status, "started again" in said["error"]["message"]) == (503, True)
        clock.advance(1.1)
        assert (await here.ask(CHATS, CHAT))[0] == 200
        assert (process_of(here).starts, process_of(here).ends) == (2, 1)


async def test_a_child_that_nobody_asks_ends() -> None:
    """Its memory is free; the next question starts another one."""
    clock = FakeClock()
    async with texts(local(), clock) as here:
        assert process_of(here).pid is None
        await here.ask(CHATS, CHAT)
        first = process_of(here).pid
        clock.advance(299)
        await here.api.tend()
        assert process_of(here).pid == first
        clock.advance(2)
        await here.api.tend()
        assert process_of(here).pid is None
        assert (await here.ask(CHATS, CHAT))[0] == 200
        assert process_of(here).ends == 0


async def test_the_child_is_bounded_and_answers_the_daemon_alone() -> None:
    """Nice 19, with limits; its key stands nowhere; nobody else gets anything of its port."""
    async with texts(local()) as here:
        await here.ask(CHATS, CHAT)
        child = psutil.Process(process_of(here).pid)
        place = await process_of(here).place()
        assert child.nice() == 19
        assert child.rlimit(psutil.RLIMIT_AS)[0] < 3 << 30
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert place.key not in " ".join(child.cmdline()) + repr(child.environ()) + repr(place)
        [listening] = [one for one in child.net_connections() if one.status == "LISTEN"]
        assert listening.laddr.ip == "127.0.0.1"
        async with aiohttp.ClientSession() as session:
            async with session.post(place.url + CHATS, json=CHAT) as answer:
                assert answer.status == 401
            for path in ("/", "/slots", "/props", "/metrics"):
                headers = {"Authorization": f"Bearer {place.key}", "Origin": "http://evil.example"}
                async with session.get(place.url + path, headers=headers) as answer:
                    assert answer.headers.get("Access-Control-Allow-Origin") in {None, "null"}
                    assert path == "/props" or answer.status in {404, 501}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "language.sha256 is not that of"),
        ({"model": Path(__file__)}, "is no GGUF file"),
        ({"model": Path("/nowhere.gguf")}, "No such file"),
        ({"memory": Size(128 << 20)}, "memory"),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_a_sentence(
    change: dict[str, Any], said: str
) -> None:
    """503 with the reason, and no second try at once."""
    async with texts(local(**change)) as here:
        status, found = await here.ask(CHATS, CHAT)
        assert status == 503
        assert said in found["error"]["message"]
        await here.ask(CHATS, CHAT)
        assert process_of(here).starts == 1


@pytest.fixture
def cut(tmp_path: Path, text_model: Path) -> tuple[Path, str]:
    """The first mebibyte of a model, and its hash."""
    raw = text_model.read_bytes()[: 1 << 20]
    path = tmp_path / "cut.gguf"
    path.write_bytes(raw)
    return path, hashlib.sha256(raw).hexdigest()


async def test_a_damaged_model_is_refused(cut: tuple[Path, str]) -> None:
    """A file that is cut has another hash, and llama.cpp does not load it with the right one."""
    path, right = cut

    for digest, said in (("0" * 64, "sha256"), (right, "does not load")):
        process = LlamaProcess(local(model=path, sha256=digest), FakeClock())
        with pytest.raises(EngineError, match=said):
            await process.place()


async def test_the_child_does_not_outlive_the_daemon() -> None:
    """The end of its stdin, which is that of a daemon that was killed, ends it."""
    config = local()
    job = {"model": str(config.model), "name": "x", "key": "k", "stamp": []}
    names = ("context", "memory", "parallel", "sha256", "threads")
    child = await asyncio.create_subprocess_exec(
        *child_command("edge_agent.language.llama_child"),
        env=child_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    job |= {name: getattr(config, name) for name in names}
    child.stdin.write(json.dumps(job).encode() + b"\n")
    assert "port" in json.loads(await child.stdout.readline())
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 10) == 0
