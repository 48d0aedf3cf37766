"""The alarm room: the ISA-18.2 table, rules, texts, and the envelope in which alarms travel."""

from edge_agent.alarms.catalogue import (
    BASELINE,
    WAVEFORMS,
    AlarmCatalogue,
    AlarmPolicy,
    baseline_alarm_ids,
    baselines_of,
    drift_alarm_id,
    limit_alarm_id,
    model_alarm_id,
    quality_alarm_id,
    service_alarm_id,
    silent_alarm_id,
    use_name_of,
)
from edge_agent.alarms.envelope import (
    AlarmMessages,
    audit_detail,
    detail_json,
    event_source,
    rfc3339,
    to_json,
    transition_json,
)
from edge_agent.alarms.selection import Selection, is_pattern
from edge_agent.alarms.table import AlarmTable
from edge_agent.alarms.texts import Texts, load_texts, read_texts

__all__ = [
    "BASELINE",
    "WAVEFORMS",
    "AlarmCatalogue",
    "AlarmMessages",
    "AlarmPolicy",
    "AlarmTable",
    "Selection",
    "Texts",
    "audit_detail",
    "baseline_alarm_ids",
    "baselines_of",
    "detail_json",
    "drift_alarm_id",
    "event_source",
    "is_pattern",
    "limit_alarm_id",
    "load_texts",
    "model_alarm_id",
    "quality_alarm_id",
    "read_texts",
    "rfc3339",
    "service_alarm_id",
    "silent_alarm_id",
    "to_json",
    "transition_json",
    "use_name_of",
]
