"""Compare this gateway with Triton and MLServer: the same ONNX model, the same foreign clients.

    scripts/foreign-servers --triton VENV --mlserver VENV     # either may be left out
    scripts/foreign-servers --triton VENV --calls             # the answers alone
    scripts/foreign-servers --mlserver VENV --seconds 20      # a longer load

Calls: tritonclient (http, grpc) makes the same calls to all servers, with the golden vectors of
models/demo-pump; their answers are compared with this gateway's: class of the status, shapes,
types, largest difference. Exit code 1 if an answer is another one (known differences are listed).

Times: a request of 16 x 64 x 8 numbers, JSON and binary, by one client and by 32; each server on
one core, the clients on the others. All servers run one after the other, in turns.

The environments (the clients' one is made by ./scripts/test):

    python3 -m venv T; T/bin/pip install nvidia-pytriton==0.7.0 onnxruntime 'numpy<2'
    python3 -m venv M; M/bin/pip install mlserver==1.7.1 onnxruntime
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from edge_agent.models import load_manifest, parse_golden, signature_of
from edge_agent.testing import Program, find_free_port, mean_bundle, wait_until
from scripts.rigs import ROOT, find_clients_python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.models import Signature

    Shape = tuple[str, tuple[int, ...]]

MODEL: Final = "demo-pump"
CALLS: Final = ROOT / "tests" / "integration" / "oip_clients.py"
ROWS, LENGTH, CHANNELS = 16, 64, 8
CLOSE: Final = 1e-6
START_S: Final = 90.0
TOKEN: Final = "correct-horse-battery"  # noqa: S105 (of a server on the loopback, for minutes)
# Where others answer otherwise, and why that is right here (docs/service.md).
KNOWN: Final = {
    "server": "each names its own extensions",
    "metadata": "versions, and parameters that only we have",
    "config": "Triton's own fields",
    "index": "versions and names of other models",
    "statistics": "counts of other requests",
    "classes": "of each row; without max_batch_size Triton takes the whole tensor",
    "infer_unloaded": "503, where Triton says 404",
    "bad_input": "its own words",
    "no_input": "its own words",
}


class Server(Program):
    """A server of the protocol; command: gets the ports of REST and of gRPC."""

    def __init__(self, name: str, folder: Path, core: int) -> None:
        self.name = name
        self.http, self.grpc = find_free_port(), find_free_port()
        folder.mkdir()
        command, environment = _SERVERS[name](folder, self.http, self.grpc)
        super().__init__(["taskset", "-c", str(core), *command], folder / "log", **environment)

    def is_ready(self) -> bool:
        """True if it answers that it is ready."""
        url = f"http://127.0.0.1:{self.http}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status) == 200  # noqa: PLR2004
        except OSError:
            return False


def _ours(folder: Path, http: int, grpc: int) -> tuple[list[str], dict[str, str]]:
    config = {
        "models_dir": str(folder.parent / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"port": http, "token": {"env": "EDGE_AGENT_TEST_TOKEN"}},
        "inference": {"enabled": True, "grpc_port": grpc},
        "sources": {"none": {"type": "mqtt", "url": "mqtt://127.0.0.1:9", "subscribe": []}},
        "sinks": {"lines": {"type": "log"}},
    }
    config["sources"]["none"]["subscribe"] = [{"topic": "{asset}/{signal}"}]  # type: ignore[index]
    config |= {"templates": {"none": {"signals": {"x": {}}}}, "assets": {"A": {"template": "none"}}}
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "edge_agent", "run", "-c", str(path)], {"PYTHONPATH": str(ROOT)}


_TRITON_MODEL = """
import os, sys
sys.path.insert(0, os.environ["MODEL_PACKAGES"])
import onnxruntime as ort
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def execute(self, requests):
        answers = []
        for request in requests:
            feeds = {n: pb.get_input_tensor_by_name(request, n).as_numpy() for n in self.inputs}
            found = self.session.run(self.outputs, feeds)
            tensors = [pb.Tensor(n, a) for n, a in zip(self.outputs, found)]
            answers.append(pb.InferenceResponse(output_tensors=tensors))
        return answers
"""


def _triton(folder: Path, http: int, grpc: int) -> tuple[list[str], dict[str, str]]:
    packages = next(Path(os.environ["TRITON_VENV"]).glob("lib/python*/site-packages"))
    server = packages / "pytriton" / "tritonserver"
    backend = folder / "backends" / "python"
    shutil.copytree(server / "backends" / "python", backend)
    version = packages.parent.name.removeprefix("python")
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backend)
    models = folder.parent / "models"
    for bundle in models.iterdir():
        place = folder / "repository" / bundle.name / "1"
        place.mkdir(parents=True)
        shutil.copy(bundle / "model.onnx", place)
        (place / "model.py").write_text(_TRITON_MODEL)
        signature = signature_of(load_manifest(bundle))
        (place.parent / "config.pbtxt").write_text(_triton_config(bundle.name, signature))
    command = [
        str(server / "bin" / "tritonserver"),
        f"--backend-directory={folder / 'backends'}",
        f"--model-repository={folder / 'repository'}",
        "--model-control-mode=explicit",
        *(f"--load-model={bundle.name}" for bundle in models.iterdir()),
        "--disable-auto-complete-config",
        "--http-address=127.0.0.1",
        f"--http-port={http}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc}",
        "--allow-metrics=false",
    ]
    libraries = packages / "nvidia_pytriton.libs"
    path = f"{packages.parents[2] / 'bin'}:{os.environ['PATH']}"
    return command, {
        "LD_LIBRARY_PATH": str(libraries),
        "MODEL_PACKAGES": str(packages),
        "PATH": path,
    }


def _triton_config(name: str, signature: Signature) -> str:
    def rows(key: str, tensors: Mapping[str, Shape]) -> str:
        kinds = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
        return "".join(
            f'{key} {{ name: "{one}" data_type: {kinds[kind]} dims: {[-1, *shape]} }}\n'
            for one, (kind, shape) in tensors.items()
        )

    head = f'name: "{name}"\nbackend: "python"\nmax_batch_size: 0\n'
    tensors = rows("input", signature.inputs) + rows("output", signature.outputs)
    return f"{head}{tensors}instance_group {{ kind: KIND_CPU count: 1 }}\n"


_MLSERVER_MODEL = """
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs_ = [one.name for one in self.session.get_outputs()]
        return True

    async def predict(self, payload):
        feeds = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        found = self.session.run(self.outputs_, feeds)
        outputs = [NumpyCodec.encode_output(n, a) for n, a in zip(self.outputs_, found)]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)
"""


def _mlserver(folder: Path, http: int, grpc: int) -> tuple[list[str], dict[str, str]]:
    (folder / "onnx_model.py").write_text(_MLSERVER_MODEL)
    for bundle in (folder.parent / "models").iterdir():
        place = folder / bundle.name
        place.mkdir()
        model = {
            "name": bundle.name,
            "implementation": "onnx_model.Onnx",
            "parameters": {"uri": str(bundle / "model.onnx")},
        }
        (place / "model-settings.json").write_text(json.dumps(model))
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": find_free_port(),
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    program = Path(os.environ["MLSERVER_VENV"]) / "bin" / "mlserver"
    return [str(program), "start", str(folder)], {"PYTHONPATH": str(folder)}


_KSERVE_MODEL = """
import sys
import onnxruntime as ort
from kserve import InferOutput, InferResponse, Model, ModelServer

class Onnx(Model):
    def __init__(self, name, path):
        super().__init__(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.outputs = [one.name for one in self.session.get_outputs()]
        self.ready = True

    def predict(self, payload, headers=None):
        feeds = {one.name: one.as_numpy() for one in payload.inputs}
        found = []
        for name, array in zip(self.outputs, self.session.run(self.outputs, feeds)):
            found.append(InferOutput(name, list(array.shape), "FP32", data=array.ravel().tolist()))
        return InferResponse(payload.id, self.name, found)

http, grpc, *models = sys.argv[1:]
sys.argv = [sys.argv[0], "--http_port", http, "--grpc_port", grpc]
ModelServer(http_port=int(http), grpc_port=int(grpc), workers=1).start(
    [Onnx(*one.split("=", 1)) for one in models]
)
"""


def _kserve(folder: Path, http: int, grpc: int) -> tuple[list[str], dict[str, str]]:
    program = folder / "serve.py"
    program.write_text(_KSERVE_MODEL)
    models = [f"{one.name}={one / 'model.onnx'}" for one in (folder.parent / "models").iterdir()]
    python = Path(os.environ["KSERVE_VENV"]) / "bin" / "python"
    return [str(python), str(program), str(http), str(grpc), *models], {}


_SERVERS: Final[dict[str, Callable[[Path, int, int], tuple[list[str], dict[str, str]]]]] = {
    "edge-agent": _ours,
    "triton": _triton,
    "mlserver": _mlserver,
    "kserve": _kserve,
}


# -- answers --------------------------------------------------------------------------------------


def compare_calls(ours: Server, other: Server, python: Path, case: Path) -> list[str]:
    """Print a line for each call that both servers answer otherwise; the unknown differences."""
    unknown: list[str] = []
    for kind in ("triton-http", "triton-grpc"):
        left, right = (_calls(server, kind, python, case) for server in (ours, other))
        equal, known = 0, len(unknown)
        for call, answer in left.items():
            text = _difference(answer, right.get(call))
            equal += not text
            if text and call not in KNOWN:
                unknown.append(f"{kind} {call}: {text}")
            if text:
                print(f"  {kind} {call}: {text}; {KNOWN.get(call, 'NOT KNOWN')}")
        new = len(unknown) - known
        print(f"{other.name} {kind}: {equal} of {len(left)} calls equal, {new} unknown")
    return unknown


def _calls(server: Server, kind: str, python: Path, case: Path) -> dict[str, Any]:
    port = server.http if kind.endswith("http") else server.grpc
    command = [python, CALLS, kind, f"127.0.0.1:{port}", MODEL, case]
    environment = {**os.environ, "EDGE_AGENT_TEST_TOKEN": TOKEN}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, env=environment
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _difference(ours: object, other: object) -> str:
    """How two answers differ; empty if they are the same. [N] and [N, 1] are the same."""
    if isinstance(ours, dict) and isinstance(other, dict) and "id" in ours and "id" in other:
        rows = [key for key in ours if key != "id"]
        texts = [_row_difference(key, ours[key], other[key]) for key in rows]
        return "; ".join(filter(None, texts))
    if isinstance(ours, dict) and "raised" in ours and isinstance(other, dict):
        mine, theirs = ours["raised"], str(other.get("raised", other))
        return "" if mine[:30] == theirs[:30] else f"{mine[:70]!r} - {theirs[:70]!r}"
    return "" if ours == other else f"{str(ours)[:70]!r} - {str(other)[:70]!r}"


def _row_difference(key: str, ours: dict[str, Any], other: dict[str, Any]) -> str:
    shapes = [list(filter(lambda n: n != 1, one["shape"])) for one in (ours, other)]
    if shapes[0] != shapes[1] or ours["dtype"] != other["dtype"]:
        return f"{key} {ours['shape']} {ours['dtype']} - {other['shape']} {other['dtype']}"
    off = abs(ours["off"] - other["off"])
    return f"{key} is off by {off:.2g}" if off > CLOSE else ""


# -- times ----------------------------------------------------------------------------------------


def request_of(port: int, *, binary: bool) -> bytes:
    """A whole request of 16 x 64 x 8 numbers for the model `mean`."""
    x = np.random.default_rng(0).normal(size=(ROWS, LENGTH, CHANNELS)).astype(np.float32)
    row: dict[str, Any] = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    outputs = [{"name": "score", "parameters": {"binary_data": True}}] if binary else None
    if binary:
        row["parameters"] = {"binary_data_size": x.nbytes}
    else:
        row["data"] = x.ravel().tolist()
    head = json.dumps({"inputs": [row], **({"outputs": outputs} if outputs else {})}).encode()
    lines = [f"POST /v2/models/mean/infer HTTP/1.1\r\nHost: 127.0.0.1:{port}"]
    body = head
    if binary:
        body += x.tobytes()
        lines.append(f"Inference-Header-Content-Length: {len(head)}")
    lines.append(f"Content-Type: application/{'octet-stream' if binary else 'json'}")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode() + body


async def load(port: int, request: bytes, clients: int, seconds: float) -> tuple[float, float]:
    """Median milliseconds of a request, and requests a second, of so many clients."""
    until_s = time.perf_counter() + seconds
    took = await asyncio.gather(*(_client(port, request, until_s) for _ in range(clients)))
    times = [one for row in took for one in row]
    return statistics.median(times) * 1e3, len(times) / seconds


async def _client(port: int, request: bytes, until_s: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    while (begin_s := time.perf_counter()) < until_s:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"port {port}: {head[:60]!r}")
        size = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(size)
        took.append(time.perf_counter() - begin_s)
    writer.close()
    return took


def measure(servers: Sequence[Server], seconds: float, turns: int) -> None:
    """Print the times of all servers, each the best of its turns."""
    print("server: form, clients: ms p50, requests/s (best of turns)")
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for _ in range(turns):
        for server in servers:
            for form in ("binary", "json"):
                if form == "binary" and server.name == "mlserver":
                    continue  # it refuses binary tensors
                request = request_of(server.http, binary=form == "binary")
                for clients in (1, 32):
                    row = asyncio.run(load(server.http, request, clients, seconds))
                    found.setdefault((server.name, form, clients), []).append(row)
    for (name, form, clients), rows in found.items():
        ms, per_s = min(one[0] for one in rows), max(one[1] for one in rows)
        print(f"{name}: {form}, {clients}: {ms:.2f} ms, {per_s:.0f}/s")


def main() -> int:
    """Start the servers, compare, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--triton", metavar="VENV", type=Path)
    parser.add_argument("--mlserver", metavar="VENV", type=Path)
    parser.add_argument("--calls", action="store_true", help="no times")
    parser.add_argument("--times", action="store_true", help="no calls")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    python = find_clients_python()
    if python is None:
        raise SystemExit("no foreign clients: ./scripts/test tests/service installs them")
    os.environ["EDGE_AGENT_TEST_TOKEN"] = TOKEN
    names = ["edge-agent"]
    for name in ("triton", "mlserver"):
        if getattr(asked, name) is not None:
            os.environ[f"{name.upper()}_VENV"] = str(getattr(asked, name).resolve())
            names.append(name)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        return _run(Path(place), names, python, asked, stack)


def _run(
    folder: Path, names: list[str], python: Path, asked: argparse.Namespace, stack: ExitStack
) -> int:
    shutil.copytree(ROOT / "models" / MODEL, folder / "models" / MODEL)
    mean_bundle(folder / "models" / "mean", [f"c{n}" for n in range(CHANNELS)], length=LENGTH)
    golden = parse_golden((folder / "models" / MODEL / "golden.npz").read_bytes())
    case = folder / "case.npz"
    sent = {f"in.{name}": array for name, array in golden.inputs.items()}
    wanted = {f"out.{name}": array for name, array in golden.outputs.items()}
    np.savez(case, **sent, **wanted)  # type: ignore[arg-type]
    cores = sorted(os.sched_getaffinity(0))
    servers = [Server(name, folder / name, cores[0]) for name in names]
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))
    for server in servers:
        server.start()
        stack.callback(server.stop)
        wait_until(server.is_ready, START_S, server.name)
    unknown: list[str] = []
    if not asked.times:
        for other in servers[1:]:
            if other.name == "triton":
                unknown += compare_calls(servers[0], other, python, case)
    if not asked.calls:
        measure(servers, asked.seconds, asked.turns)
    return 1 if unknown else 0


if __name__ == "__main__":
    raise SystemExit(main())
