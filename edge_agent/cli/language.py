"""`edge-agent language`: examine the language model of a config."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    import argparse

    from edge_agent.config import Config
    from edge_agent.language.wording import ExamResults, Judged, Result

HELP = (
    "exam: let the language model of a config put texts of a plant into other languages and\n"
    "shorten some. What it changes of numbers, units, ids or a meaning is counted. The daemon\n"
    "adds a model's words to answers (language.wording) only if it has passed; the result is kept\n"
    "beside the store. Exit code 1 if it fails."
)
EXAMPLE = "edge-agent language exam -c /etc/edge-agent/edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("what", choices=["exam"], help="the only thing to do")
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Hold the exam, keep its result; 0 if the model has passed."""
    # Here, not above: the help must not wait for ONNX Runtime.
    from edge_agent.config.language import EngineKind  # noqa: PLC0415
    from edge_agent.daemon import load_config  # noqa: PLC0415

    config = load_config(args.config)
    if config.language.engine not in {EngineKind.LLAMA_CPP, EngineKind.OPENAI}:
        hint = "set language.engine to llama_cpp or openai"
        raise UsageError("the config has no language model", where=str(args.config), hint=hint)
    from edge_agent.language.wording import result_of, results_beside  # noqa: PLC0415
    from edge_agent.ops.owner import as_owner_of  # noqa: PLC0415

    results = results_beside(config.store.path)
    with as_owner_of(results.path.parent):  # the model's file is a stranger's, too
        judged = asyncio.run(_sit(config))
        result = result_of(judged)
        _keep(results, config, result)
    if args.json:
        rows = [{"text": one.task.text, "made": one.made, "faults": one.faults} for one in judged]
        print(json.dumps(result._asdict() | {"answers": rows}, ensure_ascii=False))
    else:
        said = "passed" if result.passed else "failed: the daemon adds none of its words to answers"
        print(f"{config.language.shown_name}: {result.right} of {result.of} right: {said}")
    return 0 if result.passed else 1


async def _sit(config: Config) -> list[Judged]:
    from edge_agent.clock import SystemClock  # noqa: PLC0415 (same)
    from edge_agent.language.engine import TextEngine  # noqa: PLC0415
    from edge_agent.language.wording import sit_exam  # noqa: PLC0415

    engine = TextEngine(config.language, SystemClock())
    judged: list[Judged] = []
    try:
        async for one in sit_exam(engine):
            judged.append(one)
            mark = "; ".join(one.faults) or "right"
            words = " ".join(one.made.split())[:80]
            print(f"{len(judged):3d}. {one.task.kind}: {words}  [{mark}]", file=sys.stderr)
    finally:
        await engine.close()
    return judged


def _keep(results: ExamResults, config: Config, result: Result) -> None:
    try:
        results.keep(config.language, result)
    except OSError as error:
        hint = "run it as the service's user, or as root"
        text = f"the result cannot be kept: {error.strerror}"
        raise EdgeAgentError(text, where=str(results.path), hint=hint) from error
