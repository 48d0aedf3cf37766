"""A command that the tests of `SideCommands` run as their child."""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Do as the first argument says; the exit code."""
    kind, *rest = sys.argv[1:]
    if kind == "say":
        told = {"words": rest, "nice": os.getpriority(os.PRIO_PROCESS, 0), "process": os.getpid()}
        print(json.dumps(told))  # noqa: T201 (it is what is read)
        return 0
    if kind == "much":
        sys.stdout.write("x" * int(rest[0]))
        return 0
    if kind == "wait":
        time.sleep(600)  # until it is ended
    print("first\n\nplc: no answer", file=sys.stderr)  # noqa: T201
    return 1
