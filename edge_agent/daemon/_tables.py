"""Config with the structs of all sources and sinks; what a config's endpoints answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from edge_agent import config as config_room
from edge_agent.errors import EdgeAgentError
from edge_agent.inference import read_public_key
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.config import Config, Problem

__all__ = ["SINKS", "SOURCES", "find_problems", "kind_of", "load_config", "try_endpoints"]

_PROBE_TIMEOUT_S = 15.0


def load_config(path: str | Path, *, files: bool = True) -> Config:
    """The config in `path`; ConfigErrors lists all that is wrong with it."""
    return config_room.load(
        path,
        sources={name: row.config for name, row in SOURCES.items()},
        sinks={name: row.config for name, row in SINKS.items()},
        files=files,
        read_key=read_public_key,
    )


def find_problems(path: str | Path) -> tuple[Config | None, list[Problem]]:
    """The config in `path`, or None, with all its problems."""
    return config_room.find_problems(
        path,
        sources={name: row.config for name, row in SOURCES.items()},
        sinks={name: row.config for name, row in SINKS.items()},
        read_key=read_public_key,
    )


def kind_of(table: Mapping[str, Any], struct: object) -> str:
    """The `type:` of a source's or sink's struct."""
    return next(name for name, row in table.items() if row.config is type(struct))


async def try_endpoints(config: Config) -> list[tuple[str, str | None]]:
    """Each source and sink with what is wrong with its endpoint, or None."""
    named = (("source", SOURCES, config.sources), ("sink", SINKS, config.sinks))
    probes = [
        (f"{room} {name}", table[kind_of(table, struct)].probe(struct))
        for room, table, structs in named
        for name, struct in structs.items()
    ]
    answers = await asyncio.gather(*(_answer(probe) for _, probe in probes))
    return [(name, answer) for (name, _), answer in zip(probes, answers, strict=True)]


async def _answer(probe: object) -> str | None:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await probe  # type: ignore[misc]
    except TimeoutError:
        return f"no answer within {_PROBE_TIMEOUT_S:g} s"
    except (EdgeAgentError, OSError) as error:
        return str(error)
    return None
