"""Helpers for tests of your own bundles and configs: docs/testing.md has examples.

Recorders replace the intake and sinks, `FakeClock` is a clock that a test
moves, tiny models are real ONNX graphs, and a broker and the daemon run in their own processes.
Nothing here needs pytest.
"""

from edge_agent.clock import FakeClock
from edge_agent.testing.models import mean_bundle, tiny_graph, tiny_model
from edge_agent.testing.programs import (
    DaemonProcess,
    Mosquitto,
    Program,
    ProgramError,
    find_free_port,
    find_mosquitto,
    is_listening,
    wait_until,
)
from edge_agent.testing.recorders import ListIntake, RecordingSink

__all__ = [
    "DaemonProcess",
    "FakeClock",
    "ListIntake",
    "Mosquitto",
    "Program",
    "ProgramError",
    "RecordingSink",
    "find_free_port",
    "find_mosquitto",
    "is_listening",
    "mean_bundle",
    "tiny_graph",
    "tiny_model",
    "wait_until",
]
