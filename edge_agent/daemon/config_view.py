"""The config as it is in use, with the place of each key, and what the disk has instead."""

from __future__ import annotations

import asyncio
import pickle
import sys
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.config import Marked, list_lines
from edge_agent.daemon.censor import censor_of
from edge_agent.daemon.tables import TYPES, read_marked
from edge_agent.service import SideCommands

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config import Line
    from edge_agent.config.schema import Config
    from edge_agent.service import ConfigQuestion

LONGEST_S: Final = 60.0


class ConfigView:
    """Lists the config in a child: a plant of thousands of assets takes seconds of processor.

    path: of the config on the disk; None if the daemon was started without one.
    """

    def __init__(
        self, config: Callable[[], Config], path: Path | None, side: SideCommands | None = None
    ) -> None:
        self._config = config
        self._path = path
        self._side = side or SideCommands(__name__)
        self._turn = asyncio.Lock()

    async def listed(self, question: ConfigQuestion) -> dict[str, Any]:
        """The lines that the question is about; `total` counts all of them."""
        async with self._turn:
            asked = self._config(), self._path, question
            raw = await asyncio.to_thread(pickle.dumps, asked)
            found: dict[str, Any] = (await self._side.run((), LONGEST_S, raw)).value()
        return found


def main() -> int:
    """The child: reads the config in use and a question on stdin, writes the answer as JSON."""
    asked = pickle.load(sys.stdin.buffer)  # noqa: S301 (the daemon, our parent, has written it)
    sys.stdout.buffer.write(orjson.dumps(list_config(*asked)))
    return 0


def list_config(config: Config, path: Path | None, question: ConfigQuestion) -> dict[str, Any]:
    """The lines of `config` that a question is about, beside what the disk has at `path`."""
    marked = Marked(None, {}, []) if path is None else read_marked(path)
    hide = _hider(censor_of(config))
    is_shown = _shown_defaults(marked, question)
    rows = [_row(line, marked, hide) for line in list_lines(config, TYPES, is_shown)]
    if marked.config is not None:
        there = list(list_lines(marked.config, TYPES, is_shown))
        rows = _with_disk(rows, there, marked, hide)
    wanted = [row for row in rows if _is_wanted(row, question)]
    changed = sum("on_disk" in row for row in rows)
    return {
        "path": None if path is None else str(path),
        "files": marked.files,
        "disk": "none" if path is None else _disk_state(marked, changed),
        "disk_problem": hide(marked.problem),
        "changed": changed,
        "total": len(wanted),
        "lines": wanted[question.offset : question.offset + question.limit],
    }


def _shown_defaults(
    marked: Marked, question: ConfigQuestion
) -> Callable[[tuple[str | int, ...]], bool]:
    """Which defaults are listed: what a file names, and the others unless `is_set_only`.

    Never those of single assets: what an asset does not set comes from its template.
    """
    named = {path[:size] for path in marked.marks for size in range(1, len(path) + 1)}

    def is_shown(path: tuple[str | int, ...]) -> bool:
        return path in named or not (question.is_set_only or path[:1] == ("assets",))

    return is_shown


def _disk_state(marked: Marked, changed: int) -> str:
    if marked.config is None:
        return "refused"
    return "changed" if changed else "same"


def _row(line: Line, marked: Marked, hide: Callable[[Any], Any]) -> dict[str, Any]:
    mark = marked.marks.get(line.path)
    return {
        "key": line.key,
        "value": hide(line.value),
        "unit": line.unit,
        "from": "" if mark is None else str(mark),
        "is_default": line.is_default and mark is None,
        "is_hidden": line.is_hidden,
    }


def _with_disk(
    rows: list[dict[str, Any]], disk: list[Line], marked: Marked, hide: Callable[[Any], Any]
) -> list[dict[str, Any]]:
    """The rows with `on_disk` where the disk has another value, and those that only it has."""
    there = {line.key: line for line in disk}
    for row in rows:
        line = there.pop(row["key"], None)
        if line is None or hide(line.value) != row["value"]:
            row["on_disk"] = None if line is None else hide(line.value)
    added = [_row(line, marked, hide) for line in there.values()]
    return rows + [row | {"value": None, "on_disk": row["value"]} for row in added]


def _hider(censor: Callable[[str], str]) -> Callable[[Any], Any]:
    """The censor for values of any kind."""

    def hide(value: Any) -> Any:  # noqa: ANN401 (any value of a config)
        if isinstance(value, str):
            return censor(value)
        return [hide(one) for one in value] if isinstance(value, list) else value

    return hide


def _is_wanted(row: dict[str, Any], question: ConfigQuestion) -> bool:
    if question.is_set_only and row["is_default"]:
        return False
    return question.search in f"{row['key']} {row['value']} {row['from']}".casefold()
