"""The only module that imports ONNX Runtime, because a variable must be set before the import.

At import and at its first session it would look up a vendor's host and write a device id under
$HOME/.cache; this variable prevents both (`disable_telemetry_events()` comes too late).
"""

from __future__ import annotations

import io
import os
import threading
import time
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, Any, Final

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FATAL_ONLY: Final = 4
_EVERY_S: Final = 0.1  # the maximum delay of ending a run
CPU: Final = "CPUExecutionProvider"
RUNTIME_VERSION: Final[str] = ort.__version__

Session = ort.InferenceSession
RunOptions = ort.RunOptions


def available_providers() -> list[str]:
    """The execution providers that this build of the runtime includes."""
    return list(ort.get_available_providers())


def open_session(model: bytes, providers: Sequence[str] = (CPU,)) -> Any:  # noqa: ANN401 (untyped)
    """A session with one thread that never spins; `model` from memory, so that no path matters.

    The arena is off: it keeps the largest memory that any batch needed. Raises the runtime's
    exceptions, whose class hierarchy is not public.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if any(name != CPU for name in providers):
        _load_gpu_libraries()
    # TF32 would round a GPU's products to 10 bits, and golden vectors would not match.
    exact = {"CUDAExecutionProvider": {"use_tf32": "0"}}
    named = [(name, exact.get(name, {})) for name in providers]
    return ort.InferenceSession(model, options, providers=named)


@cache
def _load_gpu_libraries() -> None:
    """Load CUDA's libraries from the packages `nvidia-*`, if they were installed with pip.

    Those of the system are found without it. It prints what is missing; the registry reports that.
    """
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None:
        with redirect_stdout(io.StringIO()):
            preload()


def fixed_batch(session: Any) -> int | None:  # noqa: ANN401 (the runtime is not typed)
    """The batch size that a graph was exported for; None if it takes any."""
    first = session.get_inputs()[0].shape
    return first[0] if first and isinstance(first[0], int) else None


class Deadlines:
    """Ends runs that take too long, by one thread for all: one each would cost more than the run.

    It stores the active runs, by their options. The thread sleeps while there are none.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[Any, float]] = {}
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, budget_s: float, options: Any) -> Iterator[None]:  # noqa: ANN401 (not typed)
        """Set `terminate` of these RunOptions if the block takes longer."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
            self._thread.start()
        self._running[id(options)] = (options, time.monotonic() + budget_s)
        self._busy.set()
        try:
            yield
        finally:
            del self._running[id(options)]

    def _watch(self) -> None:
        while True:
            self._busy.wait()
            self._busy.clear()
            time.sleep(_EVERY_S)
            now_s = time.monotonic()
            for options, until_s in list(self._running.values()):
                if now_s > until_s:
                    options.terminate = True
            if self._running:
                self._busy.set()


DEADLINES: Final = Deadlines()
