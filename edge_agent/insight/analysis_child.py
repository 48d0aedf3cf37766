"""The process that looks at one line: a question on stdin, its answer as JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Final

from edge_agent.insight.line_analysis import analyse, decode_question

_NICER: Final = 10


def main() -> int:
    """Answer one question."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    answer = analyse(decode_question(sys.stdin.buffer.read()))
    print(json.dumps(answer, ensure_ascii=False, allow_nan=False))  # noqa: T201
    return 0
