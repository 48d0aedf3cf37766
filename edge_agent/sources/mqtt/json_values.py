"""JSON as devices write it: with `nan`, a byte order mark, a trailing NUL, another encoding.

One part that is not JSON must not lose the rest of a message: a word that JSON does not have
becomes NaN or a text, and is then checked separately.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

import orjson

from edge_agent.errors import DecodeError

MAX_MENDED_BYTES: Final = 256 << 10
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A string (closed, or up to the end), one in single quotes, or the text between delimiters.
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|\'(?:[^\'\\]|\\.)*+(?:\'|\\?\Z)|[^\s,:\[\]{}"\']+', re.DOTALL
)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_OTHER_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAN = re.compile(r"[+-]?(?:nan(?:\([a-z0-9]*\))?|1\.#(?:q?nan|s?nan|ind)[0-9]*)")
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|1\.#inf[0-9]*)")
_WORDS: Final = {"true": "true", "false": "false", "null": "null", "none": "null"}
_MAX_NUMBER: Final = 400


def parse(payload: bytes, *, text: bool) -> tuple[Any, str]:
    """The document, and how it differs from plain JSON (empty if it does not).

    text: a payload that is not JSON at all may be one text: `ON`, `23.4 °C`.
    Raises DecodeError `json` or `text`.
    """
    try:
        return orjson.loads(payload), ""
    except orjson.JSONDecodeError as error:
        first = error
    plain, oddity = decoded(payload)
    if not plain.strip():
        raise DecodeError("empty", "the payload is blank")
    try:
        return json.loads(plain, strict=False), oddity
    except ValueError:
        pass
    except RecursionError as error:
        raise DecodeError("json", "nested too deeply") from error
    if len(payload) <= MAX_MENDED_BYTES:
        try:
            return json.loads(
                _TOKEN.sub(_corrected, plain), strict=False
            ), oddity or "words that are not JSON, such as nan"
        except (ValueError, RecursionError):
            pass
    if text and plain and plain.lstrip()[:1] not in {"{", "[", '"'}:
        return _printable(plain), oddity or "a text without quotes"
    raise DecodeError("json", f"no JSON: {_in_words(payload, first)}") from first


def decoded(payload: bytes) -> tuple[str, str]:
    """The text of a payload, and what is unusual about its bytes."""
    if payload.startswith(_MARKS) or b"\0" in payload[:2]:
        try:
            return payload.decode(json.detect_encoding(payload)).lstrip("\ufeff").strip("\0"), (
                "a byte order mark, or UTF-16"
            )
        except UnicodeDecodeError as error:
            raise DecodeError("text", "binary data, but JSON is expected") from error
    oddity = "NUL bytes at its end" if payload.endswith(b"\0") else ""
    stripped = payload.rstrip(b"\0")
    try:
        return stripped.decode(), oddity
    except UnicodeDecodeError:
        return stripped.decode("cp1252", "replace"), "Latin-1, not UTF-8"


def _corrected(token: re.Match[str]) -> str:
    """One token as JSON."""
    text = token[0]
    if text[0] == "'":
        return json.dumps(text[1:-1] if len(text) > 1 and text[-1] == "'" else text)
    if text[0] == '"' or _JSON_NUMBER.fullmatch(text):
        return text
    word = text.lower()
    return _WORDS.get(word) or _number(text, word) or json.dumps(text)


def _number(text: str, word: str) -> str:
    """JSON of C's texts for NaN and infinity, and of `+5` and `.5`; empty for other texts."""
    if _NAN.fullmatch(word):
        return "NaN"
    if _INFINITE.fullmatch(word):
        return "-Infinity" if word[0] == "-" else "Infinity"
    if len(text) <= _MAX_NUMBER and _OTHER_NUMBER.fullmatch(text):
        return repr(float(text)).replace("inf", "Infinity")
    return ""


def _printable(text: str) -> str:
    """A payload as one text; DecodeError if it is binary."""
    stripped = text.strip()
    if not all(letter.isprintable() or letter.isspace() for letter in stripped[:200]):
        raise DecodeError("text", "binary data, but JSON is expected (see payload.format)")
    return stripped


def _in_words(payload: bytes, error: orjson.JSONDecodeError) -> str:
    """Why a payload is not JSON."""
    if payload[:2] == b"\x1f\x8b":
        return "it is compressed with gzip"
    if payload[:1] in b"{[" and payload.rstrip(b" \r\n\t\0")[-1:] not in b"}]":
        return "its end is missing"
    return str(error)
