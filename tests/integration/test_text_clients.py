"""Clients of the OpenAI API that nobody here wrote: openai, langchain-openai, `llm`.

With the model of the child, and with llama.cpp's own server as one elsewhere. Each has a control: a
gateway that is wrong in one thing, which the same comparison must find.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from text_support import foreign, local, texts

from edge_agent.config.settings import LocalScope
from edge_agent.config.types import Secret
from edge_agent.service import text_answers
from edge_agent.service.text_requests import TextRefusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from text_support import Texts

    from edge_agent.config.language import Language

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CALLS = Path(__file__).with_name("text_clients.py")
TOKEN = "a-key-of-the-test-that-is-long-enough"  # noqa: S105
ALL = "openai,langchain,llm"
# What the calls of openai come to; the other clients make some of them.
SAID: dict[str, Any] = {
    "finish": "length",
    "usage": 8,
    "stream_usage": 8,
    "logprobs": 2,
    "seeded": 1,
    "formed": "bool",
    "embeddings": [576, 576],
    "unknown": "NotFoundError model_not_found model",
    "wrong_key": "AuthenticationError invalid_api_key None",
    "wrong_field": "BadRequestError None temperature",
}
SAME = ("text", "streamed", "async")  # one text, with every client


@asynccontextmanager
async def elsewhere(python: Path, model: Path) -> AsyncIterator[Language]:
    """llama.cpp's own server, as `language.url` names it."""
    child = await asyncio.create_subprocess_exec(
        *map(str, (python, CALLS, "server", "-", model, TOKEN)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        url = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().strip()
        yield foreign(url, name="foreign", key=Secret(env="EDGE_AGENT_TEST_TOKEN"))
    finally:
        child.stdin.close()
        await child.wait()


async def calls(here: Texts, python: Path, clients: str, model: str) -> dict[str, dict[str, Any]]:
    """What the calls of some clients come to."""
    child = await asyncio.create_subprocess_exec(
        *map(str, (python, CALLS, clients, here.url, model, TOKEN)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(child.communicate(), 240)
    assert child.returncode == 0, out.decode()
    found: dict[str, dict[str, Any]] = json.loads(out.splitlines()[-1])
    return found


async def expected(here: Texts, model: str) -> str:
    """The text that every client must get."""
    body = {"model": model, "temperature": 0, "max_tokens": 8}
    body |= {"messages": [{"role": "user", "content": "Say hello."}]}
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    status, said = await here.ask("/v1/chat/completions", body, **bearer)
    assert status == 200, said
    return str(said["choices"][0]["message"]["content"])


def problems(found: dict[str, dict[str, Any]], text: str) -> list[str]:
    """What is wrong in what the clients got."""
    wrong = []
    for client, got in found.items():
        wanted = SAID | dict.fromkeys(SAME, text)
        wrong += [
            f"{client}.{key}: {got[key]}"
            for key in wanted
            if got.get(key, wanted[key]) != wanted[key]
        ]
        if got.get("pieces", 8) < 2:
            wrong.append(f"{client}.pieces: not streamed")
    ours = found.get(
        "openai",
        {"several": [text, text], "stopped": "", "completion": "", "completion_streamed": ""},
    )
    if ours["several"] != [text, text]:
        wrong.append(f"several: {ours['several']}")
    if not text.startswith(ours["stopped"]) or ours["stopped"] == text:
        wrong.append(f"stopped: {ours['stopped']}")
    if ours["completion"] != ours["completion_streamed"]:
        wrong.append("completion: not the same as a stream")
    return wrong


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The gateway asks for a key, so that one that is wrong is found out."""
    monkeypatch.setenv("EDGE_AGENT_TEST_TOKEN", TOKEN)
    return {"token": Secret(env="EDGE_AGENT_TEST_TOKEN"), "local_scopes": (LocalScope.READ,)}


async def test_foreign_clients_are_served_by_the_child(
    text_python: Path, text_model: Path, key: dict[str, Any]
) -> None:
    """Every call of each."""
    assert text_model
    async with texts(local(), **key) as here:
        text = await expected(here, "smollm2")
        found = await calls(here, text_python, ALL, "smollm2")
        assert problems(found, text) == []
        assert [len(one) for one in found.values()] == [20, 6, 2]


async def test_foreign_clients_are_served_by_a_server_elsewhere(
    text_python: Path, text_model: Path, key: dict[str, Any]
) -> None:
    """The same, though that server knows neither `n` nor the old form of logprobs."""
    async with elsewhere(text_python, text_model) as config, texts(config, **key) as here:
        text = await expected(here, "foreign")
        found = await calls(here, text_python, ALL, "foreign")
        assert problems(found, text) == []


def another_text(patch: pytest.MonkeyPatch) -> None:
    """Whole answers that are not what the model said."""
    right = text_answers.chat_choice

    def wrong(given: dict[str, Any], index: int) -> dict[str, Any]:
        found: dict[str, Any] = right(given, index)
        found["message"]["content"] += "!"
        return found

    patch.setattr(text_answers, "chat_choice", wrong)


def one_piece_lost(patch: pytest.MonkeyPatch) -> None:
    """Streams without what was said first."""
    right = text_answers.choices_of
    lost: list[object] = []

    def wrong(said: dict[str, Any]) -> Any:
        for one in right(said):
            if (one.get("delta") or {}).get("content") and not lost:
                lost.append(one)
            else:
                yield one

    patch.setattr(text_answers, "choices_of", wrong)


def plain_errors(patch: pytest.MonkeyPatch) -> None:
    """Refusals without the code that clients look at."""
    right = TextRefusal.__init__

    def wrong(self: Any, status: int, error: str, **_: str) -> None:
        right(self, status, error)

    patch.setattr(TextRefusal, "__init__", wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        (another_text, "llm", "llm.text: {text}!"),
        (one_piece_lost, "langchain", "langchain.streamed: "),
        (plain_errors, "openai", "openai.unknown: NotFoundError None None"),
    ],
)
async def test_a_wrong_gateway_is_found_out(
    wrong: tuple[Callable[[pytest.MonkeyPatch], None], str, str],
    text_python: Path,
    text_model: Path,
    key: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of the tests above."""
    assert text_model
    spoil, client, said = wrong
    async with texts(local(), **key) as here:
        text = await expected(here, "smollm2")
        spoil(monkeypatch)
        found = problems(await calls(here, text_python, client, "smollm2"), text)
        assert found
        assert found[0].startswith(said.format(text=text))
