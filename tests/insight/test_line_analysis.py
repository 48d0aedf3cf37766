"""What the daemon asks of a line, through the process that answers it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
from test_bottleneck import clear_line

from edge_agent.insight.line_analysis import LineQuestion, analyse, decode_question, encode_question
from edge_agent.models import child_command, child_environment

HOUR_NS = 3600 * 10**9


def question() -> LineQuestion:
    data = clear_line()
    minutes = np.array([data.from_ns / 1e9 + 60 * at for at in range(480)], np.float64)
    signals = {"S3": {"torque": (minutes, np.ones(480, np.float64))}}
    product = np.zeros(len(data.counts.machine), np.int32)
    buffers = (-1, 4, -1, -1)
    data = replace(data, buffers=buffers)
    return LineQuestion("L1", data, data.to_ns - 2 * HOUR_NS, 0.05, product, signals)


def test_the_process_answers_as_the_function_does() -> None:
    """Shift, last hours and drifts come back as JSON from another process."""
    asked = question()
    done = subprocess.run(
        child_command("edge_agent.insight.analysis_child"),
        input=encode_question(asked),
        env=child_environment(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer == json.loads(json.dumps(analyse(asked)))
    assert answer["shift"]["named"] == ["S3"]
    assert answer["now"]["to_ms"] - answer["now"]["from_ms"] == 2 * 3_600_000
    assert [one["machine"] for one in answer["drifts"]] == ["S1", "S2", "S3", "S4", "S5"]
    assert not any(one["drifts"] for one in answer["drifts"])
    assert answer["shift"]["buffers"][1]["origin"] == "config"


def test_a_question_comes_back_whole() -> None:
    """What is sent to the process is what it reads."""
    asked = question()
    back = decode_question(encode_question(asked))
    assert back.data.machines == asked.data.machines
    assert back.data.log.end_ns.tolist() == asked.data.log.end_ns.tolist()
    assert back.signals["S3"]["torque"][0].tolist() == asked.signals["S3"]["torque"][0].tolist()
