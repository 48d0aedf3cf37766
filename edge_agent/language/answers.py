"""An answer as its readers get it: facts, then passages word for word, then what was not found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_agent.alarms import Texts
    from edge_agent.language.facts import Fact


@dataclass(frozen=True, slots=True)
class Search:
    """What the manuals say to a question.

    passages, comments: see docs/language.md; nearest: headings, if nothing was found. trouble: why
    the manuals could not be searched; is_configured: False if there are none.
    """

    passages: Sequence[Mapping[str, Any]] = ()
    comments: Sequence[Mapping[str, Any]] = ()
    nearest: Sequence[str] = ()
    trouble: str = ""
    is_configured: bool = True


def compose(facts: Sequence[Fact], search: Search, language: str, texts: Texts) -> dict[str, Any]:
    """The answer to a question in a language, as the API sends it."""
    lines = [fact.text for fact in facts]
    lines += _manual_lines(search, language, texts)
    return {
        "answer": "\n".join(lines),
        "language": language,
        "facts": [fact._asdict() for fact in facts],
        "passages": list(search.passages),
        "comments": list(search.comments),
        "found": bool(search.passages),
        "nearest": list(search.nearest),
        "trouble": search.trouble,
    }


def _manual_lines(search: Search, language: str, texts: Texts) -> Iterator[str]:
    if not search.is_configured:
        yield texts.say("manuals_none", language, {})
    elif search.trouble:
        yield texts.say("manuals_away", language, {"reason": search.trouble})
    elif search.passages:
        yield texts.say("manuals_quoted", language, {})
        for one in search.passages:
            yield f"«{one['text']}»\n— {texts.say('manuals_page', language, one)}"
    else:
        nearest = "; ".join(search.nearest)
        yield texts.say("manuals_not_found", language, {"nearest": nearest})
    if search.comments:
        yield texts.say("manuals_operators", language, {})
        for one in search.comments:
            yield f"«{one['text']}»\n— {one['by']}, {one['subject']}"


def named_in(question: str, ids: Iterable[str]) -> str:
    """The longest of the ids that stands in a question as a whole word; empty if none does."""
    found = [one for one in ids if one.casefold() in question.casefold()]
    found.sort(key=len, reverse=True)
    return next((one for one in found if _stands_alone(one, question)), "")


def _stands_alone(wanted: str, question: str) -> bool:
    # A full stop may end the sentence.
    pattern = rf"(?<![A-Za-z0-9_.-]){re.escape(wanted)}(?!\.?[A-Za-z0-9_-])"
    return re.search(pattern, question, re.IGNORECASE) is not None
