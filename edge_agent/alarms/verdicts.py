"""What people say an alarm was: true, false, or planned work; and which part it was about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

TRUE, FALSE, PLANNED = "true", "false", "planned"
VERDICTS: Final = (TRUE, FALSE, PLANNED)
MAX_PART: Final = 48  # characters: in UTF-8, the name of a folder of the labelled set

# The words after `#` in a comment, in the languages of the alarm texts.
_WORDS: Final = {
    TRUE: ("true", "echt", "真实", "正報"),
    FALSE: ("false", "falsch", "误报", "誤報"),
    PLANNED: ("planned", "geplant", "计划", "計画"),
}
_VERDICT_OF: Final = {word: verdict for verdict, words in _WORDS.items() for word in words}
# A word after `#`, and what follows it up to the next mark: the part.
_TAG: Final = re.compile(r"(?<![\w#])#(\w+)[ \t]*([^#:;,.\n]*)")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said of an alarm: one of VERDICTS, the part of the machine, and the comment."""

    verdict: str
    part: str = ""
    comment: str = ""


def judgement_in(comment: str) -> Judgement | None:
    """Read `#false`, `#true bearing` or `#planned: oil change` in a comment; None if it has none.

    The part is what follows up to one of `: ; , . #` or the end of the line, at most `MAX_PART`
    characters of it. The first word that is known counts; the comment is kept whole.
    """
    for word, part in _TAG.findall(comment):
        verdict = _VERDICT_OF.get(word.casefold())
        if verdict is not None:
            return Judgement(verdict, clean_part(part), comment)
    return None


def clean_part(text: str) -> str:
    """The name of a part, without what cannot be printed, and not longer than `MAX_PART`."""
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split())[:MAX_PART].strip()
