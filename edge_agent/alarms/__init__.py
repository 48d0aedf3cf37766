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
from edge_agent.alarms.experience import last_time, says_something
from edge_agent.alarms.failure_modes import read_failure_modes, unknown_modes
from edge_agent.alarms.selection import Selection, is_pattern
from edge_agent.alarms.table import AlarmTable
from edge_agent.alarms.texts import Texts, load_texts, read_texts, shown
from edge_agent.alarms.verdicts import (
    FALSE,
    MAX_PART,
    PLANNED,
    TRUE,
    VERDICTS,
    Judgement,
    clean_part,
    judgement_in,
)

__all__ = [
    "BASELINE",
    "FALSE",
    "MAX_PART",
    "PLANNED",
    "TRUE",
    "VERDICTS",
    "WAVEFORMS",
    "AlarmCatalogue",
    "AlarmMessages",
    "AlarmPolicy",
    "AlarmTable",
    "Judgement",
    "Selection",
    "Texts",
    "audit_detail",
    "baseline_alarm_ids",
    "baselines_of",
    "clean_part",
    "detail_json",
    "drift_alarm_id",
    "event_source",
    "is_pattern",
    "judgement_in",
    "last_time",
    "limit_alarm_id",
    "load_texts",
    "model_alarm_id",
    "quality_alarm_id",
    "read_failure_modes",
    "read_texts",
    "rfc3339",
    "says_something",
    "service_alarm_id",
    "shown",
    "silent_alarm_id",
    "to_json",
    "transition_json",
    "unknown_modes",
    "use_name_of",
]
