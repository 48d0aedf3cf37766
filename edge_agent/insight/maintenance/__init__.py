"""The maintenance plan: what to do, until when, in which stop, by which crew, and why.

It is a proposal: nothing is ordered or commanded. A gateway without the section `maintenance` does
not import this package.
"""

from edge_agent.insight.maintenance.calendar_out import calendar_of, table_of, text_of
from edge_agent.insight.maintenance.case import AlarmFact, Facts, LifeFact
from edge_agent.insight.maintenance.case_file import read_case
from edge_agent.insight.maintenance.changes import known_places, places_of
from edge_agent.insight.maintenance.child import Question
from edge_agent.insight.maintenance.explain import STATUSES
from edge_agent.insight.maintenance.process import make_plan
from edge_agent.insight.maintenance.stops import Place

__all__ = [
    "STATUSES",
    "AlarmFact",
    "Facts",
    "LifeFact",
    "Place",
    "Question",
    "calendar_of",
    "known_places",
    "make_plan",
    "places_of",
    "read_case",
    "table_of",
    "text_of",
]
