"""The process in which the language model runs: llama.cpp's server on a port of the loopback.

It reads its job from stdin, a line of JSON, and says on stdout in another one where it listens, or
why it cannot. The end of stdin ends it, so that it never outlives the daemon. What it is told, with
the key that every request to it needs, is neither in its arguments nor in its environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edge_agent.language.limits import limit_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_INSTALLED: Final = (
    "language.engine: xllamacpp is not installed "
    "(pip install --require-hashes -r requirements/language.txt)"
)
_PIECE: Final = 1 << 20
_MAGIC: Final = b"GGUF"
_QUIET: Final = -1  # of llama.cpp's log, which can contain prompts


def stamp_of(path: Path) -> list[int]:
    """What changes with a file: device, inode, size, times."""
    status = path.stat()
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return [int(getattr(status, name)) for name in names]


def check_file(path: Path, sha256: str, known: list[int]) -> list[int]:
    """The stamp of the model's file; ValueError if it is not the file that the config means.

    known: the stamp with which it was checked before: its bytes are not read again.
    """
    stamp = stamp_of(path)
    if stamp == known:
        return stamp
    digest = hashlib.sha256()
    with path.open("rb") as file:
        piece = file.read(_PIECE)
        if not piece.startswith(_MAGIC):
            raise ValueError(f"language.model: {path} is no GGUF file")
        while piece:
            digest.update(piece)
            piece = file.read(_PIECE)
    if digest.hexdigest() != sha256.lower():
        raise ValueError(f"language.sha256 is not that of {path}, which has {digest.hexdigest()}")
    return stamp


def parameters(job: Mapping[str, Any]) -> Any:  # noqa: ANN401 (of a package without types)
    """The parameters of llama.cpp's server: nothing of it but the API, and none without the key."""
    import xllamacpp  # noqa: PLC0415 (the extra `language`)

    found = xllamacpp.CommonParams()
    found.model.path = job["model"]
    found.model_alias = {job["name"]}
    found.hostnames, found.port = ["127.0.0.1"], 0
    found.api_keys = [job["key"]]
    found.ui = found.endpoint_slots = found.endpoint_props = found.endpoint_metrics = False
    found.cors_origins, found.cors_methods, found.cors_headers = "null", "", ""
    found.cors_credentials = False
    found.offline, found.warmup, found.verbosity = True, False, _QUIET
    found.n_gpu_layers = 0
    found.n_parallel = job["parallel"]
    found.n_ctx = job["context"] * job["parallel"]  # it is divided among them
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = job["threads"]
    found.n_threads_http = job["parallel"] + 2
    found.cache_ram_mib = 0
    found.embedding = True
    found.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return found


def start(job: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The running server, and what the daemon hears of it; ValueError if it cannot run."""
    try:
        stamp = check_file(Path(job["model"]), job["sha256"], job["stamp"])
    except OSError as error:
        raise ValueError(f"language.model: {job['model']}: {error.strerror}") from None
    try:
        import xllamacpp  # noqa: PLC0415 (same)
    except ImportError:
        raise ValueError(NOT_INSTALLED) from None
    try:
        server = xllamacpp.Server(parameters(job))
    except (RuntimeError, MemoryError) as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(
            f"llama.cpp does not load {job['model']}: {what} (damaged, of a newer kind, "
            "or larger than language.memory)"
        ) from None
    return server, {"port": urlsplit(server.listening_address).port, "stamp": stamp}


def main() -> int:
    """Serve until stdin ends."""
    job = json.loads(sys.stdin.readline())
    with suppress(OSError):  # the first to go if the machine's memory is short
        Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")
    limit_memory(job["memory"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        server, said = start(job)
    except ValueError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201 (to the daemon)
        return 1
    print(json.dumps(said), flush=True)  # noqa: T201 (same)
    sys.stdin.read()
    del server  # not at exit: its threads would wait for requests that never end
    os._exit(0)
