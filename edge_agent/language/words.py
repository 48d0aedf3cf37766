"""Words of questions and of manuals: the language they are in, their tokens, and clean text."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_KANA: Final = re.compile("[\u3041-\u30ff\uff66-\uff9f]")
_HAN: Final = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_LATIN: Final = re.compile("[A-Za-z\u00c0-\u024f]")
_GERMAN: Final = re.compile(
    r"[äöüßÄÖÜ]|\b(?:der|die|das|den|dem|des|ein|eine|einen|und|oder|ist|sind|wird|werden|wie|was|"
    r"wo|wann|warum|welche[rsn]?|mit|nach|bei|von|zu|zum|zur|im|auf|nicht|muss|darf|soll|kann|ich|"
    r"man|für|wieviel|wer)\b",
    re.IGNORECASE,
)
_ENGLISH: Final = re.compile(
    r"\b(?:the|a|an|of|to|and|or|is|are|be|how|what|where|when|why|which|with|after|at|by|for|in|"
    r"on|not|must|may|can|should|do|does|i|it|you|who|from|this)\b",
    re.IGNORECASE,
)
# In each tenth of the letters: a Chinese manual has Latin names, an English one a Chinese title.
_LEAST_SHARE: Final = 0.1


def language_of(text: str) -> str:
    """The language of a text by its script and its small words: en, de, zh or ja."""
    kana, han, latin = (len(one.findall(text)) for one in (_KANA, _HAN, _LATIN))
    letters = kana + han + latin
    # A sign of Chinese or Japanese stands for two letters or more.
    if kana + han and 3 * (kana + han) >= _LEAST_SHARE * letters:
        return "ja" if kana >= _LEAST_SHARE * (kana + han) else "zh"
    german, english = len(_GERMAN.findall(text)), len(_ENGLISH.findall(text))
    return "de" if german > english else "en"


def clean(text: str) -> str:
    """Normalize a text (NFC) and drop what is not seen: controls, directions, zero widths.

    Lines end with a line feed; a tab and every other space is one space.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    kept = (_seen(char) for char in text)
    return "".join(kept)


def _seen(char: str) -> str:
    if char == "\n" or char.isprintable():
        return char
    category = unicodedata.category(char)
    if char in "\t\v" or category == "Zs":
        return " "
    return "\n" if category in {"Zl", "Zp"} else ""
