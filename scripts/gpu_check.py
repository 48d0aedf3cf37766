"""Prove that models run on this machine's GPU, and say what is not proved.

    scripts/gpu-check                          # tensorrt and cuda, with the shipped bundles
    scripts/gpu-check --providers cuda --models /var/lib/edge-agent/models
    scripts/gpu-check --json

Each bundle is loaded as the daemon loads it, on the provider or not at all: its golden vectors must
come out within their tolerance. Then runs of 1, 64 and 1024 windows are timed there and on the CPU,
and a profile of ONNX Runtime counts the operators that ran on the provider.

Exit code 0: every bundle is proved on every provider that was asked for. 1: one is not, although
there is a GPU and this build of ONNX Runtime has the provider. 2: wrong use. 3: nothing could be
tried on a provider, because the GPU or the build of ONNX Runtime for it is missing.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnxruntime

from edge_agent.errors import ModelError
from edge_agent.models.bundle import ort as runtime
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import GOLDEN, MANIFEST
from edge_agent.models.runtime.providers import PROVIDERS
from scripts import provider_bench
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROVED, REFUSED, NOT_TRIED = "proved", "refused", "not tried"
EXIT_CODES: Final = {PROVED: 0, REFUSED: 1, NOT_TRIED: 3}
DEVICE_FILES: Final = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")  # the last two: Jetson
BOARD: Final = Path("/proc/device-tree/model")
GRAPH: Final = "model.onnx"
# Of no machine.
NEVER_PROVED: Final = (
    "days of load: each figure is of some seconds",
    "the sandbox of the unit: this ran outside of it (drop-in: docs/install.md, The sandbox)",
    "int8: on a GPU the daemon uses fp32",
    "other bundles than those in the table",
)
OF_JETSON: Final = "other power modes and temperatures of this board than now (nvpmodel -q)"


@dataclass(frozen=True)
class Result:
    """What became of a bundle on a provider. figures: as of scripts/bench-providers.

    operators: how many ran on the provider, and how many there are.
    """

    bundle: str
    provider: str
    outcome: str
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    operators: tuple[int, int] | None = None


@dataclass(frozen=True)
class Machine:
    """The GPU ("" if none is seen), the board of a Jetson, and the providers of the build."""

    gpu: str
    board: str
    build: str
    providers: tuple[str, ...]

    def hindrance(self, provider: str) -> str:
        """Why nothing can be tried on a provider here; "" if it can."""
        if PROVIDERS[provider] not in self.providers:
            return (
                f"{self.build} does not include {provider} (docs/jetson.md says which build does)"
            )
        if provider != "cpu" and not self.gpu:
            return f"no NVIDIA GPU is seen: none of {', '.join(DEVICE_FILES)}"
        return ""


def main(argv: Sequence[str] | None = None, machine: Machine | None = None) -> int:
    """Check, print and return the exit code. machine: instead of this one, for tests."""
    args = _arguments(argv)
    machine = machine or this_machine()
    folders = sorted(file.parent for file in args.models.glob(f"*/{MANIFEST}"))
    if not folders:
        print(f"{args.models}: no bundles in this folder (DIR/NAME/{MANIFEST})")
        return 2
    tell: Callable[[str], None] = (lambda _text: None) if args.json else print
    tell(f"{machine.gpu or 'no GPU'}; {machine.board or platform.machine()}; {machine.build}")
    results: list[Result] = []
    for provider in args.providers:
        results += check_provider(machine, folders, provider, tell)
    open_questions = not_proved(machine, results)
    code = exit_code(results)
    if args.json:
        shown = {"machine": asdict(machine), "results": [asdict(one) for one in results]}
        print(json.dumps({**shown, "not_proved": open_questions, "exit_code": code}, indent=1))
    else:
        print("\nnot proved:", *(f"- {text}" for text in open_questions), sep="\n")
    return code


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu-check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--providers", type=_providers, default=["tensorrt", "cuda"], metavar="NAME,NAME"
    )
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args(argv)


def _providers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PROVIDERS]:
        known = ", ".join(PROVIDERS)
        raise argparse.ArgumentTypeError(f"unknown provider {unknown[0]!r}; known: {known}")
    return names


def this_machine() -> Machine:
    """What the system and ONNX Runtime say."""
    board = BOARD.read_text(errors="replace").strip("\0\n ") if BOARD.exists() else ""
    build = f"ONNX Runtime {runtime.RUNTIME_VERSION}"
    return Machine(_gpu(board), board, build, tuple(runtime.available_providers()))


def _gpu(board: str) -> str:
    """The GPU by the name that nvidia-smi gives; on a Jetson, which has no list, by its board."""
    if not any(Path(name).exists() for name in DEVICE_FILES):
        return ""
    program = shutil.which("nvidia-smi")
    if program is not None:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.startswith("GPU"):
            return done.stdout.splitlines()[0].split(" (UUID")[0]
    return board or "an NVIDIA GPU without nvidia-smi"


def check_provider(
    machine: Machine, folders: Sequence[Path], provider: str, tell: Callable[[str], None]
) -> list[Result]:
    """Try every bundle on a provider, and tell each result."""
    hindrance = machine.hindrance(provider)
    if hindrance:
        results = [Result("every bundle", provider, NOT_TRIED, hindrance)]
        tell(line(results[0]))
        return results
    results = []
    for folder in folders:
        results.append(check(folder, provider))
        tell(line(results[-1]))
    return results


def check(folder: Path, provider: str) -> Result:
    """What becomes of a bundle on a provider that is here."""
    try:
        figures = _figures(folder, provider)
    except ModelError as error:
        return Result(folder.name, provider, REFUSED, str(error))
    return Result(folder.name, provider, PROVED, "", figures, operators(folder, provider))


def _figures(folder: Path, provider: str) -> dict[str, Any]:
    """Figures of the provider, and beside them those of the CPU (`cpu_ms_1` and so on)."""
    found = provider_bench.measured(folder, provider)
    cpu = provider_bench.measured(folder, "cpu")
    beside = {f"cpu_{name}": value for name, value in cpu.items() if name.startswith("ms_")}
    kept = {name: value for name, value in found.items() if name not in {"bundle", "provider"}}
    return {**kept, **beside}


def operators(folder: Path, provider: str) -> tuple[int, int]:
    """How many operators of the graph ran on the provider, and how many ran, by a profile.

    What a provider has no kernel for, ONNX Runtime runs on the CPU; TensorRT counts as one
    operator what it has compiled into one.
    """
    golden = parse_golden((folder / GOLDEN).read_bytes())
    with tempfile.TemporaryDirectory() as work:
        events = json.loads(_profiled(folder, provider, golden.inputs, Path(work)).read_text())
    ran = {
        event["name"]: event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    return sum(name == PROVIDERS[provider] for name in ran.values()), len(ran)


def _profiled(folder: Path, provider: str, feeds: Any, work: Path) -> Path:  # noqa: ANN401 (arrays)
    """Run the golden windows once; the path of the profile."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(work / "profile")
    options.log_severity_level = 4
    wanted = [PROVIDERS[name] for name in dict.fromkeys((provider, "cpu"))]
    graph = (folder / GRAPH).read_bytes()
    session = onnxruntime.InferenceSession(graph, options, providers=wanted)
    session.run(None, dict(feeds))
    return Path(session.end_profiling())


def line(result: Result) -> str:
    """One result for people."""
    first = f"{result.outcome}: {result.bundle} on {result.provider}"
    if result.outcome != PROVED:
        return f"{first}: {result.reason}"
    figures, (on, of) = result.figures, result.operators or (0, 0)
    times = ", ".join(
        f"{figures[f'ms_{n}']:.2f} ms for {n} (CPU {figures[f'cpu_ms_{n}']:.2f})"
        for n in provider_bench.BATCHES
    )
    golden = f"golden vectors within {figures['difference']:.0e}"
    return f"{first}: {golden}; {on} of {of} operators; {times}"


def not_proved(machine: Machine, results: Sequence[Result]) -> list[str]:
    """What a reader must not conclude from this run."""
    found = [f"{one.bundle} on {one.provider}: {one.reason}" for one in results if one.reason]
    for one in results:
        if one.operators and one.operators[0] < one.operators[1]:
            rest = one.operators[1] - one.operators[0]
            found.append(f"{one.bundle} on {one.provider}: {rest} operators ran on the CPU")
    return [*found, *NEVER_PROVED, *([OF_JETSON] if machine.board else [])]


def exit_code(results: Sequence[Result]) -> int:
    """A refusal counts most, then what could not be tried."""
    outcomes = {one.outcome for one in results}
    worst = next(name for name in (REFUSED, NOT_TRIED, PROVED) if name in outcomes)
    return EXIT_CODES[worst]


if __name__ == "__main__":
    raise SystemExit(main())
