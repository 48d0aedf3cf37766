"""Bodies of the Open Inference Protocol v2: compressed, long, or empty."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.ops.routes import UTF8_MARK, Refusal
from edge_agent.service.oip_tensors import RequestError, read_request

if TYPE_CHECKING:
    from edge_agent.models import Signature
    from edge_agent.ops.routes import Request
    from edge_agent.service.oip_tensors import InferRequest

HEADER_BYTES: Final = "Inference-Header-Content-Length"
MAX_INFER_BODY: Final = 16 << 20  # bytes, also after decompression
_INLINE: Final = 262_144  # bytes of JSON that the event loop reads itself
_AUTO: Final = 32 + zlib.MAX_WBITS  # zlib finds out whether it is gzip or deflate
_ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})


async def asked_of(request: Request, signature: Signature) -> InferRequest:
    """Read a request; a long JSON in another thread."""
    body, header_bytes = request.body.removeprefix(UTF8_MARK), _header_bytes(request)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    is_small = len(body) <= _INLINE or header_bytes is not None
    if encoding == "identity" and is_small:
        return read_request(body, header_bytes, signature)
    return await asyncio.to_thread(
        lambda: read_request(_plain(body, encoding), header_bytes, signature)
    )


def _header_bytes(request: Request) -> int | None:
    given = request.headers.get(HEADER_BYTES)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(MAX_INFER_BODY))):
        raise RequestError(f"{HEADER_BYTES} must be a number of bytes")
    return int(given)


def _plain(body: bytes, encoding: str) -> bytes:
    """The body without its compression, at most MAX_INFER_BODY."""
    if encoding == "identity":
        return body
    if encoding not in _ENCODINGS:
        raise RequestError(f"Content-Encoding must be one of: {', '.join(sorted(_ENCODINGS))}")
    packed = zlib.decompressobj(_AUTO)
    try:
        plain = packed.decompress(body, MAX_INFER_BODY + 1)
    except zlib.error:
        raise RequestError(f"the body is not {encoding}") from None
    if len(plain) > MAX_INFER_BODY:
        raise Refusal(413, f"the body unpacks to more than {MAX_INFER_BODY >> 20} MiB")
    if not packed.eof:
        raise RequestError("the compressed body is cut")
    return plain


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body that may be empty."""
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Refusal(400, f"the body is not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise Refusal(400, "the body is not a JSON object")
    return found
