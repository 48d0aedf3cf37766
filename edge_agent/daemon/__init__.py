"""The composition root: builds every part from the config and keeps it running."""

from edge_agent.daemon.baseline_training import BaselineTraining
from edge_agent.daemon.certificates import certificate_problems
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.examination import examine
from edge_agent.daemon.examine_machine import Examined
from edge_agent.daemon.replay import Replay
from edge_agent.daemon.tables import find_problems, load_config

__all__ = [
    "BaselineTraining",
    "Daemon",
    "Examined",
    "Replay",
    "certificate_problems",
    "examine",
    "find_problems",
    "line_replay",
    "load_config",
]
