"""What parts and machines say together: process quality; states, availability and losses.

The package `maintenance` has the plan. A gateway with neither `lines:` nor `maintenance:` in its
config imports nothing of this room.
"""

from edge_agent.insight.book import LineBook, LineSignals
from edge_agent.insight.bottleneck import find_bottleneck
from edge_agent.insight.calendar import ShiftCalendar, ShiftTime
from edge_agent.insight.cycle_drift import CycleDrift, Explanation, find_cycle_drift
from edge_agent.insight.lanes import thinned
from edge_agent.insight.line_analysis import LineQuestion, Signals, analyse, encode_question
from edge_agent.insight.line_answer import DOUBTS, Bottleneck, Gain, Station, answer_row
from edge_agent.insight.line_file import LineFile
from edge_agent.insight.line_model import NS_PER_S, LineData, PartCounts, work_samples
from edge_agent.insight.machine_book import KEPT_NS, ClosedShift, MachineBook
from edge_agent.insight.state_table import read_line
from edge_agent.insight.states import CODES, STATES, MachineState, StateLog, Stay
from edge_agent.insight.tracked import Span

__all__ = [
    "CODES",
    "DOUBTS",
    "KEPT_NS",
    "NS_PER_S",
    "STATES",
    "Bottleneck",
    "ClosedShift",
    "CycleDrift",
    "Explanation",
    "Gain",
    "LineBook",
    "LineData",
    "LineFile",
    "LineQuestion",
    "LineSignals",
    "MachineBook",
    "MachineState",
    "PartCounts",
    "ShiftCalendar",
    "ShiftTime",
    "Signals",
    "Span",
    "StateLog",
    "Station",
    "Stay",
    "analyse",
    "answer_row",
    "encode_question",
    "find_bottleneck",
    "find_cycle_drift",
    "read_line",
    "thinned",
    "work_samples",
]
