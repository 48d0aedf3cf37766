"""The launcher of this folder: runs a module of `scripts` from its own checkout.

    scripts/bench --only fleet     # python -m scripts.pipeline_bench --only fleet

Python puts the folder of a launcher first on its path, so launchers can import this file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn


def launch(module: str) -> NoReturn:
    """Execute `python -m scripts.MODULE` in this process, with this checkout first on the path."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", f"scripts.{module}", *sys.argv[1:]]
    os.execve(  # noqa: S606 (no shell is wanted)
        sys.executable, command, {**os.environ, "PYTHONPATH": path}
    )
