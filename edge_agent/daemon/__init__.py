"""The composition root: builds every part from the config and keeps it running."""

from edge_agent.daemon._certificates import certificate_problems
from edge_agent.daemon._daemon import Daemon
from edge_agent.daemon._examine import examine
from edge_agent.daemon._examined import Examined
from edge_agent.daemon._lesson import Lesson
from edge_agent.daemon._replay import Replay
from edge_agent.daemon._tables import SINKS, SOURCES, find_problems, load_config
from edge_agent.daemon._teach import Taught

__all__ = [
    "SINKS",
    "SOURCES",
    "Daemon",
    "Examined",
    "Lesson",
    "Replay",
    "Taught",
    "certificate_problems",
    "examine",
    "find_problems",
    "load_config",
]
