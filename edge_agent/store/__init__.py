"""Data that must survive a power cut: alarm states, history, the outbox, learned values, audit.

One SQLite file with one writer. See `Store`.
"""

from edge_agent.store.files import InUseError
from edge_agent.store.inspection import look_at_store
from edge_agent.store.journal import AuditFilter, HistoryFilter, alarm_from_dict
from edge_agent.store.outbox import DroppedMessages, Line, OutboxStats, Waiting
from edge_agent.store.pictures import KeptPicture, PictureFolder
from edge_agent.store.reader import JournalReader
from edge_agent.store.schema import FileError
from edge_agent.store.store import Store
from edge_agent.store.worker import StoreWorker

__all__ = [
    "AuditFilter",
    "DroppedMessages",
    "FileError",
    "HistoryFilter",
    "InUseError",
    "JournalReader",
    "KeptPicture",
    "Line",
    "OutboxStats",
    "PictureFolder",
    "Store",
    "StoreWorker",
    "Waiting",
    "alarm_from_dict",
    "look_at_store",
]
