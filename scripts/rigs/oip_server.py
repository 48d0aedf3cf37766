"""A small inference server (Open Inference Protocol v2 by REST) that misbehaves on request.

    python -m scripts.rigs.oip_server BUNDLE PORT     # the graph of a bundle, as a process

`POST /mode` with a word of MODES as its body changes what infer does.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.models import Signature, load_manifest, model_of_graph, signature_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

_TYPES: Final = {"FP32": "<f4", "INT64": "<i8"}
_NAMES: Final = {"float32": "FP32", "int64": "INT64"}
_DRIP_S: Final = 0.02


@dataclass(slots=True, eq=False)
class Served:
    """A model and what its server does.

    run: the outputs of named inputs. mode: a key of MODES, or `good`; slow_s: before each answer.
    is_binary: it lists and sends raw tensors. requests: headers and heads that it was sent; scored:
    rows that it answered rightly.
    """

    name: str
    signature: Signature
    run: Callable[[Tensors], Tensors]
    mode: str = "good"
    slow_s: float = 0.0
    is_binary: bool = True
    key: str = ""
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    scored: int = 0
    outputs_as: str = ""  # another datatype in the metadata


class OipServer(socketserver.ThreadingTCPServer):
    """Serves a model on a port of the loopback until `stop`. port: 0 for a free one."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, served: Served, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.served = served
        self.tls = tls
        self.port = int(self.server_address[1])
        self._kept: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, which `stop` closes."""
        found, address = super().get_request()
        self._kept.add(found)
        return found, address

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 (of socketserver)
        """The handshake is the connection's own: one that hangs must not stop the others."""
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
            self._kept.add(request)
        super().finish_request(request, client_address)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error here."""

    def stop(self) -> None:
        """Go away, as a process that was killed."""
        self.shutdown()
        self.server_close()
        for one in self._kept:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OipServer

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        served, path = self.server.served, self.path.rstrip("/")
        base = f"/v2/models/{served.name}"
        answers: dict[str, Any] = {
            "/v2/health/ready": {"ready": True},
            "/v2": {"name": "fake", "extensions": ["binary_tensor_data"] * served.is_binary},
            f"{base}/ready": {"ready": True},
            base: _metadata(served),
        }
        found = answers.get(path)
        self.reply(200 if found else 404, json.dumps(found or {"error": "unknown"}).encode())

    def do_POST(self) -> None:
        served = self.server.served
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/mode":
            served.mode = raw.decode()
            self.reply(200, b"{}")
            return
        if served.key and self.headers.get("Authorization") != f"Bearer {served.key}":
            self.reply(401, b"no")
            return
        length = self.headers.get("Inference-Header-Content-Length")
        head = json.loads(raw if length is None else raw[: int(length)])
        served.requests.append((dict(self.headers), head))
        feeds = _feeds(head, b"" if length is None else raw[int(length) :])
        found = served.run(feeds)
        if served.slow_s:
            time.sleep(served.slow_s)
        if served.mode in MODES:
            MODES[served.mode](self, head, found)
            return
        served.scored += len(next(iter(feeds.values())))
        self.answer(head, found)

    def answer(self, head: dict[str, Any], found: Tensors) -> None:
        """A right answer with these tensors."""
        body, length = answer_body(self.server.served, head, found)
        more = {} if length is None else {"Inference-Header-Content-Length": str(length)}
        self.reply(200, body, more)

    def reply(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _metadata(served: Served) -> dict[str, Any]:
    signature = served.signature
    rows = {
        key: [
            {"name": name, "datatype": _NAMES[kind], "shape": [-1, *shape]}
            for name, (kind, shape) in tensors.items()
        ]
        for key, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
    }
    for row in rows["outputs"]:
        row["datatype"] = served.outputs_as or row["datatype"]
    return {"name": served.name, "versions": ["1"], "platform": "fake", **rows}


def _feeds(head: dict[str, Any], raw: bytes) -> Tensors:
    found: Tensors = {}
    for row in head["inputs"]:
        kind, shape = _TYPES[row["datatype"]], row["shape"]
        size = row.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[row["name"]] = np.array(row["data"], kind).reshape(shape)
        else:
            found[row["name"]] = np.frombuffer(raw[:size], kind).reshape(shape)
            raw = raw[size:]
    return found


def answer_body(served: Served, head: dict[str, Any], found: Tensors) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if raw tensors follow."""
    rows, raw = [], b""
    for name, array in found.items():
        row: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
        if served.is_binary:
            row["parameters"] = {"binary_data_size": array.nbytes}
            raw += array.tobytes()
        else:
            row["data"] = array.ravel().tolist()
        rows.append(row)
    text = json.dumps({"model_name": served.name, "id": head.get("id", ""), "outputs": rows})
    return (text.encode() + raw, len(text)) if served.is_binary else (text.encode(), None)


# -- what it can do wrong -------------------------------------------------------------------------


def _nan(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    handler.answer(head, {name: np.full_like(array, np.nan) for name, array in found.items()})


def _wrong_shape(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    handler.answer(head, {name: np.repeat(array, 2, 0) for name, array in found.items()})


def _wrong_values(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    handler.answer(head, {name: array + np.float32(3) for name, array in found.items()})


def _no_output(handler: _Handler, head: dict[str, Any], _: Tensors) -> None:
    handler.answer(head, {})


def _other_id(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    handler.answer({**head, "id": "of somebody else"}, found)


def _redirect(handler: _Handler, *_: object) -> None:
    handler.reply(307, b"", {"Location": "http://elsewhere.invalid/v2"})


def _text500(handler: _Handler, *_: object) -> None:
    handler.reply(500, b"<html>Internal Server Error \xff\xfe</html>")


def _half(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    body, _ = answer_body(handler.server.served, head, found)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def _drip(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    body, _ = answer_body(handler.server.served, head, found)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for byte in body:
        handler.wfile.write(bytes([byte]))
        time.sleep(_DRIP_S)


def _endless(handler: _Handler, *_: object) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def _gzip(handler: _Handler, head: dict[str, Any], found: Tensors) -> None:
    body, length = answer_body(handler.server.served, head, found)
    more = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(length or 0)}
    handler.reply(200, body, more)


def _hang(handler: _Handler, *_: object) -> None:
    while handler.server.served.mode == "hang":
        time.sleep(_DRIP_S)
    handler.close_connection = True


def _closed(handler: _Handler, *_: object) -> None:
    handler.close_connection = True


def _garbage(handler: _Handler, *_: object) -> None:
    handler.reply(200, b"[" * 5_000)


MODES: Final[dict[str, Callable[[_Handler, dict[str, Any], Tensors], None]]] = {
    "nan": _nan,
    "wrong_shape": _wrong_shape,
    "wrong_values": _wrong_values,
    "no_output": _no_output,
    "other_id": _other_id,
    "redirect": _redirect,
    "text500": _text500,
    "half": _half,
    "drip": _drip,
    "endless": _endless,
    "gzip": _gzip,
    "hang": _hang,
    "closed": _closed,
    "garbage": _garbage,
}


def served_bundle(folder: Path) -> Served:
    """The graph of a bundle, as an inference server would run it."""
    manifest = load_manifest(folder)
    model = model_of_graph(manifest, (folder / "model.onnx").read_bytes())
    signature, lock = signature_of(manifest), threading.Lock()
    names = tuple(signature.outputs)

    def run(feeds: Tensors) -> Tensors:
        with lock:
            found = model.engine.infer(feeds, names)
        # [N, 1] for [N], as Triton and MLServer return it.
        return {
            name: np.asarray(array)[:, None] if array.ndim == 1 else np.asarray(array)
            for name, array in found.items()
        }

    return Served(manifest.name, signature, run)


if __name__ == "__main__":
    OipServer(served_bundle(Path(sys.argv[1])), int(sys.argv[2]))
    threading.Event().wait()
