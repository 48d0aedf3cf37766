"""Finds the signals of a recording from its columns or labels, without a config."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge_agent.config import safe_name
from edge_agent.config.schema import Signal
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.csv_reader import find_column, open_table
from edge_agent.sources.replay.labels import asset_column, bare_name, long_columns, unit_of_name
from edge_agent.sources.replay.moments import is_number
from edge_agent.sources.replay.plan import time_columns
from edge_agent.sources.replay.recording import find_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Table

_MAX_SIGNALS: Final = 1000
_INDEX: Final = re.compile(r"(Unnamed: \d+)?", re.IGNORECASE)  # the row numbers of pandas


def find_signals(config: ReplayConfig) -> dict[Name, Signal]:
    """The columns of all files that are no times, or the labels of long files, as signals.

    If the config maps columns, only those. EdgeAgentError if there is none, or a file is none.
    """
    if config.columns:
        return {name: Signal() for name in config.columns}
    found: dict[Name, Signal] = {}
    for path in find_files(config.path):
        with open_table(path, config.separator, header=config.header) as table:
            for label in _labels(config, table):
                if label not in {signal.address for signal in found.values()}:
                    name = _unused_name(label.removeprefix(f"{config.asset}."), found)
                    found[name] = Signal(address=label, unit=unit_of_name(label))
    if not found or len(found) > _MAX_SIGNALS:
        raise EdgeAgentError(
            f"has {len(found)} columns that may be signals",
            where=str(config.path),
            hint="choose them: --columns SIGNAL=COLUMN, or write a config with a template",
        )
    return found


def _labels(config: ReplayConfig, table: Table) -> Iterable[str]:
    names = table.names
    label = find_column(table, config.signal_column) if config.signal_column else None
    if label is None and (found := long_columns(names)) is not None:
        label = found[0]
    if label is not None:
        return _texts(table, label)
    assets = find_column(table, config.asset_column) if config.asset_column else _machines(table)
    used = {assets, *time_columns(config, table, lambda _: False)}
    qualities = {config.quality.replace("{column}", name) for name in names}
    return [
        name
        for n, name in enumerate(names)
        if n not in used and name not in qualities and not _INDEX.fullmatch(name)
    ]


def _machines(table: Table) -> int | None:
    """A column that names the machine of each row."""
    column = asset_column(table.names)
    cells = [] if column is None else [row[column] for row in table.sample if column < len(row)]
    return None if any(map(is_number, cells)) else column


def _texts(table: Table, column: int) -> Iterator[str]:
    """The different labels of a long file, in the order of the rows."""
    cells = (row[column].strip() for row in table.again() if column < len(row))
    seen: set[str] = set()
    for cell in cells:
        if cell and cell not in seen:
            seen.add(cell)
            yield cell
            if len(seen) > _MAX_SIGNALS:
                return


def _unused_name(label: str, found: dict[Name, Signal]) -> Name:
    name = safe_name(bare_name(label), "column")
    several = (f"{name}_{n}" for n in range(2, _MAX_SIGNALS + 2))
    return Name(name) if name not in found else Name(next(n for n in several if n not in found))
