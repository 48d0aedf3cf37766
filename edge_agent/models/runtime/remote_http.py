"""A connection to an inference server by REST: every call ends at its deadline.

No redirection is followed: it would send the plant's values to a host that nobody allowed.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.models.runtime.remote_tensors import (
    BINARY,
    WrongAnswerError,
    as_object,
    metadata_problem,
    most_bytes,
    parse_answer,
    request_body,
    shown,
)
from edge_agent.models.runtime.remote_wire import (
    Answer,
    ClosedError,
    Request,
    exchange,
    is_closed,
    is_number,
    left_s,
)
from edge_agent.transport import Tls, tls_context, tls_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.config.settings import RemoteServer
    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.runtime.engine import Signature

_PORTS: Final = {"http": 80, "https": 443}
_OK: Final = 200
_REDIRECTED: Final = range(300, 400)


class HttpLink:
    """One server's REST interface. Calls block, one thread at a time; until_s: monotonic deadline.

    Calls raise TimeoutError, OSError, WrongAnswerError, or ConfigError for a key that is missing.
    """

    def __init__(self, url: str, server: RemoteServer, model: str, version: str) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or _PORTS[parts.scheme]
        self._name, self._server = parts.netloc, server
        self._base = parts.path.rstrip("/") + "/v2"
        at = f"/versions/{quote(version)}" if version else ""
        self._model = f"{self._base}/models/{quote(model)}{at}"
        self._is_binary = False
        self._socket: socket.socket | None = None
        self._headers: dict[str, str] = {}
        self._context: tuple[object, ssl.SSLContext] | None = None

    # -- what is asked ------------------------------------------------------------------------

    def describe(self, signature: Signature, until_s: float) -> None:
        """Ask whether it is ready, what it can do, and compare its metadata with the manifest."""
        # Its body is JSON, empty or a text: the status alone counts.
        self._asked(Request("GET", f"{self._model}/ready"), until_s)
        server = self._json(self._base, until_s)
        extensions = server.get("extensions")
        self._is_binary = isinstance(extensions, list) and BINARY in extensions
        problem = metadata_problem(self._json(self._model, until_s), signature)
        if problem:
            raise WrongAnswerError("metadata", problem)

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], signature: Signature, number: str, until_s: float
    ) -> Tensors:
        """Run N rows; the outputs have the shapes of the manifest."""
        rows, wanted = len(next(iter(feeds.values()))), signature.outputs
        body, length = request_body(feeds, tuple(wanted), number, is_binary=self._is_binary)
        head = {"Content-Type": "application/octet-stream" if length else "application/json"}
        if length is not None:
            head["Inference-Header-Content-Length"] = str(length)
        most = most_bytes(rows, signature)
        request = Request("POST", f"{self._model}/infer", body, head, most)
        answer = self._asked(request, until_s)
        return parse_answer(answer.body, _json_length(answer), number, rows, wanted)

    def close(self) -> None:
        """Close the connection."""
        kept, self._socket = self._socket, None
        if kept is not None:
            kept.close()

    def _json(self, path: str, until_s: float) -> dict[str, Any]:
        return as_object(self._asked(Request("GET", path), until_s).body)

    def _asked(self, request: Request, until_s: float) -> Answer:
        """The answer, if it is the one that was asked for."""
        answer = self._answer(request, until_s)
        if answer.status == _OK:
            return answer
        if answer.status in _REDIRECTED:
            to = shown(answer.headers.get("location", "").encode())
            text = f"it redirects to {to}, which is not followed: name that URL"
            raise WrongAnswerError("redirected", text)
        raise WrongAnswerError("refused", f"HTTP {answer.status}: {shown(answer.body)}")

    # -- one call -----------------------------------------------------------------------------

    def _answer(self, request: Request, until_s: float) -> Answer:
        """A call on the kept connection, or on a new one if the server has closed it."""
        if self._socket is not None and not is_closed(self._socket):
            with suppress(ClosedError):
                return self._exchange(self._socket, request, until_s)
        self.close()
        try:
            return self._exchange(self._connect(until_s), request, until_s)
        except ClosedError as error:
            raise ConnectionResetError("it closed the connection without an answer") from error

    def _exchange(self, kept: socket.socket, request: Request, until_s: float) -> Answer:
        is_over = False
        try:
            answer = exchange(kept, request, self._headers, until_s)
            is_over = answer.headers.get("connection", "").lower() != "close"
            return answer
        finally:
            if not is_over:  # the rest of an answer may still come
                self.close()

    def _connect(self, until_s: float) -> socket.socket:
        server = self._server
        self._headers = {"Host": self._name}
        if server.key is not None:
            self._headers["Authorization"] = f"Bearer {_printable(server.key.reveal())}"
        raw = socket.create_connection((self._host, self._port), left_s(until_s))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                raw.settimeout(left_s(until_s))
                raw = self._tls_context().wrap_socket(raw, server_hostname=self._host)
        except BaseException:
            raw.close()
            raise
        self._socket = raw
        return raw

    def _tls_context(self) -> ssl.SSLContext:
        """The context, made again when a file has changed."""
        server = self._server
        tls = Tls(server.ca, server.cert, server.cert_key)
        stamp = tls_stamp(tls)
        if self._context is None or self._context[0] != stamp:
            self._context = stamp, tls_context(tls)
        return self._context[1]


def _json_length(answer: Answer) -> int | None:
    text = answer.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not is_number(text) or int(text) > len(answer.body):
        raise WrongAnswerError("protocol", "the length of its JSON is not valid")
    return int(text)


def _printable(key: str) -> str:
    """A key that fits into a header; ConfigError says nothing of it."""
    if not key.isascii() or not key.isprintable():
        raise ConfigError("the key has characters that no HTTP header may contain")
    return key


def why(error: Exception) -> tuple[str, str]:
    """The label and the words of an error of a call."""
    if isinstance(error, WrongAnswerError):
        return error.reason, error.message
    found = (row for row in _ERRORS if isinstance(error, row[0]))
    _, label, text = next(found, (Exception, "protocol", ""))
    said = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    return label, f"{text}{said or type(error).__name__}" if label != "timeout" else text


# The errors of a call by their kind, the narrower first.
_ERRORS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (TimeoutError, "timeout", "it does not answer in time"),
    (ssl.SSLCertVerificationError, "tls", "its certificate is not trusted: "),
    (ssl.SSLError, "tls", "TLS fails: "),
    (socket.gaierror, "unreachable", "its name cannot be resolved: "),
    (OSError, "unreachable", "no connection: "),
    (EdgeAgentError, "config", ""),
)
