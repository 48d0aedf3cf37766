"""Calls of foreign clients of the OpenAI API; prints what they came to as JSON.

Runs in an environment of its own (requirements/text-clients.txt): CLIENT URL MODEL KEY. The client
`server` is none: it is llama.cpp's own server with that model's file, and prints its address.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROMPT = "Say hello."
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]
SCHEMA = {
    "title": "Verdict",
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


def openai_calls(url: str, model: str, key: str) -> dict[str, Any]:
    """The vendor's own package."""
    import openai  # noqa: PLC0415 (one client at a time)

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)
    greedy: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": 8}
    chat = client.chat.completions
    found: dict[str, Any] = {"models": [one.id for one in client.models.list()]}
    found["model"] = client.models.retrieve(model).id
    whole = chat.create(messages=MESSAGES, **greedy)
    found["text"] = whole.choices[0].message.content
    found["finish"] = whole.choices[0].finish_reason
    found["usage"] = whole.usage.completion_tokens if whole.usage else None
    options: Any = {"include_usage": True}
    pieces = list(chat.create(messages=MESSAGES, stream=True, stream_options=options, **greedy))
    said = [one.choices[0].delta.content or "" for one in pieces if one.choices]
    found["streamed"] = "".join(said)
    found["pieces"] = sum(bool(one) for one in said)
    found["stream_usage"] = pieces[-1].usage.completion_tokens if pieces[-1].usage else None
    several = chat.create(messages=MESSAGES, n=2, logprobs=True, top_logprobs=2, **greedy)
    found["several"] = [one.message.content for one in several.choices]
    logprobs = several.choices[1].logprobs
    found["logprobs"] = (
        len(logprobs.content[0].top_logprobs) if logprobs and logprobs.content else 0
    )
    warm = greedy | {"temperature": 1.5, "seed": 5}
    found["seeded"] = len(
        {chat.create(messages=MESSAGES, **warm).choices[0].message.content for _ in "ab"}
    )
    stop = chat.create(messages=MESSAGES, stop=[found["text"][4:7]], **greedy)
    found["stopped"] = stop.choices[0].message.content
    form: Any = {"type": "json_schema", "json_schema": {"name": "v", "schema": SCHEMA}}
    formed = chat.create(messages=MESSAGES, response_format=form, **greedy | {"max_tokens": 60})
    found["formed"] = type(json.loads(formed.choices[0].message.content or "")["ok"]).__name__
    text = client.completions.create(prompt=PROMPT, **greedy)
    found["completion"] = text.choices[0].text
    parts = client.completions.create(prompt=PROMPT, stream=True, **greedy)
    found["completion_streamed"] = "".join(one.choices[0].text for one in parts)
    vectors = client.embeddings.create(model=model, input=["a", "b"]).data
    found["embeddings"] = [len(one.embedding) for one in vectors]
    found |= _openai_errors(client, openai, greedy)
    found["async"] = asyncio.run(_awaited(openai, url, key, greedy))
    return found


def _openai_errors(client: Any, openai: Any, greedy: dict[str, Any]) -> dict[str, Any]:
    calls = {
        "unknown": lambda: client.chat.completions.create(
            messages=MESSAGES, **greedy | {"model": "gpt-9"}
        ),
        "wrong_key": client.with_options(api_key="wrong").models.list,
        "wrong_field": lambda: client.chat.completions.create(
            messages=MESSAGES, **greedy | {"temperature": 9}
        ),
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
            found[name] = "answered"
        except openai.APIStatusError as error:
            found[name] = f"{type(error).__name__} {error.code} {error.param}"
    return found


async def _awaited(openai: Any, url: str, key: str, greedy: dict[str, Any]) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client:
        found = await client.chat.completions.create(messages=MESSAGES, **greedy)
        return str(found.choices[0].message.content)


def langchain_calls(url: str, model: str, key: str) -> dict[str, Any]:
    """`langchain-openai`."""
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # noqa: PLC0415 (same)

    base: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": key, "model": model}
    chat = ChatOpenAI(temperature=0, max_tokens=8, max_retries=0, **base)
    whole = chat.invoke(PROMPT)
    found: dict[str, Any] = {"text": whole.content}
    found["usage"] = whole.usage_metadata["output_tokens"] if whole.usage_metadata else None
    pieces = [str(one.content) for one in chat.stream(PROMPT)]
    found["streamed"], found["pieces"] = "".join(pieces), sum(bool(one) for one in pieces)
    formed = ChatOpenAI(temperature=0, max_tokens=60, **base).with_structured_output(
        SCHEMA, method="json_schema"
    )
    found["formed"] = type(dict(formed.invoke(PROMPT))["ok"]).__name__
    vectors = OpenAIEmbeddings(check_embedding_ctx_length=False, **base).embed_documents(["a", "b"])
    found["embeddings"] = [len(one) for one in vectors]
    return found


def llm_calls(url: str, model: str, key: str) -> dict[str, Any]:
    """The command `llm`, with the gateway as one of its models."""
    with tempfile.TemporaryDirectory() as folder:
        row = {"model_id": "gateway", "model_name": model, "api_base": f"{url}/v1"}
        row["api_key_name"] = "gateway"  # else it sends no key
        Path(folder, "extra-openai-models.yaml").write_text(json.dumps([row]))
        command = [str(Path(sys.executable).with_name("llm")), "-m", "gateway", "--key", key]
        command += ["-o", "temperature", "0", "-o", "max_tokens", "8", PROMPT]
        environment = os.environ | {"LLM_USER_PATH": folder, "LLM_LOAD_PLUGINS": ""}
        found = {}
        for name, more in (("text", ["--no-stream"]), ("streamed", [])):
            done = subprocess.run(
                [*command, *more], env=environment, capture_output=True, text=True, check=False
            )
            found[name] = done.stdout.removesuffix("\n") or done.stderr
        return found


def serve(model: str, key: str) -> None:
    """llama.cpp's own server, until stdin ends."""
    import xllamacpp  # noqa: PLC0415 (same)

    given = xllamacpp.CommonParams()
    given.model.path, given.model_alias = model, {"foreign"}
    given.hostnames, given.port, given.api_keys = ["127.0.0.1"], 0, [key]
    given.n_ctx, given.embedding, given.verbosity = 1024, True, -1
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
    given.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(given)
    print(server.listening_address, flush=True)  # noqa: T201 (it is a program)
    sys.stdin.read()
    os._exit(0)


CLIENTS = {"openai": openai_calls, "langchain": langchain_calls, "llm": llm_calls}

if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(*sys.argv[3:5])
    said = {name: CLIENTS[name](*sys.argv[2:5]) for name in sys.argv[1].split(",")}
    print(json.dumps(said))  # noqa: T201 (same)
