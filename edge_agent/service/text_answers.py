"""Answers of the OpenAI API, and of `generate`: from what a model's server says to what is sent.

Whatever the server is, an answer has the same fields; the client's name of the model; its own id.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.service.text_requests import TextRefusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_agent.ops.routes import Refusal

    Json = dict[str, Any]

CHAT: Final = "chat.completion"
COMPLETION: Final = "text_completion"
EVENTS: Final = "text/event-stream; charset=utf-8"
DONE: Final = b"data: [DONE]\n\n"
_TYPES: Final[dict[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_CODES: Final[dict[int, str]] = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    504: "deadline_exceeded",
}
_FIRST_ERROR: Final = 500


def error_body(refusal: Refusal) -> Json:
    """What a refused request of the OpenAI API is answered."""
    status, text = refusal.status, refusal.error
    code, param = "", ""
    if isinstance(refusal, TextRefusal):
        code, param = refusal.code, refusal.param
    kind = "server_error" if status >= _FIRST_ERROR else "invalid_request_error"
    said = {
        "message": f"{text} ({refusal.hint})" if refusal.hint else text,
        "type": _TYPES.get(status, kind),
        "param": param or None,
        "code": code or _CODES.get(status),
    }
    return {"error": said}


def event(value: object) -> bytes:
    """An event of a stream."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What all pieces of an answer have; kind: chat.completion or text_completion."""

    kind: str
    model: str
    created: int  # seconds since the epoch
    id: str = field(default_factory=lambda: secrets.token_hex(12))

    def whole(self, choices: Sequence[Json], usage: Usage) -> Json:
        """The answer."""
        return self._made(self.kind, choices) | {"usage": usage.shown()}

    def piece(self, choices: Sequence[Json], usage: Usage | None = None) -> bytes:
        """A piece of a stream; the last one can have the usage."""
        kind = self.kind if self.kind == COMPLETION else f"{self.kind}.chunk"
        more = {} if usage is None else {"usage": usage.shown()}
        return event(self._made(kind, choices) | more)

    def _made(self, kind: str, choices: Sequence[Json]) -> Json:
        prefix = "cmpl" if self.kind == COMPLETION else "chatcmpl"
        return {
            "id": f"{prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }


@dataclass(slots=True)
class Usage:
    """Tokens; a prompt with several answers counts once."""

    prompt: int = 0
    completion: int = 0

    def add(self, given: object, *, is_first: bool = True) -> None:
        """Add what the model's server counted."""
        if isinstance(given, dict):
            self.completion += _count(given.get("completion_tokens"))
            self.prompt += _count(given.get("prompt_tokens")) if is_first else 0

    def shown(self) -> Json:
        """As clients get it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def choices_of(said: Mapping[str, Any]) -> Iterator[Json]:
    """The choices in an answer or in an event of a model's server; ValueError if it is none."""
    rows = said.get("choices")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("the language model's server answers without choices")
    yield from rows


def chat_choice(given: Json, index: int) -> Json:
    """A choice of a whole chat answer."""
    message = given.get("message") or {}
    return {
        "index": index,
        "message": message | {"role": "assistant", "content": message.get("content") or ""},
        "logprobs": given.get("logprobs"),
        "finish_reason": given.get("finish_reason"),
    }


def chat_piece(given: Json, index: int) -> Json:
    """A choice of a piece of a chat answer."""
    delta = dict(given.get("delta") or {})
    if "content" in delta:
        delta["content"] = delta["content"] or ""
    return {
        "index": index,
        "delta": delta,
        "logprobs": given.get("logprobs"),
        "finish_reason": given.get("finish_reason"),
    }


def text_choice(given: Json, index: int) -> Json:
    """A choice of a completion, and of a piece of one."""
    return {
        "index": index,
        "text": given.get("text") or "",
        "logprobs": _legacy_logprobs(given.get("logprobs")),
        "finish_reason": given.get("finish_reason"),
    }


def _legacy_logprobs(given: object) -> object:
    """The form of completions, also from llama.cpp, which has that of chats alone."""
    if not isinstance(given, dict) or not isinstance(given.get("content"), list):
        return given
    rows, offset, offsets = given["content"], 0, []
    for row in rows:
        offsets.append(offset)
        offset += len(row["token"])
    return {
        "tokens": [row["token"] for row in rows],
        "token_logprobs": [row["logprob"] for row in rows],
        "top_logprobs": [
            {one["token"]: one["logprob"] for one in row.get("top_logprobs", ())} for row in rows
        ],
        "text_offset": offsets,
    }
