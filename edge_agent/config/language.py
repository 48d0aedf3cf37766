"""The settings of `language`: what generates text for other programs, within which limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path  # noqa: TC003 (the loader asks for the types of fields)
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.config.types import Between, Duration, Secret, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSISTANT: Final = "edge-agent"  # the virtual model that answers with facts and quotes
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


class EngineKind(StrEnum):
    """What generates text for other programs."""

    NONE = "none"
    ASSISTANT = "assistant"  # nothing: facts and quotes alone, as the model `edge-agent`
    LLAMA_CPP = "llama_cpp"
    OPENAI = "openai"


# The keys that an engine needs, and those that it can have besides.
_NEEDS: Final = {EngineKind.LLAMA_CPP: ("model", "sha256"), EngineKind.OPENAI: ("url", "name")}
_TAKES: Final = {EngineKind.OPENAI: ("key", "ca")}
_OF_ENGINES: Final = ("model", "sha256", "url", "key", "ca")


@dataclass(frozen=True, slots=True)
class Language:
    """The language model, for other programs at /v1; of an answer it never writes the facts."""

    engine: EngineKind = EngineKind.NONE
    model: Path | None = None  # llama_cpp: a GGUF file
    sha256: str = ""  # of that file
    url: str = ""  # openai: of llama-server, vLLM, Ollama, with or without /v1
    key: Secret | None = None  # of that server
    ca: Path | None = None  # of its certificate; default: the system's authorities
    name: str = ""  # openai: the server's name of the model; llama_cpp: by default the file's
    context: Annotated[int, Between(128, 1 << 20)] = 2048  # tokens of a prompt and its answer
    threads: Annotated[int, Between(1, 256)] = 1
    parallel: Annotated[int, Between(1, 64)] = 1  # requests at a time
    memory: Annotated[Size, Between(128 << 20, 1 << 42)] = Size(2 << 30)  # of the process
    idle: Annotated[Duration, Between(1, 86_400)] = Duration(300)  # then the process ends
    queue: Annotated[int, Between(1, 1000)] = 8  # waiting requests; more: 429
    deadline: Annotated[Duration, Between(1, 3600)] = Duration(120)  # of a request; then 504
    max_tokens: Annotated[int, Between(1, 1 << 20)] = 1024  # of an answer
    wording: bool = False  # may translate and shorten answers, if it has passed the exam

    @property
    def shown_name(self) -> str:
        """The model's name for clients."""
        return self.name or ("" if self.model is None else self.model.stem)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, as (key, message)."""
        if self.engine is not EngineKind.NONE:  # off: the rest may stay
            yield from self._engine_problems()
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            yield "sha256", "64 hexadecimal digits, as sha256sum prints them"
        if self.url and not self.url.startswith(("http://", "https://")):
            yield "url", "http://HOST:PORT or https://HOST:PORT"
        if self.shown_name == ASSISTANT:
            yield "name", f"{ASSISTANT} is the assistant itself: choose another name"

    def _engine_problems(self) -> Iterator[tuple[str, str]]:
        needed = _NEEDS.get(self.engine, ())
        allowed = (*needed, *_TAKES.get(self.engine, ()))
        for key in needed:
            if not getattr(self, key):
                yield key, f"engine {self.engine} needs it"
        for key in _OF_ENGINES:
            if getattr(self, key) and key not in allowed:
                yield key, f"has no effect with engine {self.engine}"
        if self.wording and not needed:
            yield "wording", "needs a language model: engine llama_cpp or openai"
