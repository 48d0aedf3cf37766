"""Data manipulation (ISO 13374 DM): acceptance, event-time windows, resampling, quality."""

from edge_agent.signals.acceptance import Acceptance, Observed
from edge_agent.signals.bindings import Binding, Bindings, Gate, Outage, Span
from edge_agent.signals.block_rows import BlockRows
from edge_agent.signals.condition_state import FALSE, TRUE, UNKNOWN, ConditionState
from edge_agent.signals.conditions import ConditionChange, Conditions
from edge_agent.signals.episodes import Episode, Problem
from edge_agent.signals.input_kinds import (
    INPUT_KINDS,
    PICTURE_INPUT,
    PICTURE_KINDS,
    BlockInputs,
    InputKind,
    signs_of_life,
)
from edge_agent.signals.limit_state import Bound, Change
from edge_agent.signals.limits import Crossing, Limits
from edge_agent.signals.picture import HIDDEN, SIZE, EncodedPicture, cut, to_square
from edge_agent.signals.picture_look import FAULTS, Look, faults_of, look_at, reference_look
from edge_agent.signals.points import Points, joined
from edge_agent.signals.quality import QualityWatch
from edge_agent.signals.rates import Rates
from edge_agent.signals.scaling import Scaling
from edge_agent.signals.waves import BlockWindow, WaveWindows
from edge_agent.signals.window_set import (
    BAD,
    GOOD,
    KNOWN,
    MISSING,
    UNCERTAIN,
    USABLE,
    Layout,
    Reads,
    WindowSet,
)
from edge_agent.signals.windows import Router, Windows, marks

__all__ = [
    "BAD",
    "FALSE",
    "FAULTS",
    "GOOD",
    "HIDDEN",
    "INPUT_KINDS",
    "KNOWN",
    "MISSING",
    "PICTURE_INPUT",
    "PICTURE_KINDS",
    "SIZE",
    "TRUE",
    "UNCERTAIN",
    "UNKNOWN",
    "USABLE",
    "Acceptance",
    "Binding",
    "Bindings",
    "BlockInputs",
    "BlockRows",
    "BlockWindow",
    "Bound",
    "Change",
    "ConditionChange",
    "ConditionState",
    "Conditions",
    "Crossing",
    "EncodedPicture",
    "Episode",
    "Gate",
    "InputKind",
    "Layout",
    "Limits",
    "Look",
    "Observed",
    "Outage",
    "Points",
    "Problem",
    "QualityWatch",
    "Rates",
    "Reads",
    "Router",
    "Scaling",
    "Span",
    "WaveWindows",
    "WindowSet",
    "Windows",
    "cut",
    "faults_of",
    "joined",
    "look_at",
    "marks",
    "reference_look",
    "signs_of_life",
    "to_square",
]
