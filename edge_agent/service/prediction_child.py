"""The process that answers `POST /api/predict`, so that no table disturbs the pipeline.

It reads questions from stdin, each followed by the body of its table, and writes answers to stdout,
all with their length in front, until stdin ends. The daemon, its parent, is trusted: a question is
a pickle.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import resource
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.ops import logs
from edge_agent.service.prediction import predict
from edge_agent.service.prediction_table import TableError

if TYPE_CHECKING:
    from typing import BinaryIO

    from edge_agent.config.schema import Config
    from edge_agent.service.predict_api import SentTable
    from edge_agent.service.prediction import ReplayLoader

LENGTH: Final = struct.Struct("!Q")
_NICER: Final = 19
_MORE_MEMORY: Final = 1 << 30  # bytes, behind what the start takes

log = logging.getLogger("edge_agent.service")


class Question(NamedTuple):
    """A table, the config of its asset alone, and what runs it: the daemon's pipeline and bundles.

    limit_s: the process ends itself after this time.
    """

    table: SentTable
    config: Config
    load: ReplayLoader
    verified: bytes
    limit_s: float


def answer(question: Question) -> tuple[int, bytes]:
    """The HTTP status and the JSON of an answer or of an error."""
    try:
        table, config, load, verified, _ = question
        found = asyncio.run(predict(table, config, load, verified))
        return 200, orjson.dumps(found)
    except TableError as error:
        return 400, _error(error, column=error.column)
    except NotFoundError as error:
        return 404, _error(error)
    except EdgeAgentError as error:
        return 409, _error(error)
    except MemoryError:
        hint = "send fewer rows"
        return 400, orjson.dumps({"error": "the table needs too much memory", "hint": hint})
    except Exception:
        log.exception("prediction failed")
        hint = "the daemon's log says more"
        return 500, orjson.dumps({"error": "internal error", "hint": hint})


def _error(error: EdgeAgentError, **more: Any) -> bytes:  # noqa: ANN401 (JSON)
    text = f"{error.where}: {error.message}" if error.where else error.message
    return orjson.dumps({"error": text, "hint": error.hint, **more})


def main() -> int:
    """Answer questions until stdin ends."""
    _be_modest()
    logs.setup("error")
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not be an answer
    while head := asked.read(LENGTH.size):
        question: Question = pickle.loads(_read(asked, head))  # noqa: S301 (ours)
        body = _read(asked, asked.read(LENGTH.size))
        question = question._replace(table=replace(question.table, body=body))
        signal.setitimer(signal.ITIMER_REAL, question.limit_s)  # SIGALRM ends it
        status, body = answer(question)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, bytes([status // 100, status % 100]) + body)
    return 0


def _read(file: BinaryIO, head: bytes) -> bytes:
    return file.read(LENGTH.unpack(head)[0])


def _write(file: BinaryIO, body: bytes) -> None:
    file.write(LENGTH.pack(len(body)) + body)
    file.flush()


def _be_modest() -> None:
    """Behind everything else of this machine, and with an end to its memory."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = used + _MORE_MEMORY
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
