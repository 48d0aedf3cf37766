"""The labelled set: what people said of alarms, with the rows or the picture of each.

`files` bounds, writes and labels; `windows` are rows as Parquet files; `pictures` are the files of
cameras, in a folder of their own below the set.
"""

from __future__ import annotations

from edge_agent.labelled.files import (
    MAX_FILES,
    UNJUDGED,
    Entry,
    Kept,
    LabelledSet,
    entries_of,
    occurrence_key,
)
from edge_agent.labelled.pictures import PICTURES, LabelledPicture
from edge_agent.labelled.windows import (
    INSTALL,
    LabelledWindow,
    encode_columns,
    expect_installed,
    is_installed,
    read_window,
    read_windows,
)

__all__ = [
    "INSTALL",
    "MAX_FILES",
    "PICTURES",
    "UNJUDGED",
    "Entry",
    "Kept",
    "LabelledPicture",
    "LabelledSet",
    "LabelledWindow",
    "encode_columns",
    "entries_of",
    "expect_installed",
    "is_installed",
    "occurrence_key",
    "read_window",
    "read_windows",
]
