"""One decoder under atheris; imports nothing of ours before it can be instrumented.

python -m scripts.rigs.faults.fuzz_child TARGET SECONDS FOLDER    # one of fuzz_targets.py
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Final

SLOW_S: Final = 3.0  # one input
MEMORY_MB: Final = 1500
MOST_BYTES: Final = 65_536
DECLARED: Final = "EDGE_AGENT_FUZZ_DECLARED"  # "0": what a decoder may raise is a crash, too


def main(target: str, seconds: str, folder: Path) -> None:
    """Fuzz until the time is over or an input crashes; its file stays in the folder."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["edge_agent", "yaml"]):
        targets = importlib.import_module("scripts.rigs.faults.fuzz_targets")
    call, least = targets.TARGETS[target], targets.FEW_BYTES.get(target, 0)
    allowed = (*targets.REFUSALS, ValueError) if target == "http_command" else targets.REFUSALS
    if os.environ.get(DECLARED) == "0":
        allowed = ()

    def one(data: bytes) -> None:
        if len(data) < least:
            return
        began_s = time.perf_counter()
        with contextlib.suppress(*allowed):
            call(data)
        if (took_s := time.perf_counter() - began_s) > SLOW_S:
            raise RuntimeError(f"{took_s:.1f} s for {len(data)} bytes")

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(targets.seeds_of(target)):
        (corpus / str(number)).write_bytes(seed[:MOST_BYTES])
    options = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=30"]
    options += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/crash-"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
