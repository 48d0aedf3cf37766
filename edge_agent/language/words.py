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


def is_dense(text: str) -> bool:
    """True if a text is mostly Chinese or Japanese, which says the same in fewer signs."""
    dense = len(_KANA.findall(text)) + len(_HAN.findall(text))
    return 3 * dense > len(_LATIN.findall(text))


# Tokens for the indexes ---------------------------------------------------------------------------

_RUNS: Final = re.compile(
    "(?P<dense>[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]+)|(?P<word>[^\\W_]+)"
)
# A name of a part, a code, a figure: the same in every language.
_CODE: Final = re.compile(r"[A-Za-z]*[-_.]?\d[\w.-]*")
# Small words and those of questions, which tell nothing of what is asked.
_ENGLISH_STOPS: Final = (
    "a an the of to and or is are be been was were do does did how what where when why which who "
    "whose with after at by for from in into on off not no must may might can could should would "
    "will shall i it its you your my me we they them this that these those there here if then than "
    "as so about any all have has had get much many long often need needs please tell want"
)
_GERMAN_STOPS: Final = (
    "der die das den dem des ein eine einen einem einer eines und oder ist sind war wird werden "
    "wie was wo wann warum wieso welche welcher welches welchen mit nach bei von vom zu zum zur "
    "im in am an auf aus für nicht muss müssen darf dürfen soll sollen kann können ich man wir "
    "sie es er oft viel viele lange hat haben sich wenn dann als auch wer wofür womit wieviel "
    "tun mache machen"
)
_STOP_WORDS: Final = frozenset([*_ENGLISH_STOPS.split(), *_GERMAN_STOPS.split()])
TRIGRAM: Final = 3  # letters
FIRST_DENSE: Final = "\u3041"  # of the signs of Chinese and Japanese
_STEM: Final = 5
_COMPOSED: Final = 9
_DENSE_STOPS: Final = re.compile(
    "什么|怎么|怎样|如何|多少|多久|多|几|哪些|哪个|哪里|为什么|是否|可以|应该|需要|请问|吗|呢|的|了|是|有|在|和|与|"
    "どのように|どうすれば|どうやって|どのくらい|どれくらい|いつ|どこ|なに|何|なぜ|どの|どれ|"
    "ですか|ますか|でしょうか|ください|できますか|すべき|する|した|して|します|いい|よい|です|ます|"
    "の|は|が|を|に|で|と|へ|も|や|か|から|まで|より"
)


def terms(text: str, *, question: bool = False) -> list[str]:
    """Words in lower case and pairs of signs of Chinese and Japanese, for FTS5 and for weights.

    question: without words that questions have in common.
    """
    found: list[str] = []
    for match in _RUNS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match["word"]
        if word:
            if not (question and word in _STOP_WORDS):
                found.append(word)
            continue
        runs = _DENSE_STOPS.split(match["dense"]) if question else [match["dense"]]
        for run in runs:
            found += [run[i : i + 2] for i in range(len(run) - 1)]
            if not question:
                found += run  # for questions about a thing of one sign, such as a pump
            elif len(run) == 1:
                found.append(run)
    return found


def trigrams(text: str) -> list[str]:
    """The different trigrams of the telling words of a question."""
    found: dict[str, None] = {}
    for match in _RUNS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match["word"]
        runs = [word] if word else _DENSE_STOPS.split(match["dense"])
        if word in _STOP_WORDS:
            continue
        for run in runs:
            found |= dict.fromkeys(run[i : i + TRIGRAM] for i in range(len(run) - TRIGRAM + 1))
    return list(found)


def units(text: str) -> list[str]:
    """The different pieces of a question by which its coverage is measured: see `coverage`.

    Of a word its first letters, which stay when it is bent, and of a long one its last too, which
    may be a word of its own; a piece also counts inside of another word.
    """
    found: dict[str, None] = {}
    for one in terms(text, question=True):
        is_word = _LATIN.match(one) is not None
        if len(one) == 1 and one < FIRST_DENSE:  # of P-1: the whole name is found as a code
            continue
        found[one[:_STEM] if is_word else one] = None
        if is_word and len(one) >= _COMPOSED:
            found[one[-_STEM:]] = None
    return list(found)


def codes(text: str) -> list[str]:
    """Names of parts, codes and figures in a text, which mean the same in every language."""
    return list(dict.fromkeys(one.casefold() for one in _CODE.findall(text) if len(one) > 1))
