"""/v1 and `generate`: what a client hears of a language model, whichever server has it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from support import until, value_of
from text_support import fake_server, foreign, texts

from edge_agent.config.language import EngineKind, Language
from edge_agent.config.settings import LocalScope
from edge_agent.config.types import Duration, Secret

if TYPE_CHECKING:
    from text_support import Texts

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"model": "theirs", "messages": HELLO}
TEXT = {"model": "theirs", "prompt": "Once"}


async def events(here: Texts, path: str, body: dict[str, Any]) -> list[Any]:
    """The events of a stream."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(here.url + path, json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        lines = (await answer.text()).split("\n\n")
    found = [line.removeprefix("data: ") for line in lines if line]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


async def test_a_chat_is_answered_with_its_usage() -> None:
    """The server elsewhere gets its own model's name, its key, and no field of ours."""
    async with fake_server() as fake, texts(foreign(f"{fake.url}/v1")) as here:
        status, said = await here.ask(
            "/v1/chat/completions", CHAT | {"temperature": 0, "user": "u"}
        )
        assert status == 200
        assert said["choices"][0]["message"] == {"role": "assistant", "content": "All is well."}
        assert said["choices"][0]["finish_reason"] == "stop"
        assert said["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        assert (said["object"], said["model"]) == ("chat.completion", "theirs")
        asked = {"model": "theirs", "messages": HELLO, "temperature": 0.0, "max_tokens": 1024}
        assert fake.asked == [asked]
        assert value_of(here.metrics.text_requests.labels("answered")) == 1
        assert value_of(here.metrics.text_tokens.labels("completion")) == 3


async def test_several_answers_are_asked_for_one_after_the_other() -> None:
    """Each with the next seed; the prompt counts once."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        _, said = await here.ask("/v1/chat/completions", CHAT | {"n": 3, "seed": 4})
        assert [one["index"] for one in said["choices"]] == [0, 1, 2]
        assert [one["seed"] for one in fake.asked] == [4, 5, 6]
        usage = said["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 9)


async def test_a_stream_comes_piece_by_piece_and_ends_with_done() -> None:
    """The first piece is there before the last is made; the usage comes if it is asked for."""
    pause = asyncio.Event()
    async with fake_server(pause=pause) as fake, texts(foreign(fake.url)) as here:
        body = CHAT | {"stream": True}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{here.url}/v1/chat/completions", json=body) as answer,
        ):
            first = json.loads((await answer.content.readline()).removeprefix(b"data: "))
            assert first["choices"][0]["delta"] == {"content": "All "}
            assert first["object"] == "chat.completion.chunk"
            pause.set()
            assert (await answer.text()).endswith("data: [DONE]\n\n")
        wanted = body | {"n": 2, "stream_options": {"include_usage": True}}
        found = await events(here, "/v1/chat/completions", wanted)
        assert [row["choices"][0]["index"] for row in found[:6]] == [0, 0, 0, 1, 1, 1]
        assert found[6]["usage"]["completion_tokens"] == 6
        assert found[7] == "[DONE]"


async def test_completions_have_prompts_echo_and_logprobs_of_the_old_form() -> None:
    """A list of prompts is answered in its order."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        _, said = await here.ask("/v1/completions", TEXT | {"prompt": ["A", "B"], "echo": True})
        assert [one["text"] for one in said["choices"]] == ["AAll is well.", "BAll is well."]
        assert [one["prompt"] for one in fake.asked] == ["A", "B"]
        found = await events(here, "/v1/completions", TEXT | {"stream": True})
        assert "".join(row["choices"][0]["text"] for row in found[:-1]) == "All is well."
        assert found[0]["object"] == "text_completion"


async def test_generate_answers_in_the_form_of_the_inference_protocol() -> None:
    """Whole and as a stream; another model is 404 in the form of that protocol."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        body = {"text_input": "Once", "parameters": {"max_tokens": 5, "temperature": 0}}
        status, said = await here.ask("/v2/models/theirs/generate", body)
        whole = {"model_name": "theirs", "model_version": "1", "text_output": "All is well."}
        assert (status, said) == (200, whole)
        assert fake.asked[0]["max_tokens"] == 5
        found = await events(here, "/v2/models/theirs/generate_stream", body)
        assert "".join(row["text_output"] for row in found) == "All is well."
        status, said = await here.ask("/v2/models/other/generate", body)
        assert (status, said["error"][:28]) == (404, "there is no model 'other' fo")
        status, said = await here.ask("/v2/models/theirs/generate", {"text": "Once"})
        assert status == 400


async def test_embeddings_are_handed_on() -> None:
    """One for each text."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        body = {"model": "theirs", "input": ["a", "bcd"]}
        _, said = await here.ask("/v1/embeddings", body)
        assert [row["embedding"] for row in said["data"]] == [[1], [3]]
        assert (said["model"], said["usage"]["prompt_tokens"]) == ("theirs", 2)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 9}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [{}]}, "tools"),
        ({"stream": 1}, "stream"),
        ({"model": 7}, "model"),
    ],
)
async def test_a_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    """400 in the form of the API; the model's server hears nothing of it."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        status, said = await here.ask("/v1/chat/completions", CHAT | change)
        assert (status, said["error"]["param"]) == (400, param)
        assert said["error"]["type"] == "invalid_request_error"
        assert not fake.asked


async def test_parts_of_text_and_roles_are_what_templates_know() -> None:
    """`developer` is the system's voice; parts become lines."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "Be brief"}, {"role": "user", "content": parts}]
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        await here.ask("/v1/chat/completions", CHAT | {"messages": messages})
        sent = [(one["role"], one["content"]) for one in fake.asked[0]["messages"]]
        assert sent == [("system", "Be brief"), ("user", "a\nb")]


async def test_a_model_that_is_not_there_is_404() -> None:
    """Also in its own address, and before anything is asked."""
    async with fake_server() as fake, texts(foreign(fake.url)) as here:
        status, said = await here.ask("/v1/chat/completions", CHAT | {"model": "gpt-5"})
        assert (status, said["error"]["code"]) == (404, "model_not_found")
        assert not fake.asked
        assert (await here.ask("/v1/models/gpt-5"))[0] == 404
        assert (await here.ask("/v1/nothing"))[1]["error"]["type"] == "invalid_request_error"
        _, found = await here.ask("/v1/models")
        assert [row["id"] for row in found["data"]] == ["theirs", "edge-agent"]
        assert (await here.ask("/v1/models/theirs"))[1]["object"] == "model"


async def test_a_model_with_a_slash_in_its_name_can_be_described() -> None:
    """As on servers with names of organisations."""
    async with texts(foreign("http://127.0.0.1:9", name="org/model")) as here:
        assert (await here.ask("/v1/models/org/model"))[1]["id"] == "org/model"


async def test_the_key_is_checked_in_the_form_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """401 without and with a wrong one, 200 with the right one."""
    monkeypatch.setenv("EDGE_AGENT_TEST_TOKEN", "correct-horse-battery-staple-etc")
    token, scopes = Secret(env="EDGE_AGENT_TEST_TOKEN"), (LocalScope.READ,)
    async with (
        fake_server() as fake,
        texts(foreign(fake.url), token=token, local_scopes=scopes) as here,
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            status, said = await here.ask("/v1/chat/completions", CHAT, **headers)
            assert (status, said["error"]["code"]) == (401, "invalid_api_key")
        right = {"Authorization": "Bearer correct-horse-battery-staple-etc"}
        assert (await here.ask("/v1/chat/completions", CHAT, **right))[0] == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v2/models/theirs/generate_stream"])
async def test_more_requests_than_can_wait_are_refused(path: str) -> None:
    """429 before a stream has begun, and the place is free again afterwards."""
    pause = asyncio.Event()
    body = {"text_input": "x"} if "v2" in path else CHAT | {"stream": True}
    async with fake_server(pause=pause) as fake, texts(foreign(fake.url, queue=1)) as here:
        first, second = (asyncio.create_task(events(here, path, body)) for _ in range(2))
        assert here.api.engine is not None
        load = here.api.engine.load
        await until(lambda: (load.running, load.waiting) == (1, 1), "one runs, one waits")
        status, said = await here.ask(path, body)
        assert status == 429
        assert "too many" in str(said["error"])
        pause.set()
        await asyncio.gather(first, second)
        assert (load.running, load.waiting) == (0, 0)
        assert value_of(here.metrics.text_requests.labels("busy")) == 1
        assert value_of(here.metrics.text_requests.labels("answered")) == 2


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_goes_ends_the_work(streams: bool) -> None:  # noqa: FBT001
    """The model's server hears it, whole answer or stream, and the turn is free."""
    async with fake_server(pause=asyncio.Event()) as fake, texts(foreign(fake.url)) as here:
        body = json.dumps(CHAT | {"stream": streams}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await until(lambda: len(fake.asked) == 1, "asked")
        if streams:
            await reader.readuntil(b"data:")
        writer.close()
        assert here.api.engine is not None
        await until(lambda: here.api.engine.load.running == 0, "free")  # type: ignore[union-attr]
        assert value_of(here.metrics.text_requests.labels("gone")) == 1
        if streams:
            await until(lambda: fake.closed == 1, "heard")


async def test_a_late_answer_is_504() -> None:
    """Also within a stream, whose client hears it as an event."""
    config = {"deadline": Duration(0.3)}
    async with (
        fake_server(pause=asyncio.Event()) as fake,
        texts(foreign(fake.url, **config)) as here,
    ):
        status, said = await here.ask("/v1/chat/completions", CHAT)
        assert (status, said["error"]["code"]) == (504, "deadline_exceeded")
        found = await events(here, "/v1/chat/completions", CHAT | {"stream": True})
        assert found[-1]["error"]["code"] == "deadline_exceeded"
        assert value_of(here.metrics.text_requests.labels("late")) == 2


@pytest.mark.parametrize(
    ("status", "wanted"), [(400, 400), (401, 503), (404, 503), (500, 503), (429, 429)]
)
async def test_what_the_server_elsewhere_says_becomes_our_answer(status: int, wanted: int) -> None:
    """Its errors are not those of our client's key or model."""
    async with fake_server(status=status) as fake, texts(foreign(fake.url)) as here:
        found, said = await here.ask("/v1/chat/completions", CHAT)
        assert found == wanted
        assert "no" in said["error"]["message"]


async def test_a_server_that_is_away_is_503() -> None:
    """With the reason, and the time to try again."""
    async with texts(foreign("http://127.0.0.1:9")) as here:
        status, said = await here.ask("/v1/chat/completions", CHAT)
        assert (status, said["error"]["type"]) == (503, "server_error")
        assert "does not answer" in said["error"]["message"]


async def test_the_assistant_answers_with_facts_alone() -> None:
    """The model `edge-agent`, whole and as a stream, also without any language model."""
    body = {"model": "edge-agent", "messages": [*HELLO, {"role": "user", "content": "Why?"}]}
    async with texts(Language(engine=EngineKind.ASSISTANT)) as here:
        _, said = await here.ask("/v1/chat/completions", body)
        assert said["choices"][0]["message"]["content"] == "Facts.\nOf: Why?"
        assert said["usage"]["total_tokens"] == 0
        found = await events(here, "/v1/chat/completions", body | {"stream": True})
        pieces = [row["choices"][0]["delta"].get("content", "") for row in found[:-1]]
        assert "".join(pieces) == "Facts.\nOf: Why?"
        assert [row["id"] for row in (await here.ask("/v1/models"))[1]["data"]] == ["edge-agent"]
        assert (await here.ask("/v1/completions", {"model": "edge-agent", "prompt": "x"}))[0] == 404


async def test_the_assistant_needs_the_right_to_read() -> None:
    """Its facts are those of alarms: the scope `text` alone does not show them."""
    body = {"model": "edge-agent", "messages": HELLO}
    config = Language(engine=EngineKind.ASSISTANT)
    async with texts(config, local_scopes=(LocalScope.TEXT,)) as here:
        assert (await here.ask("/v1/chat/completions", body))[0] == 403
