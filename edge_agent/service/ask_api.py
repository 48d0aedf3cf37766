"""The routes by which people and programs ask questions, and read the pages that answers quote.

docs/language.md shows each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from edge_agent.config.types import is_language
from edge_agent.ops.routes import MAX_TEXT, READ, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_QUESTION: Final = 1000  # characters
_KEYS: Final = frozenset({"question", "asset", "alarm", "language"})
_TEXT: Final = "text/plain; charset=utf-8"
_PAGE: Final = "/api/manuals/{id:[0-9a-f]{16}}/page/{number:[0-9]{1,6}}"
_WORD: Final = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_TAKES: Final = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 1, "maxLength": MAX_QUESTION},
        "asset": _WORD,
        "alarm": _WORD,
        "language": _WORD,
    },
    "required": ["question"],
    "additionalProperties": False,
}
_ANSWER: Final = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "language": {"type": "string"},
        "facts": {"type": "array"},
        "passages": {"type": "array"},
        "comments": {"type": "array"},
        "found": {"type": "boolean"},
        "nearest": {"type": "array", "items": {"type": "string"}},
        "trouble": {"type": "string"},
    },
    "required": ["answer", "language", "facts", "passages", "found", "nearest"],
}


class Question(NamedTuple):
    """A question; asset, alarm: what it is about, else what it names; language: of the answer."""

    text: str
    asset: str | None = None
    alarm: str | None = None
    language: str | None = None


class AnswerProvider(Protocol):
    """What answers questions."""

    async def ask(self, question: Question) -> dict[str, Any]:
        """Facts and passages; NotFoundError if there is no such asset or alarm."""

    async def manuals(self) -> dict[str, Any]:
        """The documents of the index, also those that were refused, with the reason."""

    async def manual_page(self, document: str, number: int) -> str:
        """The text of a page as it was indexed; NotFoundError if there is none."""


def ask_routes(answers: AnswerProvider) -> list[Route]:
    """The table of questions and manuals."""

    async def ask(request: Request) -> dict[str, Any]:
        return await answers.ask(request.body)

    async def manuals(_: Request) -> dict[str, Any]:
        return await answers.manuals()

    async def page(request: Request) -> Response:
        number = int(request.parts["number"])
        text = await answers.manual_page(request.parts["id"], number)
        return Response(text.encode(), _TEXT)

    about = "Facts about an alarm, and passages of the manuals"
    return [
        Route(
            "POST",
            "/api/ask",
            ask,
            READ,
            parse=parse_question,
            summary=about,
            takes=_TAKES,
            answer=_ANSWER,
        ),
        Route("GET", "/api/manuals", manuals, READ, summary="The documents of the index"),
        Route("GET", _PAGE, page, READ, summary="A page that an answer quotes, as text"),
    ]


def parse_question(body: object, _: Mapping[str, str]) -> Question:
    """The question in a body, or a refusal that says what is wrong with it."""
    example = '{"question": "...", "alarm": "P-101.baseline", "language": "en"}'
    if not isinstance(body, dict) or not body.keys() <= _KEYS:
        raise Refusal(400, "the body: question, and asset, alarm, language if wanted", example)
    text = body.get("question")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_QUESTION:
        raise Refusal(400, f"question: a text of 1 to {MAX_QUESTION} characters", example)
    for key in ("asset", "alarm", "language"):
        value = body.get(key)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_TEXT):
            raise Refusal(400, f"{key}: a text of 1 to {MAX_TEXT} characters", example)
    language = body.get("language")
    if language is not None and not is_language(language):
        raise Refusal(400, "language: a tag such as en, zh, ja, de", example)
    return Question(text.strip(), body.get("asset"), body.get("alarm"), language)
