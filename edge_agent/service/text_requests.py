"""Requests of the OpenAI API: checks each field, and makes what a language model is asked.

A field that the API has and this gateway cannot fulfil is refused, not ignored: an answer without
it would be another one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.ops.routes import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Json = dict[str, Any]

MAX_MESSAGES: Final = 256
MAX_ANSWERS: Final = 8  # n
MAX_PROMPTS: Final = 32
MAX_STOPS: Final = 4
MAX_TEXT: Final = 1 << 20
SEEDS: Final = 1 << 32
_ROLES: Final = {
    "system": "system",
    "developer": "system",  # few templates of models know it
    "user": "user",
    "assistant": "assistant",
}
# What only the vendor's own service does, and no answer depends on.
_IGNORED: Final = frozenset(
    {"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"}
)


class TextRefusal(Refusal):
    """A refusal with the code and the field that clients of the OpenAI API look at."""

    def __init__(self, status: int, error: str, *, code: str = "", param: str = "") -> None:
        super().__init__(status, error)
        self.code, self.param = code, param


def wrong(param: str, text: str) -> TextRefusal:
    """A field that cannot be fulfilled."""
    return TextRefusal(400, f"{param}: {text}", param=param)


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What a client asks of a model.

    body: what the model's server gets, for one of `n` answers to one of `prompts` (chat: the
    messages are in `body`). echo: the prompt stands before the answer.
    """

    model: str
    body: Json
    prompts: tuple[str, ...] = ()
    n: int = 1
    streams: bool = False
    with_usage: bool = False
    echo: bool = False

    @property
    def question(self) -> str:
        """The last message of the user."""
        said = [one["content"] for one in self.body["messages"] if one["role"] == "user"]
        return str(said[-1]) if said else ""


# Fields -------------------------------------------------------------------------------------------


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def read(name: str, value: Any) -> float:  # noqa: ANN401 (JSON)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            raise wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    return read


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:  # noqa: ANN401 (JSON)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise wrong(name, f"a whole number from {low} to {high}")
        return value

    return read


def _flag(name: str, value: Any) -> bool:  # noqa: ANN401 (JSON)
    if not isinstance(value, bool):
        raise wrong(name, "true or false")
    return value


def _seed(name: str, value: Any) -> int:  # noqa: ANN401 (JSON)
    return _whole(-(1 << 63), (1 << 63) - 1)(name, value) % SEEDS


def _stops(name: str, value: Any) -> list[str]:  # noqa: ANN401 (JSON)
    found = [value] if isinstance(value, str) else value
    is_list = isinstance(found, list) and len(found) <= MAX_STOPS
    if not is_list or not all(isinstance(one, str) and one for one in found):
        raise wrong(name, f"a text, or a list of at most {MAX_STOPS}")
    return list(found)


def _bias(name: str, value: Any) -> Json:  # noqa: ANN401 (JSON)
    if not isinstance(value, dict) or len(value) > MAX_MESSAGES:
        raise wrong(name, "an object of numbers by token")
    return {token: _number(-100, 100)(name, one) for token, one in value.items()}


def _response_format(name: str, value: Any) -> Json:  # noqa: ANN401 (JSON)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in {"text", "json_object", "json_schema"}:
        raise wrong(name, "an object with the type text, json_object or json_schema")
    named = value.get("json_schema")
    if kind == "json_schema" and not (
        isinstance(named, dict) and isinstance(named.get("schema"), dict)
    ):
        raise wrong(name, 'json_schema needs {"name": …, "schema": {…}}')
    return dict(value)


def _options(name: str, value: Any) -> bool:  # noqa: ANN401 (JSON)
    if not isinstance(value, dict):
        raise wrong(name, "an object")
    return _flag(f"{name}.include_usage", value.get("include_usage", False))


_COUNT: Final = _whole(1, 1 << 31)
_SHARED: Final[dict[str, Callable[[str, Any], Any]]] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "stop": _stops,
    "seed": _seed,
    "logit_bias": _bias,
    "max_tokens": _COUNT,
    "n": _whole(1, MAX_ANSWERS),
    "stream": _flag,
    "stream_options": _options,
}
_CHAT: Final = _SHARED | {
    "max_completion_tokens": _COUNT,
    "logprobs": _flag,
    "top_logprobs": _whole(0, 20),
    "response_format": _response_format,
}
_COMPLETION: Final = _SHARED | {"logprobs": _whole(0, 5), "echo": _flag, "best_of": _whole(1, 1)}
_GENERATED: Final = ("temperature", "top_p", "stop", "seed", "max_tokens")
# Fields that are ours: the model's server does not get them.
_OURS: Final = frozenset(
    {"n", "stream", "stream_options", "max_completion_tokens", "echo", "best_of"}
)


def _fields(
    body: Any,  # noqa: ANN401 (JSON)
    table: Mapping[str, Callable[[str, Any], Any]],
    others: frozenset[str] = frozenset(),
) -> Json:
    """The fields of a request by name, those that are null left out."""
    if not isinstance(body, dict):
        raise TextRefusal(400, "the body is no JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    for name in given.keys() - table.keys() - others - _IGNORED:
        raise wrong(name[:64], "this gateway does not support it")
    return {name: table[name](name, value) for name, value in given.items() if name in table}


def _request(body: Json, found: Json, limit: int) -> TextRequest:
    wanted: int = found.get("max_completion_tokens") or found.get("max_tokens") or limit
    kept = {name: value for name, value in found.items() if name not in _OURS}
    return TextRequest(
        _text("model", body.get("model")),
        kept | {"max_tokens": min(wanted, limit)},
        n=found.get("n", 1),
        streams=found.get("stream", False),
        with_usage=found.get("stream_options", False),
        echo=found.get("echo", False),
    )


def _text(name: str, value: Any) -> str:  # noqa: ANN401 (JSON)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise wrong(name, "a text")
    return value


# Requests -----------------------------------------------------------------------------------------


def read_chat(body: Any, limit: int) -> TextRequest:  # noqa: ANN401 (JSON)
    """A request to `/v1/chat/completions`; limit: the most tokens of an answer."""
    found = _fields(body, _CHAT, frozenset({"model", "messages"}))
    if "top_logprobs" in found and not found.get("logprobs"):
        raise wrong("top_logprobs", "needs logprobs")
    asked = _request(body, found, limit)
    return replace(asked, body=asked.body | {"messages": _messages(body.get("messages"))})


def read_completion(body: Any, limit: int) -> TextRequest:  # noqa: ANN401 (JSON)
    """A request to `/v1/completions`."""
    found = _fields(body, _COMPLETION, frozenset({"model", "prompt"}))
    if found.get("echo") and found.get("logprobs"):
        raise wrong("echo", "not together with logprobs")
    prompts = _texts("prompt", body.get("prompt"))
    return replace(_request(body, found, limit), prompts=prompts)


def read_embeddings(body: Any) -> tuple[str, Json]:  # noqa: ANN401 (JSON)
    """The model, and what its server gets, of a request to `/v1/embeddings`."""
    table = {"encoding_format": _encoding}
    found = _fields(body, table, frozenset({"model", "input"}))
    return _text("model", body.get("model")), found | {
        "input": list(_texts("input", body.get("input")))
    }


def read_generate(body: Any, model: str, limit: int) -> TextRequest:  # noqa: ANN401 (JSON)
    """A request to `generate` of a model; its parameters are those of completions."""
    given = body if isinstance(body, dict) else {}
    if given.keys() - {"id", "text_input", "parameters"}:
        raise wrong("body", "text_input, and parameters if wanted")
    more = given.get("parameters") or {}
    if not isinstance(more, dict):
        raise wrong("parameters", "an object")
    table = {name: _COMPLETION[name] for name in _GENERATED}
    found = _fields({name: value for name, value in more.items() if name != "stream"}, table)
    prompts = (_text("text_input", given.get("text_input")),)
    return replace(_request({"model": model}, found, limit), prompts=prompts)


def _encoding(name: str, value: Any) -> str:  # noqa: ANN401 (JSON)
    if value not in {"float", "base64"}:
        raise wrong(name, "float or base64")
    return str(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 (JSON)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not 0 < len(found) <= MAX_PROMPTS:
        raise wrong(name, f"a text, or a list of 1 to {MAX_PROMPTS}; tokens are not supported")
    return tuple(_text(name, one) for one in found)


def _messages(value: Any) -> list[Json]:  # noqa: ANN401 (JSON)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MESSAGES:
        raise wrong("messages", f"a list of 1 to {MAX_MESSAGES} messages")
    return [_message(one) for one in value]


def _message(value: Any) -> Json:  # noqa: ANN401 (JSON)
    role = value.get("role") if isinstance(value, dict) else None
    if role not in _ROLES:
        raise wrong("messages", f"the role of a message is one of {', '.join(_ROLES)}")
    return {"role": _ROLES[role], "content": _content(value.get("content"))}


def _content(value: Any) -> str:  # noqa: ANN401 (JSON)
    """The text of a message, whose parts may stand in a list."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [None]
    texts = [
        one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None
        for one in parts
    ]
    if not all(isinstance(text, str) for text in texts):
        raise wrong("messages", "the content of a message is text, or a list of parts of text")
    return "\n".join(str(text) for text in texts)
