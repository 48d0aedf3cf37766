"""The table in the terminal, the file of results, and the tables of docs/."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from scripts.rigs import ROOT
from scripts.rigs.faults.runner import NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from scripts.rigs.faults.promises import Promise
    from scripts.rigs.faults.runner import Result

RESULTS: Final = ROOT / "docs" / "faults.json"
_MARKS: Final = ("<!-- faults: written by scripts/faults --write-docs -->", "<!-- end faults -->")
_SECTION: Final = re.compile(f"{_MARKS[0]}\n.*?{_MARKS[1]}\n", re.DOTALL)
_HEAD: Final = (
    "| # | promise | held by | control | last measured |\n| --- | --- | --- | --- | --- |"
)


def text_of(result: Result) -> str:
    """A row of the table in the terminal, and its errors."""
    one = result.promise
    cells = (
        f"{one.number} {one.name}",
        one.title,
        holder_of(one),
        result.figure,
        result.control or control_of(one),
        f"{result.verdict}, {result.seconds:.0f} s" if result.seconds else result.verdict,
    )
    row = f"| {' | '.join(cells)} |"
    return f"{row}\n{result.why}" if result.why else row


def holder_of(promise: Promise) -> str:
    """What runs for it: the tests by file, and the rig."""
    files = dict.fromkeys(test.partition("::")[0].removesuffix(".py") for test in promise.tests)
    rig = [f"`scripts/faults --only {promise.name}`"] if promise.rig else []
    return ", ".join([*rig, *(f"`{file}`" for file in files)]) or "nothing yet"


def control_of(promise: Promise) -> str:
    """What the control switches off."""
    return promise.control.what if promise.control else "none"


def save(file: Path, results: Sequence[Result], *, quick: bool) -> None:
    """Merge into the file: what was not run now keeps its earlier result."""
    known = load(file)
    for one in results:
        if one.verdict == NOT_RUN and one.promise.name in known:
            continue
        known[one.promise.name] = {
            "number": one.promise.number,
            "title": one.promise.title,
            "held_by": holder_of(one.promise),
            "verdict": one.verdict,
            "figure": one.figure,
            "control": one.control or control_of(one.promise),
            "why": one.why,
            "seconds": round(one.seconds, 1),
            "day": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
            "quick": quick,
        }
    ordered = dict(sorted(known.items(), key=lambda item: (item[1]["number"], item[0])))
    file.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")


def load(file: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The results in the file, by the name of the promise; none if it is absent."""
    found: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def markdown(promises: Iterable[Promise], known: dict[str, dict[str, Any]]) -> str:
    """The table of a page of docs/, with its marks."""
    rows = [_row(one, known.get(one.name)) for one in promises]
    return "\n".join((_MARKS[0], _HEAD, *rows, _MARKS[1], ""))


def _row(promise: Promise, last: dict[str, Any] | None) -> str:
    control, figure = control_of(promise), "not measured"
    if last is not None and last["verdict"] != NOT_RUN:
        broken = "" if last["verdict"] == "held" else f"**{last['verdict']}**: "
        control = last["control"]
        figure = f"{broken}{last['figure']} ({last['day']}, {last['machine']})"
    cells = (str(promise.number), promise.title, holder_of(promise), control, figure)
    return f"| {' | '.join(cells)} |"


def page_of(name: str) -> Path:
    """A page of docs/."""
    return ROOT / "docs" / f"{name}.md"


def with_table(text: str, promises: Iterable[Promise], known: dict[str, dict[str, Any]]) -> str:
    """The page with a current table; unchanged if it has no marks."""
    return _SECTION.sub(lambda _: markdown(promises, known), text)
