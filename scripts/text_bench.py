"""What a language model costs on this machine: first token, tokens per second, memory, processor.

    ./scripts/text-bench                        # the small model that scripts/test installs
    ./scripts/text-bench --model FILE --sha256 SUM --threads 2

It asks the gateway's own interface (/v1), in a process of its own, with the child of llama_cpp.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from edge_agent.client import AsyncClient
from edge_agent.clock import SystemClock
from edge_agent.config.language import EngineKind, Language
from edge_agent.config.settings import Http
from edge_agent.config.types import Duration
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service import openai
from scripts.rigs import find_text_model

if TYPE_CHECKING:
    from typing import Any

    from edge_agent.service.openai import OpenAi

PROMPT: Final = "{}. Explain in a few sentences what a centrifugal pump does."
TOKENS: Final = 64
IDLE_S: Final = 2.0
MIB: Final = 1 << 20


async def nothing(_: object) -> dict[str, Any]:
    """No assistant is asked here."""
    return {}


async def generate(client: AsyncClient, number: int = 0) -> tuple[float, float]:
    """Seconds to the first token, and tokens per second after it.

    number: of the prompt; one that was there before would be read from the cache.
    """
    begin_s, prompt = time.monotonic(), PROMPT.format(number)
    at_s = [time.monotonic() async for _ in client.stream_text(prompt, TOKENS, temperature=0)]
    return at_s[0] - begin_s, (len(at_s) - 1) / (at_s[-1] - at_s[0])


def child_of(api: OpenAi) -> psutil.Process:
    """The process of the language model."""
    assert api.engine is not None  # noqa: S101 (its config has one)
    assert api.engine.process is not None  # noqa: S101 (same)
    return psutil.Process(api.engine.process.pid)


def processor_s(api: OpenAi) -> float:
    """Seconds of processor that it has used."""
    times = child_of(api).cpu_times()
    return float(times.user + times.system)


async def measure(config: Language, seconds: float) -> None:
    """Print one line for each figure."""
    clock = SystemClock()
    api = openai.text_of(config, nothing, Metrics(), clock)
    server = HttpServer(Http(port=0), api.routes(), clock)
    await server.start()
    client = AsyncClient(f"http://127.0.0.1:{server.port}")
    try:
        first_s, rate = await generate(client)
        print(f"first token, process not started: {first_s:.2f} s; {rate:.0f} tokens/s")
        used_s = processor_s(api)
        rows = [await generate(client, number) for number in range(1, 6)]
        used_s = (processor_s(api) - used_s) / (len(rows) * TOKENS)
        firsts, rates = sorted(row[0] for row in rows), sorted(row[1] for row in rows)
        print(f"first token, process there: {firsts[2]:.3f} s (p50 of 5); {rates[2]:.0f} tokens/s")
        print(f"processor: {1000 * used_s:.1f} ms a token, the prompts included")
        child, before_s = child_of(api), processor_s(api)
        await asyncio.sleep(seconds)
        used = (processor_s(api) - before_s) / seconds
        print(f"nobody asks: {child.memory_info().rss / MIB:.0f} MiB, {used:.3%} of a core")
        await api.tend()
        print(f"after language.idle: {'no process' if not child.is_running() else 'STILL THERE'}")
    finally:
        await server.stop()
        await api.stop()


def main() -> None:
    """Measure the model of the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=find_text_model(), help="a GGUF file")
    parser.add_argument("--sha256", help="default: its own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="that nobody asks")
    given = parser.parse_args()
    if given.model is None:
        parser.error("no model: ./scripts/test installs one, or --model FILE")
    digest = given.sha256 or hashlib.sha256(given.model.read_bytes()).hexdigest()
    idle = Duration(min(IDLE_S, given.seconds))
    config = Language(
        engine=EngineKind.LLAMA_CPP,
        model=given.model,
        sha256=digest,
        threads=given.threads,
        idle=idle,
        deadline=Duration(3600),  # a busy machine leaves it little
    )
    asyncio.run(measure(config, given.seconds))


if __name__ == "__main__":
    main()
