"""The alarm room: the ISA-18.2 table, rules, texts, and the envelope in which alarms travel."""

from __future__ import annotations

from edge_agent.alarms._selection import Selection, is_pattern
from edge_agent.alarms.envelope import (
    alert_schema,
    envelope,
    messages,
    rfc3339,
    to_json,
    topics,
)
from edge_agent.alarms.policy import AlarmPolicy, flood_alarm_id, flood_policy
from edge_agent.alarms.table import AlarmTable
from edge_agent.alarms.texts import Texts, load_texts
from edge_agent.alarms.transitions import TRANSITIONS, WHILE_ACTIVE, Event

__all__ = [
    "TRANSITIONS",
    "WHILE_ACTIVE",
    "AlarmPolicy",
    "AlarmTable",
    "Event",
    "Selection",
    "Texts",
    "alert_schema",
    "envelope",
    "flood_alarm_id",
    "flood_policy",
    "is_pattern",
    "load_texts",
    "messages",
    "rfc3339",
    "to_json",
    "topics",
]
