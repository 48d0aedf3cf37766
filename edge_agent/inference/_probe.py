"""The child that tries the bundle in the folder that it is given.

Exit code 0: it may be loaded; 3: a JSON list of [reason, text] on stdout says why not.
Anything else, or a signal, means that the model broke the limits or the runtime.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onnx

from edge_agent.errors import ModelError
from edge_agent.inference._bundle import load_manifest, read_checked
from edge_agent.inference._files import GOLDEN, MODEL
from edge_agent.inference._golden import differences, parse_golden
from edge_agent.inference._graphcheck import graph_problems
from edge_agent.inference._ort import open_session

if TYPE_CHECKING:
    from edge_agent.inference._manifest import Manifest

REFUSED: Final = 3
_HEADROOM_BYTES: Final = 1 << 30
_TIMES_THE_MODEL: Final = 8
_CPU_S: Final = 60


def limit(model_bytes: int) -> None:
    """From here on: a GiB and some copies of the model on top of what is in use, a minute."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = used + _HEADROOM_BYTES + _TIMES_THE_MODEL * model_bytes
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (most, most))


def trial(folder: Path) -> list[tuple[str, str]]:
    """What is wrong with the bundle, found by parsing, loading and running it."""
    manifest = load_manifest(folder)
    raw = read_checked(folder, manifest, MODEL)
    golden = read_checked(folder, manifest, GOLDEN)
    limit(len(raw))
    try:
        model = onnx.load_model_from_string(raw)
    except Exception:  # noqa: BLE001 (protobuf's own, depending on its build)
        return [("graph", "model.onnx is not an ONNX model")]
    problems = [("graph", text) for text in graph_problems(model, manifest)]
    del model
    return problems or _run(raw, manifest, golden)


def _run(raw: bytes, manifest: Manifest, golden: bytes) -> list[tuple[str, str]]:
    """Load the model, run it on the golden vectors and compare."""
    try:
        inputs, expected, _ = parse_golden(golden)
    except ModelError as error:
        return [("golden", str(error))]
    missing = set(manifest.outputs.named().values()) - expected.keys()
    given = {name: (str(array.dtype), array.shape[1:]) for name, array in inputs.items()}
    if missing or given != manifest.tensors():
        return [("golden", "golden vectors do not hold every input and output of model.yaml")]
    try:
        session = open_session(raw)
        found = dict(zip(expected, session.run(list(expected), inputs), strict=True))
    except MemoryError:
        return [("limits", "it asks for more memory than a model may have")]
    except Exception as error:  # noqa: BLE001 (the runtime's exceptions have no public base)
        reason = "limits" if "alloc" in str(error) else "graph"
        return [(reason, f"the runtime refuses it: {' '.join(str(error).split())}")]
    return [("golden", text) for text in differences(expected, found)]


def main() -> int:
    """Try the bundle that is named; see the module's text for the exit code."""
    folder = Path(sys.argv[1])
    try:
        problems = trial(folder)
    except ModelError as error:
        problems = [("files", str(error))]
    except MemoryError:
        problems = [("limits", "it asks for more memory than a model may have")]
    if not problems:
        return 0
    print(json.dumps([[reason, f"{folder}: {text}"] for reason, text in problems]))  # noqa: T201
    return REFUSED
