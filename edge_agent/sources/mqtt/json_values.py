"""JSON as devices write it: with `nan`, a byte order mark, a trailing NUL, another encoding.

One part that is not JSON must not lose the rest of a message: a word that JSON does not have
becomes NaN or a text, and is then checked separately.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
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
_MAX_INFLATED: Final = 4 << 20
_MAX_LINES: Final = 10_000
# gzip, and zlib with its usual levels (RFC 1950, 2.2)
_COMPRESSED: Final = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
# First bytes of a map in MessagePack and in CBOR, and of their arrays.
_MAPS: Final = {
    **dict.fromkeys(range(0x80, 0x90), "MessagePack"),
    **dict.fromkeys(range(0x91, 0xA0), "MessagePack or CBOR"),
    **dict.fromkeys([*range(0xA1, 0xB0), 0xBF], "CBOR"),
}


def parse(payload: bytes, *, text: bool) -> tuple[Any, str]:
    """The document, and how it differs from plain JSON (empty if it does not).

    text: a payload that is not JSON at all may be one text: `ON`, `23.4 °C`.
    Raises DecodeError `json` or `text`.
    """
    try:
        doc = orjson.loads(payload)
        return (doc, "") if not isinstance(doc, str) else _twice(doc)
    except orjson.JSONDecodeError as error:
        first = error
    plain, oddity = decoded(payload)
    if not plain.strip():
        raise DecodeError("empty", "the payload is blank")
    try:
        return json.loads(plain, strict=False), oddity
    except ValueError:
        lines = _lines(plain)
        if lines is not None:
            return lines, "a JSON document in each line"
    except RecursionError as error:
        raise DecodeError("json", "nested too deeply") from error
    if len(payload) <= MAX_MENDED_BYTES:
        try:
            return json.loads(
                _TOKEN.sub(_corrected, plain), strict=False
            ), oddity or "words that are not JSON, such as nan"
        except (ValueError, RecursionError):
            pass
    encoding = "" if _is_utf8(payload) else encoding_of(payload)
    if encoding:
        raise DecodeError("text", encoding) from first
    if text and plain and plain.lstrip()[:1] not in {"{", "[", '"'}:
        return _printable(plain), oddity or "a text without quotes"
    raise DecodeError("json", f"no JSON: {_in_words(payload, first)}") from first


def inflated(payload: bytes) -> tuple[bytes, str]:
    """The payload uncompressed, and how it was compressed (empty if it was not).

    Raises DecodeError `too_large` if it grows beyond 4 MiB, `text` if it is damaged.
    """
    if not payload.startswith(_COMPRESSED):
        return payload, ""
    is_gzip = payload[:1] == b"\x1f"
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = stream.decompress(payload, _MAX_INFLATED)
    except zlib.error as error:
        if is_gzip:
            raise DecodeError("text", f"compressed with gzip, but damaged: {error}") from error
        return payload, ""  # a text that begins like zlib
    if stream.unconsumed_tail:
        raise DecodeError("too_large", f"more than {_MAX_INFLATED >> 20} MiB after decompression")
    if not stream.eof:
        raise DecodeError("text", "compressed, but its end is missing")
    return plain, f"compressed with {'gzip' if is_gzip else 'zlib'}"


def encoding_of(payload: bytes) -> str:
    """Why a binary payload cannot be read and what to do, if its encoding is recognised."""
    kind = _MAPS.get(payload[0]) if payload[1:] else None
    if kind is not None:
        return f"it looks like {kind}, which is not read: let the sender write JSON"
    if payload[:1] == b"<":
        return "it looks like XML, which is not read: let the sender write JSON"
    return ""


def _twice(text: str) -> tuple[Any, str]:
    """The document that a JSON text contains, if a sender encoded it twice; else the text."""
    if text[:1] in {"{", "["}:
        try:
            return orjson.loads(text), "JSON in a JSON text"
        except orjson.JSONDecodeError:
            pass
    return text, ""


def _lines(plain: str) -> list[Any] | None:
    """The objects of a text with one in each line; None if it is another text."""
    lines = [line for line in plain.splitlines() if line.strip()]
    if not 1 < len(lines) <= _MAX_LINES or not all(line.lstrip()[:1] == "{" for line in lines):
        return None
    try:
        docs = [json.loads(line, strict=False) for line in lines]
    except (ValueError, RecursionError):
        return None
    return docs


def decoded(payload: bytes) -> tuple[str, str]:
    """The text of a payload, and what is unusual about its bytes."""
    if payload.startswith(_MARKS) or _is_wide(payload):
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


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_wide(payload: bytes) -> bool:
    """True if most even or most odd bytes are NUL: text in UTF-16, not the bytes of a float."""
    if b"\0" not in payload[:2] or len(payload) < 2:  # noqa: PLR2004
        return False
    return max(payload[0::2].count(0), payload[1::2].count(0)) * 4 >= len(payload) * 3 // 2


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
    encoding = encoding_of(payload)
    if encoding:
        return encoding
    if payload[:1] in b"{[" and payload.rstrip(b" \r\n\t\0")[-1:] not in b"}]":
        return "its end is missing"
    return str(error)
