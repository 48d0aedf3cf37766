"""Config with the structs of all sources and sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent import config as config_room
from edge_agent.alarms import read_failure_modes, read_texts
from edge_agent.models import read_public_key
from edge_agent.sinks import SINKS, template_problems
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config import Marked, Problem
    from edge_agent.config.schema import Config

__all__ = ["SINKS", "SOURCES", "TYPES", "find_problems", "load_config", "read_marked"]

# The `type:` of each struct of a source or sink.
TYPES: Final = {row.config: name for table in (SOURCES, SINKS) for name, row in table.items()}
READERS: Final = config_room.Readers(
    key=read_public_key,
    texts=read_texts,
    modes=read_failure_modes,
    templates=template_problems,
)


def load_config(path: str | Path, *, files: bool = True, live: bool = True) -> Config:
    """The config in `path`; ConfigErrors lists all its problems. See `config.load`."""
    return config_room.load(
        path,
        sources={name: row.config for name, row in SOURCES.items()},
        sinks={name: row.config for name, row in SINKS.items()},
        files=files,
        live=live,
        readers=READERS,
    )


def find_problems(path: str | Path) -> tuple[Config | None, list[Problem]]:
    """The config in `path`, or None, with all its problems."""
    return config_room.find_problems(
        path,
        sources={name: row.config for name, row in SOURCES.items()},
        sinks={name: row.config for name, row in SINKS.items()},
        readers=READERS,
    )


def read_marked(path: str | Path) -> Marked:
    """The config in `path` with the file and line of each key; it may be refused."""
    return config_room.read_marked(
        path,
        sources={name: row.config for name, row in SOURCES.items()},
        sinks={name: row.config for name, row in SINKS.items()},
    )
